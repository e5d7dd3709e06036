"""CSV of which every line is one record, so that Spark splits large files: no field holds a line break.

Each file's first line names its columns; a line is read by those names, strictly (RFC 4180), and keeps its exact text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.csv_files import Header, read_headers
from etl_lib.reading.first_line import FirstLine, first_lines
from etl_lib.reading.texts import MARK, is_blank
from etl_lib.sources.landing import LandingFile

# Possessive, so that a long field costs no stack.
_FIELD = r'(?:"[^"]*+(?:""[^"]*+)*+"|(?:[^",][^,]*+)?+)'
_QUOTED_LINE = rf"^{_FIELD}(?:,{_FIELD})*+\z"


@dataclass(frozen=True)
class Layout:
    """Files with the same first line, and the columns that it names; without a line for files that are blank."""

    files: Sequence[LandingFile]
    line: str
    header: Header
    is_whole: bool
    """Whether Spark cannot read them line by line."""


def csv_layouts(spark: SparkSession, files: Sequence[LandingFile], columns: Sequence[str]) -> list[Layout]:
    """The files by their first line; SchemaError lists every column that a file lacks."""
    lines = first_lines(spark, files)
    headers = read_headers(lines, columns)

    def alike(file: LandingFile) -> tuple[str, bool]:
        line = lines.get(file.path, FirstLine(""))
        return line.text, file.is_hidden or line.encoding != "utf-8"

    groups = [(*key, list(some)) for key, some in groupby(sorted(files, key=alike), key=alike)]
    return [Layout(some, line, headers.get(some[0].path, Header(())), whole) for line, whole, some in groups]


def surplus_columns(layouts: Sequence[Layout]) -> dict[str, int]:
    """How many files have which column that nobody asked for, or that is called so in another case."""
    surplus: Counter[str] = Counter()
    for layout in layouts:
        surplus.update(dict.fromkeys(set(layout.header.told), len(layout.files)))
    return surplus


def by_name(lines: DataFrame, layout: Layout, columns: Sequence[str]) -> DataFrame:
    """Add to lines of such files `given STRUCT<columns as STRING>` (an empty field is NULL), `is_header` (the line is
    its file's first one, or repeats it), and `read_error`: `malformed_csv`, `wrong_column_count` or NULL.
    """

    names = list(layout.header.names)
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
    is_header = line == layout.line if layout.line else F.lit(False)
    return read.withColumns({"given": given, "is_header": is_header, "read_error": read_error}).drop("fields")


def _fields(raw: Column) -> Column:
    """The fields of a line, or NULL where its quotes are not those of CSV."""
    quoted = F.transform(F.regexp_extract_all(F.concat(F.lit(","), raw), F.lit(f",({_FIELD})"), 1), _unquoted)
    return F.when(~raw.contains('"'), F.split(raw, ",")).when(raw.rlike(_QUOTED_LINE), quoted)


def _unquoted(field: Column) -> Column:
    inner = F.substring(field, F.lit(2), F.length(field) - 2)
    return F.when(field.startswith('"'), F.replace(inner, F.lit('""'), F.lit('"'))).otherwise(field)
