"""Small literal frames in, exact comparison out: the one way in which tests compare frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession


def frame(spark: SparkSession, columns: str, *rows: Sequence[Any]) -> DataFrame:
    """A literal frame: `columns` is Spark DDL."""
    return spark.createDataFrame([tuple(row) for row in rows], columns)


def assert_same(actual: DataFrame, expected: DataFrame) -> None:
    """The same columns in name, type and order, and the same rows in any order, exactly."""
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)
