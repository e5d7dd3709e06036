"""The stage: the whole batch with its outcomes, written once, in one commit.

`etl_stage` is the plan, the deterministic source of every MERGE, the write-ahead log from which an interrupted run is
finished, and the audit record. Apart from the records it has one row a file read (so that the ledger can be written
from it) and one row with the run's manifest. `etl_events` has just the records of the last run of value_props, which
begins anew when it is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property, reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from etl_lib.deciding.outcomes import APPLIED, BLANK, FILE, MANIFEST, NO_RECORDS
from etl_lib.reading.datasets import DATASETS
from etl_lib.sources.landing import FILE_COLUMNS, LandingFile
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.schemas import DIMENSIONS, ETL_EVENTS, ETL_STAGE, Table
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse


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
        return rows.sparkSession.createDataFrame(rows.toArrow(), rows.schema) if self.is_held else rows

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


def missing_members(stage: Stage, dataset: str) -> DataFrame:
    """The keys of a dimension that the applied orders of a stage name and the dimension does not have.

    Columns: the key of the dimension, a row each time that one is named. What the same stage brings in its own files
    is not missing.
    """
    entry = DATASETS[dataset]
    table = DIMENSIONS[dataset]
    key = table.key[0]
    named = stage.applied("orders").select(F.explode(F.expr(entry.named_by)).alias(key))
    have = stage.warehouse.read(table).select(key).unionByName(stage.applied(dataset).select(key))
    return named.where(F.coalesce(F.col(key), F.lit("")) != "").join(have, key, "left_anti")


def staged(judged: DataFrame, dataset: str, run_id: str) -> DataFrame:
    """Records with their outcomes in the columns of their stage; only a rejected one keeps its raw text."""
    table = DATASETS[dataset].stage
    columns = {"run_id": F.lit(run_id), "dataset": F.lit(dataset), "raw": kept_text()}
    if table is ETL_STAGE:
        columns[dataset] = F.when(~F.col("outcome").isin("rejected", BLANK), _record(dataset))
    return stage_columns(judged.withColumns(columns), table)


def kept_text() -> Column:
    """The raw text of a rejected record; no other is kept."""
    return F.when(F.col("outcome") == "rejected", F.col("raw"))


def file_rows(spark: SparkSession, files: Iterable[LandingFile], dataset: str, run_id: str) -> DataFrame:
    """One row a file that was read, also for a file without any record."""
    values = [(run_id, dataset, FILE, file.path, file.size, file.modified_at) for file in files]
    columns = f"run_id STRING, dataset STRING, outcome STRING, {FILE_COLUMNS}"
    return stage_columns(values_frame(spark, values, columns), ETL_STAGE)


def write_stage(warehouse: Warehouse, manifest: RunManifest, parts: Iterable[DataFrame]) -> Stage:
    """Write all parts and the manifest to etl_stage, in one commit."""
    row = (manifest.run_id, "run", MANIFEST, json.dumps(asdict(manifest)))
    columns = "run_id STRING, dataset STRING, outcome STRING, raw STRING"
    head = stage_columns(values_frame(warehouse.spark, [row], columns), ETL_STAGE)
    warehouse.append(ETL_STAGE, reduce(DataFrame.unionByName, parts, head))
    return Stage(warehouse, manifest.run_id)


def replace_events(warehouse: Warehouse, run_id: str, parts: Iterable[DataFrame]) -> Stage:
    """Put the parts in the place of all rows of etl_events, in one commit."""
    warehouse.overwrite(ETL_EVENTS, reduce(DataFrame.unionByName, parts), F.lit(True))
    return Stage(warehouse, run_id, ETL_EVENTS)


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
