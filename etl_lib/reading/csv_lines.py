"""CSV of which every line is one record, so that Spark splits large files: no field holds a line break.

Each file's first line names its columns; a line is read by those names, strictly (RFC 4180), and keeps its exact text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.csv_files import Header, read_headers
from etl_lib.reading.first_line import FirstLine
from etl_lib.reading.texts import MARK, is_blank
from etl_lib.reading.whole_files import RECORD_COLUMNS, plain_lines, read_records
from etl_lib.sources.landing import LandingFile
from etl_lib.tables.values_frame import values_frame

# Possessive, so that a long field costs no stack.
_FIELD = r'(?:"[^"]*+(?:""[^"]*+)*+"|(?:[^",][^,]*+)?+)'
_QUOTED_LINE = rf"^{_FIELD}(?:,{_FIELD})*+\z"


@dataclass(frozen=True)
class HeaderGroup:
    """Files with the same first line, and the columns that it names; without a line for files that are blank."""

    files: Sequence[LandingFile]
    line: str
    header: Header
    is_whole: bool
    """Whether Spark cannot read them line by line."""


def read_csv_lines(
    spark: SparkSession, files: Sequence[LandingFile], first: Mapping[str, FirstLine], columns: Sequence[str]
) -> DataFrame:
    """One row a line, blank lines and headers too: RECORD_COLUMNS and what `by_name` adds. `first` has the first lines
    of the files; SchemaError lists every column that a file lacks.
    """
    parts = []
    for group in header_groups(files, first, columns):
        in_lines, whole = ((), group.files) if group.is_whole else (group.files, ())
        parts.append(by_name(read_records(spark, in_lines, whole, plain_lines), group, columns))
    fields = ", ".join(f"`{name}`: STRING" for name in columns)
    nothing = values_frame(spark, [], f"{RECORD_COLUMNS}, given STRUCT<{fields}>, is_header BOOLEAN")
    return reduce(DataFrame.unionByName, parts) if parts else nothing


def header_groups(
    files: Sequence[LandingFile], first: Mapping[str, FirstLine], columns: Sequence[str]
) -> list[HeaderGroup]:
    """The files by their first line."""
    headers = read_headers({file.path: first[file.path] for file in files if file.path in first}, columns)

    def alike(file: LandingFile) -> tuple[str, bool]:
        line = first.get(file.path, FirstLine(""))
        return line.text, file.is_hidden or line.encoding != "utf-8"

    groups = [(*key, list(some)) for key, some in groupby(sorted(files, key=alike), key=alike)]
    return [HeaderGroup(some, line, headers.get(some[0].path, Header(())), whole) for line, whole, some in groups]


def by_name(lines: DataFrame, group: HeaderGroup, columns: Sequence[str]) -> DataFrame:
    """Add to lines of such files `given STRUCT<columns as STRING>` (an empty field is NULL), `is_header` (the line is
    its file's first one, or repeats it), and `read_error`: `malformed_csv`, `wrong_column_count` or NULL.
    """

    names = list(group.header.names)
    has_mark = F.col("raw").startswith(MARK)
    line = F.when(has_mark, F.substring(F.col("raw"), F.lit(2), F.length("raw"))).otherwise(F.col("raw"))

    def field(name: str) -> Column:
        return F.nullif(F.get("fields", F.lit(names.index(name))), F.lit("")) if names else F.lit(None).cast("string")

    read = lines.withColumn("fields", _fields(line))
    read_error = (
        F.when(is_blank(F.col("raw")), F.lit(None).cast("string"))
        .when(F.col("fields").isNull(), "malformed_csv")
        .when(F.size("fields") != len(names), "wrong_column_count")
    )
    given = F.struct(*(field(name).alias(name) for name in columns))
    is_header = line == group.line if group.line else F.lit(False)
    return read.withColumns({"given": given, "is_header": is_header, "read_error": read_error}).drop("fields")


def _fields(raw: Column) -> Column:
    """The fields of a line, or NULL where its quotes are not those of CSV."""
    quoted = F.transform(F.regexp_extract_all(F.concat(F.lit(","), raw), F.lit(f",({_FIELD})"), 1), _unquoted)
    return F.when(~raw.contains('"'), F.split(raw, ",")).when(raw.rlike(_QUOTED_LINE), quoted)


def _unquoted(field: Column) -> Column:
    inner = F.substring(field, F.lit(2), F.length(field) - 2)
    return F.when(field.startswith('"'), F.replace(inner, F.lit('""'), F.lit('"'))).otherwise(field)
