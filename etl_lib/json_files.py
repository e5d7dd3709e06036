"""Order records as text, from JSON Lines and from JSON array files.

JSON Lines stay with Spark, which splits large files. An array file is read whole and walked element by element,
so that each element keeps its exact text and a broken one costs just the rest of its file (DESIGN: "Read as text").
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.config import Layout
from etl_lib.landing import FILE_COLUMNS, WHOLE, LandingFile, first_lines, read_text
from etl_lib.local_rows import local_rows

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])

RECORD_COLUMNS = f"raw STRING, {FILE_COLUMNS}, block BIGINT, row BIGINT, read_error STRING"

_SPACE = re.compile(r"[ \t\r\n]*")
_BATCH = 4096


def read_json_records(spark: SparkSession, files: Sequence[LandingFile], layout: Layout) -> DataFrame:
    """One row a record (blank lines are rows too): RECORD_COLUMNS.

    `read_error` is `broken_array` for the rest of an array file that cannot be walked further, else NULL.
    """
    arrays = set(_array_files(spark, files) if layout == "auto" else (files if layout == "array" else ()))
    parts = []
    lines = [file for file in files if file not in arrays]
    if lines:
        parts.append(read_text(spark, lines).withColumn("read_error", F.lit(None).cast("string")))
    if arrays:
        parts.append(_elements(read_text(spark, sorted(arrays, key=lambda file: file.path), whole=True)))
    if not parts:
        return local_rows(spark, [], RECORD_COLUMNS)
    return parts[0] if len(parts) == 1 else parts[0].unionByName(parts[1])


def _array_files(spark: SparkSession, files: Sequence[LandingFile]) -> list[LandingFile]:
    """The files whose first character, white space and byte order mark aside, opens an array."""
    first = first_lines(spark, files)
    return [file for file in files if first.get(file.path, "").lstrip("\ufeff \t").startswith("[")]


def _elements(whole_files: DataFrame) -> DataFrame:
    def walk(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for at in range(batch.num_rows):
                # surrogateescape keeps bytes that are not UTF-8, so that the strict parse sees (and refuses) them
                text = batch.column("raw")[at].as_py().decode("utf-8", "surrogateescape")
                whence = {name: batch.column(name)[at] for name in ("source_file", "source_size", "source_modified_at")}
                elements = list(split_array(text))
                for start in range(0, len(elements), _BATCH):
                    some = elements[start : start + _BATCH]
                    yield pa.RecordBatch.from_pydict(
                        {
                            "raw": pa.array([raw.encode("utf-8", "surrogateescape") for raw, _ in some], pa.binary()),
                            **{name: pa.repeat(value, len(some)) for name, value in whence.items()},
                            "block": pa.repeat(pa.scalar(WHOLE, pa.int64()), len(some)),
                            "row": pa.array(range(start + 1, start + len(some) + 1), pa.int64()),
                            "read_error": pa.array([error for _, error in some], pa.string()),
                        }
                    )

    binary = whole_files.select(F.col("raw").cast("binary"), "source_file", "source_size", "source_modified_at")
    elements = binary.mapInArrow(walk, RECORD_COLUMNS.replace("raw STRING", "raw BINARY"))
    return elements.withColumn("raw", F.col("raw").cast("string"))


def split_array(text: str) -> Iterator[tuple[str, str | None]]:
    """The exact text of each element of a JSON array, with None; then what cannot be walked, with `broken_array`.

    The walk is lenient about what an element holds (the strict parse judges that), but not about where it ends.
    An array that is never closed yields a last broken record with an empty text, because the file may be cut off.
    """
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)
    opening = _skip_space(text, 1 if text.startswith("\ufeff") else 0)
    if text[opening : opening + 1] != "[":
        yield text, "broken_array"
        return
    at = _skip_space(text, opening + 1)
    if text[at : at + 1] == "]":
        yield from _trailing(text, at + 1)
        return
    while True:
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield text[at:], "broken_array"
            return
        yield text[at:end], None
        at = _skip_space(text, end)
        if text[at : at + 1] == "]":
            yield from _trailing(text, at + 1)
            return
        if text[at : at + 1] != ",":
            yield text[at:], "broken_array"
            return
        at = _skip_space(text, at + 1)


def _trailing(text: str, at: int) -> Iterator[tuple[str, str | None]]:
    rest = text[_skip_space(text, at) :]
    if rest:
        yield rest, "broken_array"


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
