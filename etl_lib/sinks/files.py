"""What the sinks that write files have in common: their errors, and the manifest by which Redshift takes files in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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


def copy_manifest(files: Mapping[str, int]) -> str:
    """The manifest for a COPY of Parquet: S3 location to size in bytes; each file is mandatory."""
    entries = [
        {"url": location, "mandatory": True, "meta": {"content_length": size}}
        for location, size in sorted(files.items())
    ]
    return json.dumps({"entries": entries}, indent=2)
