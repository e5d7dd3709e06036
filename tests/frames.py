"""Small literal frames in, exact comparison out: the one way in which tests compare frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.schemas import Table


def frame(spark: SparkSession, columns: str, *rows: Sequence[Any]) -> DataFrame:
    """A literal frame: `columns` is Spark DDL."""
    return spark.createDataFrame([tuple(row) for row in rows], columns)


def rows_of(table: Table, rows: DataFrame, **fixed: Any) -> DataFrame:
    """These rows with all columns of a table: those of `fixed` with one value, the others NULL."""
    have = {*rows.columns, *fixed}
    absent = {field.name: F.lit(None).cast(field.dataType) for field in table.schema if field.name not in have}
    given = {name: F.lit(value).cast(table.schema[name].dataType) for name, value in fixed.items()}
    return rows.withColumns({**absent, **given}).select(*table.column_names)


def assert_same(actual: DataFrame, expected: DataFrame) -> None:
    """The same columns in name, type and order, and the same rows in any order, exactly."""
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)
