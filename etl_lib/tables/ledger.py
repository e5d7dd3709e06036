"""The ledger: which runs there were, which files they loaded, how the rules fared. One row a run, written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampType

from etl_lib import RELEASE
from etl_lib.tables.run_manifest import LoadedFile, RunManifest, SetAside, set_aside_from
from etl_lib.tables.schemas import (
    ETL_RUNS,
    LOADED_FILE,
    PUBLISHED_TABLES,
    RULE_RESULT,
    SCHEMAS,
    Table,
)
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DONE, PLANNED, APPLYING, FAILED, UNDONE = "done", "planned", "applying", "failed", "undone"

# What of etl_runs is written as it is; times come as texts and numbers, so that no clock of this machine has a part.
_WRITTEN = f"""
    run_id STRING, job STRING, status STRING, arguments ARRAY<STRING>, started STRING, outcomes MAP<STRING, BIGINT>,
    metrics STRING, versions_before MAP<STRING, BIGINT>, versions_after MAP<STRING, BIGINT>, message STRING,
    loaded ARRAY<{LOADED_FILE.replace("TIMESTAMP", "BIGINT")}>, rules ARRAY<{RULE_RESULT}>,
    tables_left MAP<STRING, STRUCT<version: BIGINT, rows: BIGINT>>, release STRING, schemas STRING"""


@dataclass(frozen=True)
class RuleResult:
    """How one rule fared in one run; `check` is that of a rule of the configuration."""

    dataset: str
    rule: str
    severity: str
    checked: int
    failed: int
    samples: Sequence[str]
    check: str | None = None

    @property
    def fingerprint(self) -> str:
        """Changes when what the rule says changes: its check and severity, or the release whose code it is."""
        says = (self.rule, RELEASE) if self.check is None else (self.check, self.severity)
        return sha256("\n".join(says).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TableLeft:
    """A table as a run left it; `rows` where the run counts them."""

    version: int
    rows: int | None


class RunMetrics(Protocol):
    """What a run tells of itself, as far as the ledger keeps it."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """The records by outcome."""

    @property
    def text(self) -> str:
        """All of it, as JSON."""


@dataclass(frozen=True)
class RunEntry:
    """What etl_runs says of a run."""

    manifest: RunManifest
    status: str
    metrics: RunMetrics
    versions_before: Mapping[str, int]
    versions_after: Mapping[str, int]
    message: str | None = None
    rules: Sequence[RuleResult] = ()
    files: Sequence[LoadedFile] = ()
    """The versions of landing files that count as loaded, once the run is done."""
    tables_left: Mapping[str, TableLeft] = field(default_factory=dict)
    """The tables that the next run need not look at, if they are still so."""


def write_run(warehouse: Warehouse, entry: RunEntry, *, again: bool = False) -> None:
    """Write the one row of a run; `again` replaces the row of a plan that is now applied, or of a first try."""
    manifest = entry.manifest
    values = (
        manifest.run_id,
        manifest.job,
        entry.status,
        list(manifest.arguments),
        manifest.started_at,
        dict(entry.metrics.outcomes),
        entry.metrics.text,
        dict(entry.versions_before),
        dict(entry.versions_after),
        entry.message,
        [asdict(file) for file in entry.files],
        [_result_row(result) for result in entry.rules],
        {name: asdict(left) for name, left in entry.tables_left.items()},
        RELEASE,
        SCHEMAS,
    )
    row = values_frame(warehouse.spark, [values], _WRITTEN).withColumns(
        {
            "started_at": F.col("started").cast("timestamp"),
            "ended_at": F.current_timestamp(),
            "files": F.transform("loaded", _loaded_file),
        }
    )
    columns = row.select(*ETL_RUNS.column_names)
    if again:
        warehouse.overwrite(ETL_RUNS, columns, F.col("run_id") == manifest.run_id)
    else:
        warehouse.append(ETL_RUNS, columns)


def _result_row(result: RuleResult) -> dict[str, Any]:
    row = asdict(result) | {"samples": list(result.samples), "fingerprint": result.fingerprint}
    del row["check"]
    return row


def _loaded_file(file: Column) -> Column:
    times = {"modified_at", "min_version_at", "max_version_at"}
    names = [item.name for item in fields(LoadedFile)]
    return F.struct(*((F.timestamp_micros(file[n]) if n in times else file[n]).alias(n) for n in names))


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


@dataclass(frozen=True)
class Ledger:
    """What the ledger said when it was looked at."""

    tables: Mapping[str, TableLeft] = field(default_factory=dict)
    """As the last complete runs left them, by name, those declared as they are now."""
    has_open: bool = False
    """Whether a run or a restore was begun and not ended."""
    releases: frozenset[str] = frozenset()
    """Those that wrote into it."""

    def rows_left(self, table: Table) -> int:
        """How many rows a table was left with; 0 where no run has said so."""
        left = self.tables.get(table.name)
        return (left and left.rows) or 0


def look_at(warehouse: Warehouse) -> Ledger:
    """One small query, since every run begins with it."""
    is_done = F.col("status") == DONE
    left = F.explode_outer(F.when(is_done & (F.col("schemas") == SCHEMAS), F.col("tables_left")))
    told = warehouse.read(ETL_RUNS).select("status", "release", "ended_at", left.alias("name", "left"))
    found = told.groupBy("name").agg(
        F.max_by("left", "ended_at").alias("left"),
        F.bool_or(F.col("status") == APPLYING).alias("has_open"),
        F.collect_set("release").alias("releases"),
    )
    rows = found.collect()
    return Ledger(
        {row["name"]: TableLeft(*row["left"]) for row in rows if row["name"] is not None},
        any(row["has_open"] for row in rows),
        frozenset(release for row in rows for release in row["releases"]),
    )


def rows_at(warehouse: Warehouse, versions: Mapping[str, int], left: Mapping[str, TableLeft]) -> dict[str, int]:
    """How many rows the tables have at these versions, by name.

    A table at version 0 was only created, and one that is as a run left it has so many rows as that told; the others
    are counted.
    """
    known = {name: 0 for name, version in versions.items() if version == 0}
    for name, version in versions.items():
        told = left.get(name)
        if told is not None and told.version == version and told.rows is not None:
            known[name] = told.rows
    return known | warehouse.rows([table for table in PUBLISHED_TABLES if table.name in versions.keys() - known.keys()])


def rows_after(
    warehouse: Warehouse, rows: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]
) -> dict[str, int]:
    """How many rows the tables have after this run, by name, when `rows` were there at the versions `before`.

    Known of a table that this run alone has changed since then, by what Delta said of each write; else counted.
    """
    known = {}
    for name, there in rows.items():
        grown = warehouse.grown.get(name, 0)
        if grown is not None and after[name] == before[name] + warehouse.commits[name]:
            known[name] = there + grown
    return known | warehouse.rows([table for table in PUBLISHED_TABLES if table.name in rows.keys() - known.keys()])


def loaded_files(warehouse: Warehouse) -> DataFrame:
    """The versions of landing files that done runs loaded: the fields of LoadedFile.

    As many rows as runs that entered it, for a key that is only looked for.
    """
    # Not by a filter, for which Delta would look at the statistics of its few small files.
    of_done = F.when(F.col("status") == DONE, F.col("files"))
    return warehouse.read(ETL_RUNS).select(F.explode(of_done).alias("file")).select("file.*")


def tables_left(warehouse: Warehouse, tables: Sequence[Table], rows: Mapping[str, int]) -> dict[str, TableLeft]:
    """The tables as they are now, where Spark need not be asked for that; but etl_runs, which is written after it."""
    versions = warehouse.versions_on_disk(table for table in tables if table is not ETL_RUNS)
    return {name: TableLeft(version, rows.get(name)) for name, version in versions.items()}


def append_values(warehouse: Warehouse, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append rows in the declared order of the columns; a time has a zone, or is in microseconds since the epoch."""
    times = [field.name for field in table.schema if isinstance(field.dataType, TimestampType)]
    numbers = dict.fromkeys(times, "BIGINT")
    columns = ", ".join(f"{f.name} {numbers.get(f.name, f.dataType.simpleString())}" for f in table.schema)
    found = values_frame(warehouse.spark, [tuple(map(_in_micros, row)) for row in rows], columns)
    warehouse.append(table, found.withColumns({name: F.timestamp_micros(name) for name in times}))


def known_versions(warehouse: Warehouse, datasets: Sequence[str]) -> set[tuple[str, str, int, int]]:
    """The (dataset, path, size, microseconds of modified_at) that the ledger has of some datasets."""
    loaded = loaded_files(warehouse).where(F.col("dataset").isin(list(datasets)))
    found = loaded.select("dataset", "path", "size", F.unix_micros("modified_at")).collect()
    return {(row[0], row[1], row[2], row[3]) for row in found}


def set_aside_files(warehouse: Warehouse) -> list[SetAside]:
    """The file versions that complete runs could not read."""
    told = F.get_json_object("metrics", "$.set_aside").alias("told")
    done = warehouse.read(ETL_RUNS).where(F.col("status") == DONE).select(told)
    texts = done.where(F.col("told") != "[]").distinct().collect()
    return [file for row in texts for file in set_aside_from(row["told"])]


def _in_micros(value: Any) -> Any:
    """A time as a number, so that no clock or zone of this machine has a part in it; anything else as it is."""
    return (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
