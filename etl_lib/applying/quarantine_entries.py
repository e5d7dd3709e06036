"""The entries of the quarantine as a person works with them: selected, replayed, discarded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path

import structlog
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch
from etl_lib.deciding.staging import stage_records
from etl_lib.process.errors import ConfigError, LakehouseError
from etl_lib.reading.texts import is_blank
from etl_lib.run.metrics import Metrics
from etl_lib.run.run import Run
from etl_lib.settings.arguments import Scope
from etl_lib.settings.quarantine_arguments import DISCARDED, NEW, REPLAYABLE, Selection, not_replayable
from etl_lib.sources.landing import WHOLE
from etl_lib.tables.ledger import DONE, RunEntry, write_run
from etl_lib.tables.merge import merge
from etl_lib.tables.schemas import ETL_FILES, PUBLISHED_TABLES, QUARANTINE
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

_RUN_ID_TIME = "yyyyMMdd'T'HHmmss'Z'"
_PLACES = {"*": ".*", "?": "."}


def check_quarantine(warehouse: Warehouse) -> None:
    """Tell how to get a quarantine where there is none."""
    try:
        warehouse.read(QUARANTINE).schema  # noqa: B018 - Spark Connect looks at the table only when it must
    except AnalysisException as error:
        raise LakehouseError(
            f"{warehouse.location} has no table {QUARANTINE.name}: check the setting warehouse; a run of "
            "jobs/orders.py or jobs/value_props.py makes it"
        ) from error


def matching(warehouse: Warehouse, selection: Selection) -> DataFrame:
    """The entries that a selection with full ids is about, in the columns of quarantine."""
    wanted: list[Column] = []
    if selection.record_ids:
        wanted.append(F.col("record_id").isin(*selection.record_ids))
    if selection.rule is not None:
        rule = F.lit(selection.rule)
        wanted.append(F.exists("reasons", lambda reason: reason["rule"] == rule))
    if selection.file is not None:
        wanted.append(F.col("source_file").rlike(path_pattern(selection.file)))
    if selection.run is not None:
        wanted.append(F.lit(selection.run).isin(F.col("first_run_id"), F.col("last_run_id")))
    if selection.dataset is not None:
        wanted.append(F.col("dataset") == selection.dataset)
    if selection.status is not None:
        wanted.append(F.col("status") == selection.status)
    return reduce(DataFrame.where, wanted, warehouse.read(QUARANTINE))


def path_pattern(glob: str) -> str:
    """A regular expression for paths that end with `glob`, from the beginning of a name; `*` also passes over `/`."""
    return r"(?s)(^|.*/)" + "".join(_PLACES.get(character) or re.escape(character) for character in glob) + r"\z"


def with_full_ids(warehouse: Warehouse, selection: Selection) -> tuple[Selection, list[Row]]:
    """The selection with each beginning of an id made whole, and the entries: record_id, dataset, status.

    ConfigError names every id that no entry has, or that several begin with.
    """
    given = selection.record_ids
    if not given:
        return selection, []
    begins = reduce(or_, (F.col("record_id").startswith(beginning) for beginning in given))
    rows = warehouse.read(QUARANTINE).where(begins).select("record_id", "dataset", "status").collect()
    problems = []
    for beginning in given:
        ids = sorted(row["record_id"] for row in rows if row["record_id"].startswith(beginning))
        if not ids:
            problems.append(f"no entry has an id that begins with {beginning}")
        elif len(ids) > 1:
            problems.append(f"{len(ids)} entries have ids that begin with {beginning}: {_some(ids)}")
    if problems:
        raise ConfigError("; ".join(problems))
    return replace(selection, record_ids=tuple(sorted({row["record_id"] for row in rows}))), rows


def _some(ids: Sequence[str], most: int = 5) -> str:
    return ", ".join([*(record_id[:16] for record_id in ids[:most]), *(["..."] if len(ids) > most else [])])


def check_named(entries: Sequence[Row], command: str) -> None:
    """Tell which of the entries that were named are closed; ConfigError for those that cannot be replayed."""
    refused = {row["dataset"]: row["record_id"] for row in entries if row["dataset"] != REPLAYABLE}
    if refused and command == "replay":
        reasons = (f"{ids[:12]} is of {dataset}: {not_replayable(dataset)}" for dataset, ids in refused.items())
        raise ConfigError("; ".join(reasons))
    for row in entries:
        if row["status"] != NEW:
            log.warning("the entry is closed already", record_id=row["record_id"], status=row["status"])


def replayable(entries: DataFrame) -> DataFrame:
    """The entries that can be replayed; how many others there are is logged."""
    can_be = F.col("dataset") == REPLAYABLE
    for row in entries.where(~can_be).groupBy("dataset").count().collect():
        log.warning("entries are left out", dataset=row[0], entries=row[1], reason=not_replayable(row[0]))
    return entries.where(can_be)


def read_payload(path: Path | None) -> str | None:
    """The edited text of a record, without the line break behind it; ConfigError when it cannot be one."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--payload {path}: {error}") from error
    if not text.strip():
        raise ConfigError(f"--payload {path}: the file is empty; it must hold one JSON record")
    return text


def stage_replay(run: Run, entries: DataFrame, payload: str | None) -> Batch:
    """Give the record of each entry its outcome, as if it came in a file, and write them to the stage."""
    records = entry_records(run.warehouse, entries, payload, run.manifest.started_at)
    return stage_records(run, {REPLAYABLE: records}, Scope())


def entry_records(warehouse: Warehouse, entries: DataFrame, payload: str | None, now: str) -> DataFrame:
    """Entries as records that were read: RECORD_COLUMNS, and `record_id` and `payload`, the edited text.

    A record arrives when the version of its file did that it came with; where the ledger does not know it, when the
    run began that made the entry. An edited record arrives `now`. `row` has the order of the records in their file.
    """
    edited, at_once = F.lit(payload).cast("string"), F.lit(now).cast("timestamp")
    of_run = F.try_to_timestamp(F.substring("first_run_id", 1, 16), F.lit(_RUN_ID_TIME))
    arrival = F.coalesce("arrival.modified_at", of_run, at_once) if payload is None else at_once
    in_file = Window.partitionBy("source_file").orderBy("source_modified_at", "position", "record_id")
    raw = F.coalesce(edited, F.col("raw"))
    return (
        entries.join(_arrivals(warehouse, entries), "record_id", "left")
        .withColumns({"raw": raw, "source_size": F.col("arrival.size"), "source_modified_at": arrival})
        .select(
            "raw",
            "source_file",
            "source_size",
            "source_modified_at",
            F.lit(WHOLE).cast("bigint").alias("block"),
            F.row_number().over(in_file).cast("bigint").alias("row"),
            # Only where an array file ended too early is there nothing to read.
            F.when(is_blank(F.col("raw")), "broken_array").alias("read_error"),
            "record_id",
            edited.alias("payload"),
        )
    )


def _arrivals(warehouse: Warehouse, entries: DataFrame) -> DataFrame:
    """The version of its file that an entry came with: record_id, `arrival STRUCT<modified_at, size>`.

    That which the last run loaded that changed the entry, else the first run, else the latest.
    """
    versions = warehouse.read(ETL_FILES).where(F.col("dataset") == REPLAYABLE).withColumnRenamed("run_id", "loaded_by")
    asked = entries.select("record_id", F.col("source_file").alias("path"), "first_run_id", "last_run_id")
    best = F.struct(
        *((F.col("loaded_by") == F.col(name)).alias(name) for name in ("last_run_id", "first_run_id")),
        "modified_at",
        "size",
    )
    return asked.join(versions, "path").groupBy("record_id").agg(F.max(best).alias("arrival"))


def discard_entries(run: Run, entries: DataFrame) -> int:
    """Close entries without loading them, in one commit, and enter the run in the ledger; gives how many it closed."""
    before = run.warehouse.versions(PUBLISHED_TABLES)
    closing = entries.select("record_id", F.lit(run.run_id).alias("run_id"))
    clause = f"WHEN MATCHED AND t.status = '{NEW}' THEN UPDATE SET t.status = '{DISCARDED}', t.last_run_id = s.run_id"
    merge(run.warehouse, QUARANTINE, closing, on="t.record_id = s.record_id", clauses=[clause])
    done = (F.col("last_run_id") == run.run_id) & (F.col("status") == DISCARDED)
    discarded = run.warehouse.read(QUARANTINE).where(done).count()
    after = run.warehouse.versions(PUBLISHED_TABLES)
    write_run(run.warehouse, RunEntry(run.manifest, DONE, Metrics(discarded=discarded), before, after))
    return discarded
