"""The first line of each landing file, which tells its layout, encoding and header."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.texts import Encoding, decoded, encoding_of, first_line_of, is_blank
from etl_lib.sources.landing import LandingFile, read_text

_FIRST = 65536
"""Bytes of a first line that are looked at."""

FEW = 32
"""So many files, at most, are each asked by a query of its own."""

_SMALL = 4 << 20
"""So few bytes in several files are read in one scan."""


@dataclass(frozen=True)
class FirstLine:
    """The first line of a file with something in it, cut at 64 KiB, and the encoding in which it is."""

    text: str
    encoding: Encoding = "utf-8"


def first_lines(spark: SparkSession, files: Sequence[LandingFile]) -> dict[str, FirstLine]:
    """The first line with something in it of each file (cut at 64 KiB), by path; a blank file is left out.

    Many files, and small ones, are read in one scan; a few large ones are asked one by one, where Spark stops there.
    """
    content = F.col("raw").cast("binary")

    def start_of(file: LandingFile) -> bytes | None:
        lines = read_text(spark, [file], whole=file.is_hidden)
        rows = lines.where(~is_blank(F.col("raw"))).select(F.substring(content, 1, _FIRST)).head(1)
        return bytes(rows[0][0]) if rows else None

    def line_of(file: LandingFile, start: bytes) -> FirstLine:
        encoding = encoding_of(start)
        if encoding == "utf-16":  # whose lines are none to Spark
            rows = read_text(spark, [file], whole=True).select(F.substring(content, 1, 2 * _FIRST)).head(1)
            start = bytes(rows[0][0]) if rows else start
        text, errors = decoded(start)
        return FirstLine(first_line_of(text).encode("utf-8", errors).decode("utf-8", "replace"), encoding)

    starts: dict[str, bytes | None] = {}
    few = list(files)
    seen = [file for file in files if not file.is_hidden]
    if len(seen) > FEW or (len(seen) > 1 and sum(file.size for file in seen) <= _SMALL):
        few = [file for file in files if file.is_hidden]
        lines = read_text(spark, seen)
        first_parts = lines.where((F.col("block") == 0) & ~is_blank(F.col("raw")))
        first = first_parts.groupBy("source_file").agg(F.min_by(F.substring(content, 1, _FIRST), "row").alias("start"))
        starts = {row["source_file"]: bytes(row["start"]) for row in first.collect()}
    with ThreadPoolExecutor(4) as pool:
        starts |= zip((file.path for file in few), pool.map(start_of, few), strict=True)
    first_of = {file.path: line_of(file, start) for file in files if (start := starts.get(file.path))}
    return {path: line for path, line in first_of.items() if line.text}
