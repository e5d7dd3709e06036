"""Undoing a run: the tables go back to the versions from before it, and everything that came after is undone, too.

Restoring several tables is not one commit. So it is entered in etl_runs first, with all that it will do; a restore
that was cut off is finished from there before anything else is read or written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

import structlog
from pyspark.sql import Row
from pyspark.sql import functions as F

from etl_lib.process.errors import RestoreError, is_missing_version
from etl_lib.run.metric_parts import Restore, UndoMetrics, UpkeepMetrics
from etl_lib.run.metrics import Metrics, metrics_of, restore_from
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.tables.ledger import APPLYING, DONE, FAILED, PLANNED, STOPPED, UNDONE, RunEntry, RunManifest, write_run
from etl_lib.tables.merge import merge
from etl_lib.tables.open_runs import unfinished
from etl_lib.tables.schemas import ALL_TABLES, ETL_FILES, ETL_RUNS, ETL_STAGE
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

MAINTAIN = "maintain"
"""The job that restores, as etl_runs names it."""

_TABLES = {table.name: table for table in ALL_TABLES}

_WHY_NOT = {
    APPLYING: "was cut off while its plan was applied: run the job once to finish it, then undo it",
    FAILED: "failed and changed nothing",
    PLANNED: "is a plan and changed nothing",
    STOPPED: "was stopped at a gate and changed nothing",
    UNDONE: "is undone already",
}


def plan_restore(warehouse: Warehouse, run_id: str) -> Restore:
    """What undoing this run would do; RestoreError when it cannot be undone."""
    cut_off = {manifest.run_id: manifest.versions for manifest in cut_off_runs(warehouse)}
    if run_id in cut_off:
        versions, done_since = dict(cut_off[run_id]), []
    else:
        run = _finished_run(warehouse, run_id)
        versions = dict(run["versions_before"])
        done_since = _done_since(warehouse, run["micros"], versions)
    # A run that was cut off is later than every complete one: it would have been finished first.
    undone = [*done_since, *(other for other, before in cut_off.items() if before.keys() & versions.keys())]
    _require_versions(warehouse, versions)
    files = warehouse.read(ETL_FILES).where(F.col("run_id").isin(undone)).count()
    return Restore(run_id, versions, undone, files)


def restore(run: Run, planned: Restore) -> None:
    """Undo a run and all later ones that changed the same tables."""
    before = run.warehouse.versions(_TABLES[name] for name in planned.versions)
    write_run(run.warehouse, RunEntry(run.manifest, APPLYING, Metrics(restore=planned), before, {}))
    _carry_out(run, run.manifest, planned, before)


def cut_off_runs(warehouse: Warehouse) -> list[RunManifest]:
    """The staged runs, oldest first, that were cut off; none where no job has a stage."""
    return unfinished(warehouse) if warehouse.present([ETL_STAGE]) else []


def unfinished_restores(warehouse: Warehouse) -> list[Row]:
    """The rows in etl_runs of restores that were cut off, oldest first."""
    cut_off = (F.col("job") == MAINTAIN) & (F.col("status") == APPLYING)
    started = F.date_format("started_at", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX").alias("started")
    columns = ("run_id", "arguments", started, "metrics", "versions_before")
    return warehouse.read(ETL_RUNS).where(cut_off).select(*columns).orderBy("started", "run_id").collect()


def finish_restores(run: Run) -> list[str]:
    """Finish restores that were cut off, before anything else is read or written; gives the runs that they undid."""
    finished = []
    for row in unfinished_restores(run.warehouse):
        log.warning("finishing an interrupted restore", interrupted_run_id=row["run_id"], started_at=row["started"])
        manifest = RunManifest(row["run_id"], MAINTAIN, tuple(row["arguments"]), row["started"], is_plan=False)
        planned = restore_from(row["metrics"])
        _carry_out(run, manifest, planned, dict(row["versions_before"]))
        finished.append(planned.restored_run_id)
    run.metrics.finished_restores = finished
    return finished


def _carry_out(run: Run, manifest: RunManifest, planned: Restore, before: Mapping[str, int]) -> None:
    """Restore the tables and mark the undone runs; each step can be repeated, and the row of the restore comes last."""
    warehouse = run.warehouse
    with step("restore") as counts:
        counts["tables"] = len(planned.versions)
        for table, version in ((_TABLES[name], version) for name, version in planned.versions.items()):
            if warehouse.version(table) != version:
                statement = f"RESTORE TABLE {warehouse.name(table)} TO VERSION AS OF {version:d}"
                warehouse.commit(table, partial(warehouse.spark.sql, statement))
    with step("undone_runs") as counts:
        counts.update(runs=len(planned.undone_runs), files=planned.files)
        _mark_undone(warehouse, planned.undone_runs, f"undone by {manifest.run_id}")
    with step("ledger"):
        after = warehouse.versions(_TABLES[name] for name in planned.versions)
        metrics = replace(metrics_of(manifest), status=DONE, upkeep=UpkeepMetrics("restore"), restore=planned)
        write_run(warehouse, RunEntry(manifest, DONE, metrics, before, after), again=True)


def _mark_undone(warehouse: Warehouse, run_ids: Collection[str], message: str) -> None:
    """Give the runs a status with which no later run finishes or applies them, and take their files away.

    A run that was cut off may have no row yet, and gets one.
    """
    for manifest in cut_off_runs(warehouse):
        if manifest.run_id in run_ids:
            write_run(warehouse, RunEntry(manifest, UNDONE, Metrics(), manifest.versions, {}, message), again=True)
    marked = values_frame(warehouse.spark, [(run_id,) for run_id in run_ids], "run_id STRING")
    files = F.array().cast(ETL_RUNS.schema["files"].dataType)
    source = marked.withColumns({"status": F.lit(UNDONE), "message": F.lit(message), "files": files})
    changed = "WHEN MATCHED THEN UPDATE SET t.status = s.status, t.message = s.message, t.files = s.files"
    merge(warehouse, ETL_RUNS, source, on="t.run_id = s.run_id", clauses=[changed])


def _finished_run(warehouse: Warehouse, run_id: str) -> Row:
    """The row of a run that can be undone: `versions_before`, and `micros`, when it ended."""
    runs = warehouse.read(ETL_RUNS).where(F.col("run_id") == run_id)
    rows = runs.select("job", "status", "versions_before", F.unix_micros("ended_at").alias("micros")).collect()
    if not rows:
        raise RestoreError(f"there is no run {run_id} in etl_runs: look there for the run to undo")
    status = rows[0]["status"]
    if status in _WHY_NOT:
        raise RestoreError(f"run {run_id} {_WHY_NOT[status]}: there is nothing to undo")
    if rows[0]["job"] == MAINTAIN:
        raise RestoreError(f"run {run_id} looked after the tables and loaded nothing: to undo a restore, load again")
    if not rows[0]["versions_before"]:
        raise RestoreError(f"run {run_id} did not record the versions of the tables before it: it cannot be undone")
    return rows[0]


def _done_since(warehouse: Warehouse, micros: int, versions: Collection[str]) -> list[str]:
    """The complete runs that ended at this time or later and recorded any of these tables, oldest first."""
    shares = F.arrays_overlap(F.map_keys("versions_before"), F.array(*map(F.lit, versions)))
    later = (F.unix_micros("ended_at") >= micros) & (F.col("status") == DONE) & (F.col("job") != MAINTAIN)
    runs = warehouse.read(ETL_RUNS).where(later & shares).select("run_id", "ended_at").orderBy("ended_at", "run_id")
    return [row["run_id"] for row in runs.collect()]


def _require_versions(warehouse: Warehouse, versions: Mapping[str, int]) -> None:
    """Open every file of the versions that are not the newest, before any table changes: a VACUUM may have taken some.

    RestoreError names all versions that are no longer there.
    """
    gone = []
    for name, version in versions.items():
        if warehouse.version(_TABLES[name]) != version:
            try:
                # The path of a row's file is known only when the file has been opened.
                warehouse.read(_TABLES[name], versions).select("_metadata.file_path").distinct().count()
            except Exception as error:
                if not is_missing_version(error):
                    raise
                gone.append(f"{name} at version {version}")
    if gone:
        raise RestoreError(
            f"no longer there, a VACUUM has deleted files of it: {', '.join(gone)}. No table was changed; a later run "
            "can perhaps be undone, and a new warehouse can be built from the landing files"
        )


def restore_metrics(warehouse: Warehouse, planned: Restore) -> UpkeepMetrics:
    """The tables with their versions and rows now and after the restore, the runs that it undoes, and their files."""
    tables = [_TABLES[name] for name in planned.versions]
    versions, rows = warehouse.versions(tables), warehouse.rows(tables)
    changes = {
        table.name: {
            "version": versions[table.name],
            "back_to": planned.versions[table.name],
            "rows": rows[table.name],
            "rows_then": warehouse.read(table, planned.versions).count(),
        }
        for table in tables
    }
    undo = UndoMetrics(planned.restored_run_id, planned.undone_runs, planned.files)
    return UpkeepMetrics("restore", changes, undo=undo)
