"""Records as text: line by line, or of files that are read whole and taken apart, each by one task in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce

import pyarrow as pa
from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.texts import decoded, encoding_of, lines_of
from etl_lib.sources.landing import FILE_COLUMNS, WHOLE, LandingFile, read_text
from etl_lib.tables.values_frame import values_frame

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])

RECORD_COLUMNS = f"raw STRING, {FILE_COLUMNS}, block BIGINT, row BIGINT, read_error STRING"

Record = tuple[str, str | None]
"""The text of a record, and the structural rule that its place in the file breaks, or None."""

Split = Callable[[str], Iterator[Record]]

_BATCH = 4096
_WHENCE = ("source_file", "source_size", "source_modified_at")


def plain_lines(text: str) -> Iterator[Record]:
    """Every line, blank ones too."""
    return ((line, None) for line in lines_of(text))


def read_records(
    spark: SparkSession, lines: Sequence[LandingFile], whole: Sequence[LandingFile], split: Split
) -> DataFrame:
    """One row a record: RECORD_COLUMNS. Of some files each line is one, of others (`whole`) what `split` finds.

    Of the latter a file in an encoding that nobody reads is one record, with `not_utf8`.
    """
    parts = [read_text(spark, lines).withColumn("read_error", F.lit(None).cast("string"))] if lines else []
    parts += [_read_whole(spark, whole, split)] if whole else []
    return reduce(DataFrame.unionByName, parts) if parts else values_frame(spark, [], RECORD_COLUMNS)


def _read_whole(spark: SparkSession, files: Sequence[LandingFile], split: Split) -> DataFrame:
    def take_apart(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for at in range(batch.num_rows):
                content = batch.column("raw")[at].as_py()
                text, errors = decoded(content)
                records = list(split(text)) if encoding_of(content) != "other" else [(text, "not_utf8")]
                for start in range(0, len(records), _BATCH):
                    some = records[start : start + _BATCH]
                    yield pa.RecordBatch.from_pydict(
                        {
                            "raw": pa.array([raw.encode("utf-8", errors) for raw, _ in some], pa.binary()),
                            **{name: pa.repeat(batch.column(name)[at], len(some)) for name in _WHENCE},
                            "block": pa.repeat(pa.scalar(WHOLE, pa.int64()), len(some)),
                            "row": pa.array(range(start + 1, start + len(some) + 1), pa.int64()),
                            "read_error": pa.array([error for _, error in some], pa.string()),
                        }
                    )

    ordered = sorted(files, key=lambda file: file.path)
    binary = read_text(spark, ordered, whole=True).select(F.col("raw").cast("binary"), *_WHENCE)
    records = binary.mapInArrow(take_apart, RECORD_COLUMNS.replace("raw STRING", "raw BINARY"))
    return records.withColumn("raw", F.col("raw").cast("string"))
