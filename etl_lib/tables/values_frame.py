"""Few rows as values in the plan of a query: neither a job nor a Python process is started for them.

Rows handed to Spark as Python's objects are taken apart by Python workers, a task for each core; as Arrow they are read
by the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any, cast

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

_SURROGATE = re.compile("[\ud800-\udfff]")
_IN_UTC: dict[str, Any] = {"timezone": "UTC"} if "timezone" in signature(to_arrow_schema).parameters else {}
"""Before 4.2 Spark takes UTC without being asked."""


def values_frame(spark: SparkSession, values: Iterable[Sequence[Any]], columns: str) -> DataFrame:
    """One row for each of the `values`, which have a value for each of the `columns` (DDL; all of them may be NULL).

    A time has a zone, or is in microseconds since the epoch. What is no character, as in an argument that was not
    UTF-8, becomes U+FFFD.
    """
    schema = cast("StructType", StructType.fromDDL(columns)).toNullable()
    types = arrow_schema(schema)
    rows = list(values)
    arrays = [pa.array([_of_characters(row[at]) for row in rows], field.type) for at, field in enumerate(types)]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=types), schema)


def arrow_schema(schema: StructType) -> pa.Schema:
    """The columns as Arrow has them, with times in UTC."""
    return to_arrow_schema(schema, **_IN_UTC)


def _of_characters(value: Any) -> Any:
    """A value whose texts can all be encoded."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_of_characters(name): _of_characters(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_of_characters, value))
    return value
