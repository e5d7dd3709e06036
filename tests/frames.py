"""Small literal frames in, exact comparison out: the one way in which tests compare frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa
from chispa.rows_comparer import assert_basic_rows_equality
from chispa.schema_comparer import assert_schema_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from etl_lib.sources.landing import LandingFile, collected_by
from etl_lib.tables.schemas import Table
from etl_lib.tables.values_frame import arrow_schema


def frame(spark: SparkSession, columns: str, *rows: Sequence[Any]) -> DataFrame:
    """A literal frame: `columns` is Spark DDL. As Arrow its rows are values in the plan, for which no worker starts."""
    schema = cast("StructType", StructType.fromDDL(columns))
    types = arrow_schema(schema)
    values = list(zip(*rows, strict=True)) if rows else [()] * len(types)
    arrays = [pa.array(some, field.type) for some, field in zip(values, types, strict=True)]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=types), schema)


def rows_of(table: Table, rows: DataFrame, **fixed: Any) -> DataFrame:
    """These rows with all columns of a table: those of `fixed` with one value, the others NULL."""
    have = {*rows.columns, *fixed}
    absent = {field.name: F.lit(None).cast(field.dataType) for field in table.schema if field.name not in have}
    given = {name: F.lit(value).cast(table.schema[name].dataType) for name, value in fixed.items()}
    return rows.withColumns({**absent, **given}).select(*table.column_names)


def assert_same(actual: DataFrame, expected: DataFrame) -> None:
    """The same columns in name, type and order, and the same rows in any order, exactly."""
    assert_schema_equality(actual.schema, expected.schema, ignore_nullable=True)
    found, wanted = (sorted(rows.collect(), key=repr) for rows in (actual, expected))
    assert_basic_rows_equality(found, wanted)


def collected(files: DataFrame) -> list[LandingFile]:
    """Listed files as values, in the order of their paths."""
    return collected_by(files, F.lit("")).get("", [])
