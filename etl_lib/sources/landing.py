"""The landing files: which there are, which are new, and the columns with the place of a record.

Listing goes through Spark's `binaryFile` source, which reads no content and works on every Hadoop file system and on
Spark Connect. A path is written as a person would write it, not percent-encoded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs
from pyspark.cloudpickle import register_pickle_by_value
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import ConfigError, InputError
from etl_lib.process.lock import local_folder
from etl_lib.process.output import located
from etl_lib.tables.values_frame import values_frame

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])

_GLOB = re.compile(r"[*?\[{]")
_COLON = "Relative path in absolute URI"
"""What Hadoop says of a name with a colon."""
_SPECIAL = re.compile(r"([\\*?\[\]{}])")
_SIGNS = {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}
"""What stands in a regular expression for a sign of a pattern."""

WHOLE = -1
"""The block of a file that was read whole: there `row` is the position itself, counted from 1."""

FILE_COLUMNS = "source_file STRING, source_size BIGINT, source_modified_at TIMESTAMP"


@dataclass(frozen=True)
class LandingFile:
    """One version of one file: `modified_at` in microseconds since the epoch."""

    path: str
    size: int
    modified_at: int

    @property
    def is_hidden(self) -> bool:
        """Whether Spark passes over a file of this name, also where it is asked for by its name."""
        return _is_hidden(self.path)


def file_columns() -> list[Column]:
    """FILE_COLUMNS of the file that a row was read from, for any file source of Spark."""
    encoded = F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B"))
    return [
        F.url_decode(encoded).alias("source_file"),
        F.col("_metadata.file_size").alias("source_size"),
        F.col("_metadata.file_modification_time").alias("source_modified_at"),
    ]


def is_pattern(location: str) -> bool:
    """Whether a location, where nothing has exactly this name, may match other names."""
    return _GLOB.search(location) is not None


def landing_files(spark: SparkSession, location: str, setting: str) -> DataFrame:
    """Every file at `location`, a file, folder or glob: FILE_COLUMNS, one row a file.

    What exists under exactly this name is read, whatever its name looks like. In folders, and by globs, names that
    start with `_` or `.` are left out, as everywhere in Spark. A glob without a match is empty; a path that does not
    exist raises ConfigError and names the `setting`.
    """
    if _is_hidden(location) and (file := _hidden_file(location)) is not None:
        return _as_rows(spark, [file])
    exact = _SPECIAL.sub(r"\\\1", location)
    for path in (exact, location) if is_pattern(location) else (exact,):
        if (files := _listed(spark, path, setting)) is not None:
            return files
    if is_pattern(location):
        return values_frame(spark, [], FILE_COLUMNS)
    raise ConfigError(f"{setting}: there is no file or folder {location}")


def _listed(spark: SparkSession, path: str, setting: str) -> DataFrame | None:
    """What Spark finds at a path, or None when there is nothing."""
    try:
        files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path)
        files = files.select(*file_columns())
        files.schema  # noqa: B018 - Spark Connect looks at the path only when it must
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return None
        raise
    except Exception as error:  # of Java, without a type of its own in Python
        if _COLON in str(error) and is_pattern(path):
            return _matching(spark, path, setting)
        reason = re.search("Exception: (.+)", str(error)) or re.search("(.*)", str(error))
        raise InputError(f"{setting}: {path} cannot be listed: {reason and reason[1]}") from error
    return files


def _matching(spark: SparkSession, glob: str, setting: str) -> DataFrame | None:
    """What a glob matches where Hadoop cannot tell, because of a colon in some name; the folder it can list."""
    begin = _GLOB.search(glob)
    folder = glob[: begin.start() if begin else len(glob)].rpartition("/")[0]
    files = _listed(spark, folder or "/", setting)
    if files is None:
        return None
    name = F.regexp_replace("source_file", "^file:/*", "/")
    return files.where(name.rlike(f"^{_as_regex(str(local_folder(glob) or glob))}(/.*)?$"))


def _as_regex(glob: str) -> str:
    """A pattern of Hadoop's as a regular expression."""
    parts, depth = [], 0
    for part in re.findall(r"\\.|\[[^\]]*\]|.", glob, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(part, 0)
        if part == "," and depth:
            parts.append("|")
        elif len(part) > 1 and part[0] == "[":
            parts.append(part)
        else:
            parts.append(_SIGNS.get(part) or re.escape(part[-1]))
    return "".join(parts)


def _is_hidden(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _hidden_file(location: str) -> LandingFile | None:
    """The file of exactly this name, or None when it is a folder, is not there, or is where pyarrow sees nothing."""
    try:
        system, inner = located(location)
        info = system.get_file_info(inner)
    except (OSError, ValueError, pa.ArrowException):
        return None
    if info.type != pafs.FileType.File:
        return None
    path = f"file:{inner}" if isinstance(system, pafs.LocalFileSystem) else location
    return LandingFile(path, info.size, info.mtime_ns // 1_000_000 * 1_000)


def _as_rows(spark: SparkSession, files: Sequence[LandingFile]) -> DataFrame:
    values = [(file.path, file.size, file.modified_at) for file in files]
    return values_frame(spark, values, FILE_COLUMNS)


def unread(files: DataFrame, loaded: DataFrame) -> DataFrame:
    """The `files` whose dataset, path, size and modification time are not among the `loaded` ones (LoadedFile)."""
    versions = loaded.select(
        "dataset",
        F.col("path").alias("source_file"),
        F.col("size").alias("source_size"),
        F.col("modified_at").alias("source_modified_at"),
    )
    return files.join(versions, versions.columns, "left_anti")


def collected_by(files: DataFrame, group: Column) -> dict[str, list[LandingFile]]:
    """The files as values by their groups, each list in the order of the paths."""
    groups: dict[str, list[LandingFile]] = {}
    rows = files.select(group, "source_file", "source_size", F.unix_micros("source_modified_at")).collect()
    for name, *file in sorted(rows, key=lambda row: row["source_file"]):
        groups.setdefault(name, []).append(LandingFile(*file))
    return groups


def read_text(spark: SparkSession, files: Sequence[LandingFile], *, whole: bool = False) -> DataFrame:
    """The text of exactly these files, a row a line or (`whole`) a row a file; a hidden file can only be read whole.

    Columns: raw STRING, FILE_COLUMNS, block BIGINT (the byte at which the part of the file begins that one task read)
    and row BIGINT (rising within the block): (block, row) orders the records of a file however it was split.
    """
    seen = [file for file in files if not file.is_hidden]
    hidden = [file for file in files if file.is_hidden]
    if not hidden:
        return _read_seen(spark, seen, whole=whole)
    contents = _read_hidden(spark, hidden)
    return _read_seen(spark, seen, whole=whole).unionByName(contents) if seen else contents


def _read_seen(spark: SparkSession, files: Sequence[LandingFile], *, whole: bool) -> DataFrame:
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


def _read_hidden(spark: SparkSession, files: Sequence[LandingFile]) -> DataFrame:
    places = {file.path: located(file.path) for file in files}

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            contents = []
            for path in batch.column("source_file").to_pylist():
                system, inner = places[path]
                with system.open_input_stream(inner) as stream:  # takes a compressed file apart, by its name
                    contents.append(stream.read())
            yield batch.append_column("raw", pa.array(contents, pa.binary()))

    contents = _as_rows(spark, files).mapInArrow(read, f"{FILE_COLUMNS}, raw BINARY")
    place = F.lit(0).cast("bigint")
    files_columns = ("source_file", "source_size", "source_modified_at")
    return contents.select(F.col("raw").cast("string"), *files_columns, place.alias("block"), place.alias("row"))


def vanished_file(spark: SparkSession, files: Sequence[LandingFile]) -> str | None:
    """The first of the files that is no longer there."""
    try:
        read_text(spark, files).schema  # noqa: B018 - as above
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return (error.getMessageParameters() or {})["path"]
    return None
