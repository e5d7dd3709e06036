"""Looking after the tables: joining small files, deleting files and rows that nobody needs any more, and checking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from pyspark.sql import functions as F

from etl_lib.applying.invariants import SUBJECTS, find_violations
from etl_lib.process.errors import ConfigError, InvariantError, LakehouseError, UnfinishedError
from etl_lib.process.session import setting, temporary_settings
from etl_lib.run.metric_parts import CheckMetrics
from etl_lib.run.restore import cut_off_runs
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.quarantine_arguments import DISCARDED, REPLAYED
from etl_lib.tables.ledger import DONE, FAILED, STOPPED, UNDONE, RunEntry, consistent_versions, write_run
from etl_lib.tables.schemas import (
    ALL_TABLES,
    ETL_EVENTS,
    ETL_RUNS,
    ETL_STAGE,
    PUBLISHED_TABLES,
    QUARANTINE,
    VALUE_PROP_FEATURES,
    Table,
)
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

SAFE_HOURS = 168
"""Delta's own limit: a reader or writer that began earlier may still need what is deleted."""

_DELTA_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
_STAGES = (ETL_STAGE, ETL_EVENTS)
_FINISHED = (DONE, FAILED, STOPPED, UNDONE)


def tables_of(warehouse: Warehouse) -> list[Table]:
    """The tables that the jobs have made so far; LakehouseError when there are none."""
    tables = warehouse.present(ALL_TABLES)
    if ETL_RUNS not in tables:
        raise LakehouseError(f"{warehouse.location} has no table {ETL_RUNS.name}: is `warehouse` the right place?")
    return tables


@contextmanager
def upkeep(run: Run, tables: Sequence[Table]) -> Iterator[dict[str, dict[str, int]]]:
    """Do something to the tables that leaves what they say as it is, and enter it in the ledger if any has changed.

    Gives the dictionary for what was done to each table, by its name. Readers go by the versions in the ledger, whose
    files a later VACUUM must not take: so it is also entered when those are not the newest. UnfinishedError while a run
    is to be finished: readers then need those from before it.
    """
    if left := [manifest.run_id for manifest in cut_off_runs(run.warehouse)]:
        raise UnfinishedError(
            f"run {', '.join(left)} was cut off: run the orders job once to finish it, or undo it with restore --run"
        )
    # The entry itself is one more small file of etl_runs: joining it the next time is not worth an entry.
    watched = [table for table in tables if table is not ETL_RUNS]
    before = run.warehouse.versions(watched)
    counts_by_table: dict[str, dict[str, int]] = {}
    run.metrics.upkeep.tables = counts_by_table
    yield counts_by_table
    after = run.warehouse.versions(watched)
    data = [table for table in tables if table in (*PUBLISHED_TABLES, VALUE_PROP_FEATURES)]
    old, new = ({table.name: versions[table.name] for table in data} for versions in (before, after))
    if not run.arguments.plan and (after != before or new != consistent_versions(run.warehouse, data)):
        run.metrics.status = DONE
        write_run(run.warehouse, RunEntry(run.manifest, DONE, run.metrics, old, new))


def compact(run: Run, tables: Sequence[Table]) -> None:
    """Join the small files of each partition, of every table but the stages, which are not read for long."""
    with upkeep(run, tables) as counts_by_table:
        for table in tables:
            if table not in _STAGES:
                with step(table.name) as counts:
                    counts.update(_optimize(run.warehouse, table))
                counts_by_table[table.name] = counts


def _optimize(warehouse: Warehouse, table: Table) -> dict[str, int]:
    """Let Delta pack small files, and those of which many rows are deleted."""
    name = warehouse.name(table)
    files = int(warehouse.spark.sql(f"DESCRIBE DETAIL {name}").collect()[0]["numFiles"])
    packed = warehouse.commit(table, lambda: warehouse.spark.sql(f"OPTIMIZE {name}").collect())[0]["metrics"]
    return {"files_before": files, "files_after": files + packed["numFilesAdded"] - packed["numFilesRemoved"]}


def vacuum(run: Run, tables: Sequence[Table], *, force: bool) -> None:
    """Delete files that no version within the retention needs; ConfigError for a retention that is not safe."""
    hours = run.settings.maintenance.retention_hours
    if hours < SAFE_HOURS and not force:
        raise ConfigError(
            f"maintenance.retention_hours: {hours} is less than {SAFE_HOURS}. A reader or writer that began earlier "
            "than that may still need the files, and runs of that time could no longer be undone. If nothing else "
            "works with these tables and none of those runs needs to be undone, say --force"
        )
    unchecked = {_DELTA_CHECK: "false"} if hours < SAFE_HOURS else {}
    with upkeep(run, tables) as counts_by_table, temporary_settings(run.spark, unchecked):
        if unchecked:
            log.warning("Delta's check of the retention is off for this command, as --force says", setting=_DELTA_CHECK)
            if setting(run.spark, _DELTA_CHECK) != "false":
                raise LakehouseError(f"this session does not let {_DELTA_CHECK} be set, which --force needs")
        for table in tables:
            with step(table.name) as counts:
                run.spark.sql(f"VACUUM {run.warehouse.name(table)} RETAIN {hours:d} HOURS").collect()
                counts["files_deleted"] = _deleted(run.warehouse, table)
            counts_by_table[table.name] = counts


def _deleted(warehouse: Warehouse, table: Table) -> int:
    """How many files the VACUUM deleted, as the table's history says; 0 where Delta keeps no entry of it."""
    last = warehouse.spark.sql(f"DESCRIBE HISTORY {warehouse.name(table)} LIMIT 1").collect()[0]
    return int(last["operationMetrics"].get("numDeletedFiles", 0)) if last["operation"] == "VACUUM END" else 0


def purge(run: Run, tables: Sequence[Table]) -> None:
    """Remove the stages of finished runs and the settled entries of the quarantine that are older than `keep_days`.

    Only what a run that etl_runs has as finished has staged or settled is old: a plan that waits and a run that was
    cut off keep theirs.
    """
    latest = datetime.fromisoformat(run.manifest.started_at) - timedelta(days=run.settings.maintenance.keep_days)
    old = run.warehouse.read(ETL_RUNS).where(
        (F.col("started_at") < F.lit(latest.isoformat()).cast("timestamp")) & F.col("status").isin(*_FINISHED)
    )
    removable = (
        (ETL_STAGE, "run_id", F.col("run_id").isNotNull()),
        (QUARANTINE, "last_run_id", F.col("status").isin(REPLAYED, DISCARDED)),
    )
    with upkeep(run, tables) as counts_by_table:
        for table, by, where in removable:
            if table not in tables:
                continue
            with step(table.name) as counts:
                rows = run.warehouse.read(table)
                by_run = rows.where(where).groupBy(F.col(by).alias("run_id")).count()
                runs = by_run.join(old.select("run_id"), "run_id").collect()
                counts.update(runs=len(runs), rows_removed=sum(row["count"] for row in runs))
                if runs and not run.arguments.plan:
                    is_old = F.col(by).isin([row["run_id"] for row in runs]) & where
                    run.warehouse.overwrite(table, rows.limit(0), is_old)
            counts_by_table[table.name] = counts


def check(run: Run, tables: Sequence[Table]) -> None:
    """Verify every invariant whose tables are there; InvariantError names those that do not hold."""
    subjects = [subject for subject in SUBJECTS if all(table in tables for table in subject.needs)]
    asked = [invariant for subject in subjects for invariant in subject.invariants]
    with step("check") as counts:
        violations = find_violations(run.warehouse, subjects, run.settings.samples)
        counts["invariants"] = len(asked)
    run.metrics.upkeep.check = CheckMetrics(
        invariants={one.name: violations[one.name].rows if one.name in violations else 0 for one in asked},
        samples={name: broken.keys for name, broken in violations.items()},
        not_checked=[one.name for subject in SUBJECTS if subject not in subjects for one in subject.invariants],
    )
    if violations:
        listed = "\n  ".join(
            f"{one.name}: {violations[one.name].rows} ({one.says})" for one in asked if one.name in violations
        )
        raise InvariantError(f"{len(violations)} of {len(asked)} invariants do not hold:\n  {listed}")
