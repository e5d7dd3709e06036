"""Few rows as values in the plan of a query: neither a job nor a Python process is started for them.

Rows handed to Spark as Python's objects are taken apart by Python workers, a task for each core; as Arrow they are read
by the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType


def local_rows(spark: SparkSession, values: Iterable[Sequence[Any]], columns: str) -> DataFrame:
    """One row for each of the `values`, which have a value for each of the `columns` (DDL)."""
    schema = cast("StructType", StructType.fromDDL(columns))
    types = to_arrow_schema(schema)
    rows = list(values)
    arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(types)]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=types), schema)


def held(rows: DataFrame) -> DataFrame:
    """These rows as values in the plan of each query; for few, as they pass through the driver."""
    return rows.sparkSession.createDataFrame(rows.toArrow(), rows.schema)
