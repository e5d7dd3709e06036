"""The ledger: which runs there were, which files they loaded, how the rules fared. One row a run, written last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from pyspark.sql import functions as F

from etl_lib import RELEASE
from etl_lib.tables.schemas import ETL_RUNS, PUBLISHED_TABLES, SCHEMAS, Table
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

DONE, PLANNED, APPLYING, FAILED, UNDONE = "done", "planned", "applying", "failed", "undone"
STOPPED = "stopped"
"""A gate stopped the run before any table changed; it can be applied by hand."""

ORDERS_JOB = "orders"
REPLAY_JOB = "quarantine"
"""The job whose stages hold entries of the quarantine instead of the records of files."""


@dataclass(frozen=True)
class SetAside:
    """A version of a landing file that could not be read, and why; `modified_at` in microseconds since the epoch."""

    dataset: str
    path: str
    size: int
    modified_at: int
    reason: str


@dataclass(frozen=True)
class LoadedFile:
    """A version of a landing file, how many records it has, and the first and last version of an order among them.

    Times are in microseconds since the epoch.
    """

    dataset: str
    path: str
    size: int
    modified_at: int
    records: int
    min_version_at: int | None
    max_version_at: int | None


@dataclass(frozen=True)
class RunManifest:
    """What finishing a run needs to know of its start."""

    run_id: str
    job: str
    arguments: tuple[str, ...]
    started_at: str
    is_plan: bool
    """A plan waits for `--apply`; any other stage is finished by the next run."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """The versions of PUBLISHED_TABLES that the run was staged against: what to go back to, to undo it."""
    set_aside: tuple[SetAside, ...] = ()
    """The files that wait, because they cannot be read as they are."""
    is_admitted: bool = False
    """Whether its gates are decided: a plan, or a run that was stopped, is being applied."""

    @property
    def is_replay(self) -> bool:
        """Whether the records come from the quarantine and not from files."""
        return self.job == REPLAY_JOB


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
class GateResult:
    """What one gate said of a batch, or of what was applied."""

    gate: str
    dataset: str
    """Empty for a gate that is not about one dataset."""
    effect: str
    """What it does when it closes: `stop`, `hold_publish` or `warn`."""
    state: str
    """`passed`; closed: `stopped`, `held` or `warned`; `accepted` or `released` when somebody has overruled it."""
    message: str = ""
    """Why it closed."""


@dataclass(frozen=True)
class TableLeft:
    """A table as a run left it; `rows` where the run counts them."""

    version: int
    rows: int | None


class RunMetrics(Protocol):
    """The metrics of a run, as far as the ledger keeps them."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """The records by outcome."""

    @property
    def text(self) -> str:
        """All of it, as JSON."""


@dataclass(frozen=True)
class RunEntry:
    """The row of a run in etl_runs."""

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
    gates: Sequence[GateResult] = ()


def write_run(warehouse: Warehouse, entry: RunEntry, *, again: bool = False) -> None:
    """Write the one row of a run; `again` replaces the row of a plan that is now applied, or of a first try."""
    manifest = entry.manifest
    row = {
        "run_id": manifest.run_id,
        "job": manifest.job,
        "status": entry.status,
        "arguments": manifest.arguments,
        "started_at": datetime.fromisoformat(manifest.started_at),
        "ended_at": None,  # by Spark's clock, below
        "outcomes": dict(entry.metrics.outcomes),
        "metrics": entry.metrics.text,
        "versions_before": dict(entry.versions_before),
        "versions_after": dict(entry.versions_after),
        "message": entry.message,
        "files": [asdict(file) for file in entry.files],
        "rules": [asdict(result) | {"fingerprint": result.fingerprint} for result in entry.rules],
        "tables_left": {name: asdict(left) for name, left in entry.tables_left.items()},
        "release": RELEASE,
        "schemas": SCHEMAS,
        "gates": [asdict(gate) for gate in entry.gates],
    }
    values = [row[name] for name in ETL_RUNS.column_names]
    rows = values_frame(warehouse.spark, [values], ETL_RUNS.columns).withColumn("ended_at", F.current_timestamp())
    if again:
        warehouse.overwrite(ETL_RUNS, rows, F.col("run_id") == manifest.run_id)
    else:
        warehouse.append(ETL_RUNS, rows)


def consistent_versions(
    warehouse: Warehouse, tables: Sequence[Table], before: datetime | None = None
) -> dict[str, int]:
    """The versions that the last complete run left of these tables, by name: at them they agree with each other.

    While a run is at work, and after one that was cut off, the newest versions need not. With `before` it is the last
    one that ended earlier than that.
    """
    runs = warehouse.read(ETL_RUNS).where(F.col("status") == DONE)
    runs = runs if before is None else runs.where(F.col("ended_at") < F.lit(before.isoformat()).cast("timestamp"))
    left = runs.select("ended_at", F.explode("versions_after").alias("name", "version"))
    asked = left.where(F.col("name").isin([table.name for table in tables]))
    last = asked.groupBy("name").agg(F.max_by("version", "ended_at").alias("version")).collect()
    return {row["name"]: row["version"] for row in last}


@dataclass(frozen=True)
class Ledger:
    """What a run reads in the ledger when it begins."""

    tables: Mapping[str, TableLeft] = field(default_factory=dict)
    """As the last complete run of each job left them, by name, those declared as they are now."""
    has_open: bool = False
    """Whether a run or a restore was begun and not ended."""
    releases: frozenset[str] = frozenset()
    """Those that wrote into it."""
    last_metrics: Mapping[str, str] = field(default_factory=dict)
    """As JSON, those of the last complete run of each job."""

    def rows_left(self, table: Table) -> int:
        """How many rows a table was left with; 0 where no run has said so."""
        left = self.tables.get(table.name)
        return (left and left.rows) or 0


def read_ledger(warehouse: Warehouse) -> Ledger:
    """Read what every run begins with, in one small query."""
    ended = F.when(F.col("status") == DONE, F.col("ended_at"))
    last = F.struct("ended_at", "schemas", "tables_left", "metrics")
    aggregates = (
        F.max_by(last, ended).alias("last"),
        F.bool_or(F.col("status") == APPLYING).alias("has_open"),
        F.collect_set("release").alias("releases"),
    )
    rows = warehouse.read(ETL_RUNS).groupBy("job").agg(*aggregates).collect()
    complete = sorted((row for row in rows if row["last"] is not None), key=lambda row: row["last"]["ended_at"])
    tables: dict[str, TableLeft] = {}
    for row in complete:
        if row["last"]["schemas"] == SCHEMAS:
            tables |= {name: TableLeft(*left) for name, left in (row["last"]["tables_left"] or {}).items()}
    return Ledger(
        tables,
        any(row["has_open"] for row in rows),
        frozenset(release for row in rows for release in row["releases"]),
        {row["job"]: row["last"]["metrics"] for row in complete},
    )


def rows_at(warehouse: Warehouse, versions: Mapping[str, int], left: Mapping[str, TableLeft]) -> dict[str, int]:
    """How many rows the tables have at these versions, by name.

    Known of a table at version 0, which was only created, and of one that is as a run left it; else counted.
    """
    known = {name: 0 for name, version in versions.items() if version == 0}
    known |= {
        name: table.rows
        for name, table in left.items()
        if table.rows is not None and table.version == versions.get(name)
    }
    return known | _count_rows(warehouse, versions.keys() - known.keys())


def rows_after(
    warehouse: Warehouse, rows: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]
) -> dict[str, int]:
    """How many rows the tables have at the versions `after`, by name, when `rows` were there at the versions `before`.

    Known where Delta's log says how many rows each commit has added; else counted.
    """
    known = {}
    for table in PUBLISHED_TABLES:
        if table.name in rows:
            added = warehouse.rows_added(table, before[table.name], after[table.name])
            if added is not None:
                known[table.name] = rows[table.name] + added
    return known | _count_rows(warehouse, rows.keys() - known.keys())


def _count_rows(warehouse: Warehouse, names: Collection[str]) -> dict[str, int]:
    return warehouse.rows([table for table in PUBLISHED_TABLES if table.name in names])


def tables_left(warehouse: Warehouse, tables: Sequence[Table], rows: Mapping[str, int]) -> dict[str, TableLeft]:
    """The tables as they are now, where Spark need not be asked for that; but etl_runs, which is written after it."""
    versions = warehouse.versions_on_disk(table for table in tables if table is not ETL_RUNS)
    return {name: TableLeft(version, rows.get(name)) for name, version in versions.items()}


def set_aside_from(files: Iterable[Mapping[str, Any]]) -> tuple[SetAside, ...]:
    """The files that a run has set aside, from their fields in JSON."""
    return tuple(SetAside(**fields) for fields in files)
