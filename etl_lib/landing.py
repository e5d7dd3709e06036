"""The landing files: which there are, which are new, and the columns that tell where a record stood.

Listing goes through Spark's `binaryFile` source, which reads no content and works on every Hadoop file system and on
Spark Connect. A path is written as a person would write it, not percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from etl_lib.errors import ConfigError, InputError, LakehouseError
from etl_lib.local_rows import local_rows

_GLOB = re.compile(r"[*?\[{]")
_SPECIAL = re.compile(r"([\\*?\[\]{}])")

WHOLE = -1
"""The block of a file that was read whole: there `row` is the position itself, counted from 1."""

FEW = 32
"""So many files, at most, are each asked by a query of its own."""

FILE_COLUMNS = "source_file STRING, source_size BIGINT, source_modified_at TIMESTAMP"


@dataclass(frozen=True)
class LandingFile:
    """One version of one file: `modified_at` in microseconds since the epoch."""

    path: str
    size: int
    modified_at: int


def file_columns() -> list[Column]:
    """FILE_COLUMNS of the file that a row was read from, for any file source of Spark."""
    encoded = F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B"))
    return [
        F.url_decode(encoded).alias("source_file"),
        F.col("_metadata.file_size").alias("source_size"),
        F.col("_metadata.file_modification_time").alias("source_modified_at"),
    ]


def landing_files(spark: SparkSession, location: str, setting: str) -> DataFrame:
    """Every file at `location`, a file, folder or glob: FILE_COLUMNS, one row a file.

    Names that start with `_` or `.` are left out, as everywhere in Spark. A glob without a match is empty;
    a path that does not exist raises ConfigError and names the `setting`.
    """
    try:
        found = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(location)
        files = found.select(*file_columns())
        files.schema  # noqa: B018 - Spark Connect looks at the path only when it must
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        if _GLOB.search(location):
            return local_rows(spark, [], FILE_COLUMNS)
        raise ConfigError(f"{setting}: there is no file or folder {location}") from None
    return files


def unread(files: DataFrame, loaded: DataFrame) -> DataFrame:
    """The `files` whose dataset, path, size and modification time are not among the `loaded` ones (etl_files)."""
    versions = loaded.select(
        "dataset",
        F.col("path").alias("source_file"),
        F.col("size").alias("source_size"),
        F.col("modified_at").alias("source_modified_at"),
    )
    return files.join(versions, versions.columns, "left_anti")


def collected(files: DataFrame) -> list[LandingFile]:
    """The files as values, in the order of their paths."""
    return collected_by(files, F.lit("")).get("", [])


def collected_by(files: DataFrame, group: Column) -> dict[str, list[LandingFile]]:
    """The files as values by their groups, each list in the order of the paths."""
    found: dict[str, list[LandingFile]] = {}
    rows = files.select(group, "source_file", "source_size", F.unix_micros("source_modified_at")).collect()
    for name, path, size, modified_at in sorted(rows, key=lambda row: row["source_file"]):
        found.setdefault(name, []).append(LandingFile(path, size, modified_at))
    return found


def read_text(spark: SparkSession, files: Sequence[LandingFile], *, whole: bool = False) -> DataFrame:
    """The text of exactly these files, a row a line or (`whole`) a row a file.

    Columns: raw STRING, FILE_COLUMNS, block BIGINT (the byte at which the part of the file begins that one task read)
    and row BIGINT (rising within the block): (block, row) orders the records of a file however it was split.
    """
    # The paths are names, not patterns: a file called orders[1].json is that file.
    paths = [_SPECIAL.sub(r"\\\1", file.path) for file in files]
    return (
        # A session may be set to pass over what it cannot read: such a file would count as loaded.
        spark.read.options(recursiveFileLookup=True, ignoreMissingFiles=False, ignoreCorruptFiles=False)
        .text(paths, wholetext=whole)
        .select(
            F.col("value").alias("raw"),
            *file_columns(),
            F.col("_metadata.file_block_start").alias("block"),
            F.monotonically_increasing_id().alias("row"),
        )
    )


@contextmanager
def vanished_files_told(spark: SparkSession, files: Sequence[LandingFile]) -> Iterator[None]:
    """Raise InputError with its path when reading fails and one of the files is no longer there."""
    try:
        yield
    except LakehouseError:
        raise
    except Exception as error:
        # What Spark raises in a task has no type of its own in Python.
        if (path := _vanished(spark, files)) is None:
            raise
        raise InputError(
            f"{path} is gone since it was listed; no table was changed: run the command again, it reads what is there"
        ) from error


def _vanished(spark: SparkSession, files: Sequence[LandingFile]) -> str | None:
    """The first of the files that is no longer there."""
    try:
        read_text(spark, files).schema  # noqa: B018 - as above
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return (error.getMessageParameters() or {})["path"]
    return None


def is_blank(text: Column) -> Column:
    """Whether a line has nothing but JSON's white space."""
    # Trimming on the right, too, would take nine times the text in memory.
    return F.ltrim(text, F.lit(" \t\r\n\ufeff")) == ""


def first_lines(spark: SparkSession, files: Sequence[LandingFile]) -> dict[str, str]:
    """The first line with something in it of each file (cut at 64 KiB), by path; a blank file is left out.

    A few files are asked one by one, where Spark stops at that line; many are read in one scan.
    """
    if not files:
        return {}
    if len(files) > FEW:
        lines = read_text(spark, files)
        seen = lines.where((F.col("block") == 0) & ~is_blank(F.col("raw")))
        first = seen.groupBy("source_file").agg(F.min_by(F.substring("raw", 1, 65536), "row").alias("line"))
        return {row["source_file"]: row["line"] for row in first.collect()}

    def line_of(file: LandingFile) -> list[Row]:
        lines = read_text(spark, [file])
        return lines.where(~is_blank(F.col("raw"))).select(F.substring("raw", 1, 65536)).head(1)

    with ThreadPoolExecutor(4) as pool:
        return {file.path: rows[0][0] for file, rows in zip(files, pool.map(line_of, files), strict=True) if rows}
