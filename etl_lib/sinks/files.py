"""What the sinks that write files through Spark have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.errors import PySparkException

from etl_lib.process.spark_errors import is_disk_full
from etl_lib.sinks.relations import SinkError


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
