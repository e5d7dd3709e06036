"""What the sinks that write files through Spark have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from etl_lib.causes import is_disk_full
from etl_lib.sinks.relations import SinkError

TIMESTAMPS = "spark.sql.parquet.outputTimestampType"


@contextmanager
def timestamps_as_int64(spark: SparkSession) -> Iterator[None]:
    """Spark's own choice is INT96, nanoseconds to all others. A session that refuses is found out by the files."""
    before = spark.conf.get(TIMESTAMPS)
    with suppress(PySparkException):
        spark.conf.set(TIMESTAMPS, "TIMESTAMP_MICROS")
    try:
        yield
    finally:
        with suppress(PySparkException):
            spark.conf.set(TIMESTAMPS, str(before))


@contextmanager
def sink_errors(what: str) -> Iterator[None]:
    """Errors of files and of Spark as SinkError; a full disk is told by the run, as elsewhere."""
    try:
        yield
    except (OSError, pa.ArrowException, PySparkException) as error:
        if is_disk_full(error):
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise SinkError(f"{what}: {type(error).__name__}: {reason}") from error
