"""The ledger: which runs there were, which files they loaded, how the rules fared. Written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampType

from etl_lib.batch import Counted
from etl_lib.local_rows import local_rows
from etl_lib.metrics import Metrics, TableMetrics, as_json, set_aside_from, tables_from
from etl_lib.rules import STRUCTURAL_OF, Rule
from etl_lib.schemas import DQ_RESULTS, ETL_FILES, ETL_PUBLISHES, ETL_RUNS, PUBLISHED_TABLES, Table
from etl_lib.sinks.relations import Publish
from etl_lib.stage import FILE, NO_RECORDS, Manifest, SetAside, Stage
from etl_lib.warehouse import Warehouse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FILE_TIMES = ("modified_at", "min_version_at", "max_version_at")

DONE, PLANNED, APPLYING, FAILED, UNDONE = "done", "planned", "applying", "failed", "undone"


@dataclass(frozen=True)
class RunEntry:
    """What etl_runs says of a run."""

    manifest: Manifest
    status: str
    metrics: Metrics
    versions_before: Mapping[str, int]
    versions_after: Mapping[str, int]
    message: str | None = None


def write_run(warehouse: Warehouse, entry: RunEntry, *, again: bool = False) -> None:
    """Write the one row of a run; `again` replaces the row of a plan that is now applied, or of a first try."""
    manifest = entry.manifest
    values = [
        (
            manifest.run_id,
            manifest.job,
            entry.status,
            list(manifest.arguments),
            manifest.started_at,
            dict(entry.metrics.batch.outcomes) if entry.metrics.batch else {},
            as_json(entry.metrics, ensure_ascii=True),
            dict(entry.versions_before),
            dict(entry.versions_after),
            entry.message,
        )
    ]
    columns = (
        "run_id STRING, job STRING, status STRING, arguments ARRAY<STRING>, started STRING, "
        "outcomes MAP<STRING, BIGINT>, metrics STRING, versions_before MAP<STRING, BIGINT>, "
        "versions_after MAP<STRING, BIGINT>, message STRING"
    )
    row = local_rows(warehouse.spark, values, columns).withColumns(
        {"started_at": F.col("started").cast("timestamp"), "ended_at": F.current_timestamp()}
    )
    _write(warehouse, ETL_RUNS, row, manifest.run_id, again=again)


def planned_versions(warehouse: Warehouse, job: str, run_id: str) -> dict[str, int] | None:
    """The table versions that a job's plan was made on, or None when there is none that waits under that id."""
    waits = (F.col("run_id") == run_id) & (F.col("job") == job) & (F.col("status") == PLANNED)
    found = warehouse.read(ETL_RUNS).where(waits).select("versions_before").collect()
    return dict(found[0]["versions_before"]) if found else None


def consistent_versions(warehouse: Warehouse, tables: Sequence[Table]) -> dict[str, int]:
    """The versions that the last complete run left of these tables, by name: at them they agree with each other.

    While a run is at work, and after one that was cut off, the newest versions need not.
    """
    runs = warehouse.read(ETL_RUNS).where(F.col("status") == DONE)
    left = runs.select("ended_at", F.explode("versions_after").alias("name", "version"))
    wanted = left.where(F.col("name").isin([table.name for table in tables]))
    found = wanted.groupBy("name").agg(F.max_by("version", "ended_at").alias("version")).collect()
    return {row["name"]: row["version"] for row in found}


def left_by_last_run(warehouse: Warehouse) -> dict[str, TableMetrics]:
    """What the last complete run told of the tables in its metrics, by name; empty before the first."""
    done = warehouse.read(ETL_RUNS).where(F.col("status") == DONE)
    return tables_from(done.agg(F.max_by(F.get_json_object("metrics", "$.tables"), "ended_at")).collect()[0][0])


def rows_at(warehouse: Warehouse, versions: Mapping[str, int], left: Mapping[str, TableMetrics]) -> dict[str, int]:
    """How many rows PUBLISHED_TABLES have at these versions, by name.

    A table at version 0 was only created, and one that is as the last run left it has so many rows as that told; the
    others are counted.
    """
    known = {name: 0 for name, version in versions.items() if version == 0}
    known |= {
        name: left[name].rows_after
        for name, version in versions.items()
        if name in left and left[name].version_after == version
    }
    return known | warehouse.rows([table for table in PUBLISHED_TABLES if table.name not in known])


def write_files(stage: Stage) -> None:
    """Add the files that this stage read and the ledger does not have; none for a run that marks none as done."""
    read = stage.rows.where(F.col("dataset") != "run")
    is_record = ~F.col("outcome").isin(*NO_RECORDS)
    is_valid = is_record & (F.col("outcome") != "rejected")
    files = (
        read.groupBy("dataset", F.col("source_file").alias("path"))
        .agg(
            F.max(F.when(F.col("outcome") == FILE, F.col("source_size"))).alias("size"),
            F.max(F.when(F.col("outcome") == FILE, F.col("source_modified_at"))).alias("modified_at"),
            F.count_if(is_record).alias("records"),
            F.min(F.when(is_valid, F.col("version_at"))).alias("min_version_at"),
            F.max(F.when(is_valid, F.col("version_at"))).alias("max_version_at"),
        )
        .where(F.col("size").isNotNull())  # has a row of its own, by which it was marked
        .withColumn("run_id", F.lit(stage.run_id))
        .select(*ETL_FILES.column_names)
    )
    new = files.join(stage.warehouse.read(ETL_FILES).select(*ETL_FILES.key), list(ETL_FILES.key), "left_anti")
    found = new.withColumns({name: F.unix_micros(name) for name in _FILE_TIMES}).collect()
    add_files(stage.warehouse, [tuple(row) for row in found])


def add_files(warehouse: Warehouse, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append rows of etl_files, whose times are in microseconds since the epoch; without any nothing is committed."""
    if rows:
        append_values(warehouse, ETL_FILES, rows)


def append_values(warehouse: Warehouse, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append rows in the declared order of the columns; a time has a zone, or is in microseconds since the epoch."""
    times = [field.name for field in table.schema if isinstance(field.dataType, TimestampType)]
    numbers = dict.fromkeys(times, "BIGINT")
    columns = ", ".join(f"{f.name} {numbers.get(f.name, f.dataType.simpleString())}" for f in table.schema)
    found = local_rows(warehouse.spark, [tuple(map(_in_micros, row)) for row in rows], columns)
    warehouse.append(table, found.withColumns({name: F.timestamp_micros(name) for name in times}))


def known_versions(warehouse: Warehouse, datasets: Sequence[str]) -> set[tuple[str, str, int, int]]:
    """The (dataset, path, size, microseconds of modified_at) that the ledger has of some datasets."""
    loaded = warehouse.read(ETL_FILES).where(F.col("dataset").isin(list(datasets)))
    found = loaded.select("dataset", "path", "size", F.unix_micros("modified_at")).collect()
    return {(row[0], row[1], row[2], row[3]) for row in found}


def set_aside_files(warehouse: Warehouse) -> list[SetAside]:
    """The file versions that complete runs could not read."""
    told = F.get_json_object("metrics", "$.set_aside").alias("told")
    done = warehouse.read(ETL_RUNS).where(F.col("status") == DONE).select(told)
    texts = done.where(F.col("told").isNotNull() & (F.col("told") != "[]")).distinct().collect()
    return [file for row in texts for file in set_aside_from(row["told"])]


@dataclass(frozen=True)
class RuleResult:
    """How one rule fared in one run."""

    dataset: str
    rule: str
    severity: str
    checked: int
    failed: int
    samples: Sequence[str]


def rule_results(batch: Counted, rules: Mapping[str, Mapping[str, Rule]]) -> list[RuleResult]:
    """Every rule of every dataset that had input, also those that nothing broke."""
    results = []
    for dataset, counts in batch.datasets.items():
        named = [(name, "reject") for name in STRUCTURAL_OF[dataset]]
        named += [(name, rule.severity) for name, rule in rules[dataset].items()]
        for name, severity in named:
            samples = batch.samples.get((dataset, name), [])
            results.append(RuleResult(dataset, name, severity, counts.records, counts.rules[name], samples))
    return results


def write_rule_results(stage: Stage, results: Sequence[RuleResult], *, again: bool = False) -> None:
    """Write the results of a run; `again` replaces those of a first try."""
    values = [(r.dataset, r.rule, r.severity, r.checked, r.failed, list(r.samples)) for r in results]
    columns = "dataset STRING, rule STRING, severity STRING, checked BIGINT, failed BIGINT, samples ARRAY<STRING>"
    rows = local_rows(stage.warehouse.spark, values, columns).withColumns(
        {"run_id": F.lit(stage.run_id), "checked_at": F.current_timestamp()}
    )
    _write(stage.warehouse, DQ_RESULTS, rows, stage.run_id, again=again)


def _write(warehouse: Warehouse, table: Table, rows: DataFrame, run_id: str, *, again: bool) -> None:
    columns = rows.select(*table.column_names)
    if again:
        warehouse.overwrite(table, columns, F.col("run_id") == run_id)
    else:
        warehouse.append(table, columns)


COMPLETE, DIFFERS = "complete", "differs"


@dataclass(frozen=True)
class PublishEntry:
    """What etl_publishes says of a publish; `status` is COMPLETE, DIFFERS (from the tables, when held against them)
    or FAILED.
    """

    publish: Publish
    run_id: str
    sink: str
    address: str
    status: str
    groups: Mapping[str, int]
    """The groups that it brought, by table; none of a full publish."""
    rows: Mapping[str, int]
    message: str | None
    ended_at: datetime


def write_publish(warehouse: Warehouse, entry: PublishEntry) -> None:
    """Append the one row of a publish."""
    publish = entry.publish
    row = (
        publish.publish_id,
        entry.run_id,
        entry.sink,
        entry.address,
        entry.status,
        publish.is_full,
        publish.previous,
        dict(publish.versions),
        dict(entry.groups),
        dict(entry.rows),
        entry.message,
        publish.published_at,
        entry.ended_at,
    )
    append_values(warehouse, ETL_PUBLISHES, [row])


def publish_of(warehouse: Warehouse, sink: str, address: str, publish_id: str) -> Row | None:
    """The row (status, versions, started_micros) of a publish to this sink; None when the ledger has none."""
    is_it = (F.col("publish_id") == publish_id) & (F.col("sink") == sink) & (F.col("address") == address)
    started = F.unix_micros("started_at").alias("started_micros")
    found = warehouse.read(ETL_PUBLISHES).where(is_it).select("status", "versions", started).collect()
    return found[0] if found else None


def _in_micros(value: Any) -> Any:
    """A time as a number, so that no clock or zone of this machine has a part in it; anything else as it is."""
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
