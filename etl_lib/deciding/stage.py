"""The stage: the whole batch with its outcomes, written once, in one commit.

It is the plan, the deterministic source of every MERGE, the write-ahead log from which an interrupted run is finished,
and the audit record. Apart from the records it has one row a file read (so that the ledger can be written from it) and
one row with the run's manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from etl_lib.deciding.outcomes import APPLIED
from etl_lib.process.errors import PlanError
from etl_lib.sources.landing import LandingFile
from etl_lib.tables.schemas import ETL_RUNS, ETL_STAGE, Table
from etl_lib.tables.values_frame import held, local_rows
from etl_lib.tables.warehouse import Warehouse

FILE, MANIFEST, BLANK, HEADER = "file", "manifest", "blank", "header"
REPLAY_JOB = "quarantine"
"""The job whose stages hold entries of the quarantine instead of the records of files."""
NO_RECORDS = (FILE, MANIFEST, BLANK, HEADER)
"""The outcomes of staged rows that are no input records."""
_OPEN = "applying"
"""The status of an entry in etl_runs whose run or restore was begun and not ended."""


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
    """A version of a landing file with the number of its records and the first and last version of an order among
    them; times in microseconds since the epoch.
    """

    dataset: str
    path: str
    size: int
    modified_at: int
    records: int
    min_version_at: int | None
    max_version_at: int | None


@dataclass(frozen=True)
class Manifest:
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

    @property
    def is_replay(self) -> bool:
        """Whether the records come from the quarantine and not from files."""
        return self.job == REPLAY_JOB


@dataclass(frozen=True)
class Stage:
    """The staged batch of one run; every frame of it can be read again and again with the same result."""

    warehouse: Warehouse
    run_id: str
    table: Table = ETL_STAGE
    is_held: bool = False
    """Whether its rows are so few that they are read once: Delta looks for the files of each query anew."""

    @cached_property
    def rows(self) -> DataFrame:
        """All rows of this run, in the columns of the stage's table."""
        rows = self.warehouse.read(self.table).where(F.col("run_id") == self.run_id)
        return held(rows) if self.is_held else rows

    def records(self, dataset: str | None = None) -> DataFrame:
        """The rows that are input records."""
        rows = self.rows if dataset is None else self.rows.where(F.col("dataset") == dataset)
        return rows.where(~F.col("outcome").isin(*NO_RECORDS))

    def applied(self, dataset: str) -> DataFrame:
        """The records that change a table, as their own columns, with outcome, version and origin beside them."""
        winners = self.rows.where((F.col("dataset") == dataset) & F.col("outcome").isin(*APPLIED))
        return winners.select(
            f"{dataset}.*",
            "run_id",
            "outcome",
            "version_at",
            "content_hash",
            "source_file",
            "source_modified_at",
            "table_date",
        )


def staged(batch: DataFrame, dataset: str, run_id: str) -> DataFrame:
    """A compared batch in the columns of etl_stage; only a rejected record keeps its raw text."""
    packed = batch.withColumns(
        {
            "run_id": F.lit(run_id),
            "dataset": F.lit(dataset),
            "raw": kept_text(),
            dataset: F.when(~F.col("outcome").isin("rejected", BLANK), _record(dataset)),
        }
    )
    return stage_columns(packed, ETL_STAGE)


def kept_text() -> Column:
    """The raw text of a rejected record; no other is kept."""
    return F.when(F.col("outcome") == "rejected", F.col("raw"))


def file_rows(spark: SparkSession, files: Iterable[LandingFile], dataset: str, run_id: str) -> DataFrame:
    """One row a file that was read, also for a file without any record."""
    values = [(run_id, dataset, FILE, file.path, file.size, file.modified_at) for file in files]
    columns = "run_id STRING, dataset STRING, outcome STRING, source_file STRING, source_size BIGINT, micros BIGINT"
    rows = local_rows(spark, values, columns)
    return stage_columns(rows.withColumn("source_modified_at", F.timestamp_micros("micros")), ETL_STAGE)


def write_stage(warehouse: Warehouse, manifest: Manifest, parts: Iterable[DataFrame]) -> Stage:
    """Write all parts and the manifest in one commit."""
    row = (manifest.run_id, "run", MANIFEST, json.dumps(asdict(manifest)))
    columns = "run_id STRING, dataset STRING, outcome STRING, raw STRING"
    head = stage_columns(local_rows(warehouse.spark, [row], columns), ETL_STAGE)
    warehouse.append(ETL_STAGE, reduce(DataFrame.unionByName, parts, head))
    return Stage(warehouse, manifest.run_id)


def read_manifest(warehouse: Warehouse, run_id: str) -> Manifest:
    """The manifest of a staged run; PlanError when nothing is staged under that id."""
    found = Stage(warehouse, run_id).rows.where(F.col("dataset") == "run").select("raw").collect()
    if not found:
        raise PlanError(f"there is no plan {run_id}: `--plan` prints the run id that `--apply` takes")
    return _manifest(found[0]["raw"])


def all_closed(warehouse: Warehouse) -> bool:
    """Whether every staged run and every restore has an entry that is no longer open.

    One small query; what is not complete is then looked at by `unfinished` and others.
    """
    entries = warehouse.read(ETL_RUNS).select("run_id", "status")
    staged = warehouse.read(ETL_STAGE).where(F.col("dataset") == "run").select("run_id", F.lit(None).cast("string"))
    rows = entries.union(staged).collect()
    closed = {row["run_id"] for row in rows if row["status"] not in (None, _OPEN)}
    return closed == {row["run_id"] for row in rows}


def unfinished(warehouse: Warehouse) -> list[Manifest]:
    """The staged runs, oldest first, that were cut off while they were to be applied."""
    runs = warehouse.read(ETL_RUNS).select("run_id", "status", "versions_before")
    of_run = warehouse.read(ETL_STAGE).where(F.col("dataset") == "run").select("run_id", "raw")
    # A run has no entry until it is complete; a plan has one that says so while it is applied.
    open_runs = of_run.join(runs, "run_id", "left").where(F.coalesce("status", F.lit(_OPEN)) == _OPEN)
    cut_off = []
    for row in open_runs.collect():
        manifest = _manifest(row["raw"])
        if row["status"] is not None:  # a plan is applied to what is there then
            cut_off.append(replace(manifest, versions=dict(row["versions_before"])))
        elif not manifest.is_plan:
            cut_off.append(manifest)
    return sorted(cut_off, key=lambda manifest: (manifest.started_at, manifest.run_id))


def _manifest(text: str) -> Manifest:
    fields = json.loads(text)
    set_aside = tuple(SetAside(**file) for file in fields.pop("set_aside", ()))
    return Manifest(**{**fields, "arguments": tuple(fields["arguments"])}, set_aside=set_aside)


def _record(dataset: str) -> Column:
    wanted = ETL_STAGE.schema[dataset].dataType
    return F.struct(*(F.col(field.name).cast(field.dataType).alias(field.name) for field in wanted))  # type: ignore[attr-defined]


def stage_columns(rows: DataFrame, table: Table) -> DataFrame:
    """The columns of a stage's table, NULL where the rows have none."""
    have = set(rows.columns)

    def column(name: str, kind: DataType) -> Column:
        if name in have:
            return F.col(name).cast(kind).alias(name)
        return F.lit(False).alias(name) if name == "is_conflict" else F.lit(None).cast(kind).alias(name)

    return rows.select(*(column(field.name, field.dataType) for field in table.schema))
