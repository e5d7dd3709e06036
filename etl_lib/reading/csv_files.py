"""CSV records of users and products: columns by header name, exact raw text and position of each.

Python's strict `csv` does the reading, file by file: quoted commas and newlines, byte order mark and CRLF are read
rightly, and a line that is not CSV goes to quarantine with its text. Spark's reader goes by position and drops
surplus fields in silence.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import SchemaError
from etl_lib.reading.first_line import FirstLine
from etl_lib.reading.texts import MARK, decoded
from etl_lib.reading.whole_files import RECORD_COLUMNS
from etl_lib.settings.rules import STRUCTURAL
from etl_lib.sources.landing import WHOLE, LandingFile, read_text
from etl_lib.tables.values_frame import values_frame

register_pickle_by_value(sys.modules[__name__])

_BATCH = 4096
_WHENCE = ("source_file", "source_size", "source_modified_at")
_BLANKS = " \t\u00a0"
_NAME = re.compile(rf'[{_BLANKS}]*(?:"((?:[^"]|"")*)"|([^,"][^,]*|))[{_BLANKS}]*(,|\Z)')
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars (|)"}

CsvRecord = tuple[str, int, str | None, list[str | None]]
"""Raw text, number of its first line, error or None, and the fields in the order of the wanted columns."""


@dataclass(frozen=True)
class Header:
    """The columns of a CSV file by its header; a wanted one stands under the name by which it is wanted."""

    names: Sequence[str]
    surplus: Sequence[str] = ()
    """The names as they are given of the columns that nobody asked for, and of those that are in another case."""


def surplus_columns(lines: Mapping[str, FirstLine], columns: Sequence[str]) -> dict[str, int]:
    """How many files have which column that nobody asked for, or that is called so in another case, by their first
    lines; SchemaError lists every column that is missing.
    """
    headers = read_headers(lines, columns)
    return Counter(name for header in headers.values() for name in set(header.surplus))


def read_headers(lines: Mapping[str, FirstLine], columns: Sequence[str]) -> dict[str, Header]:
    """The columns of each file from its first line; SchemaError lists every column that is missing."""
    problems: list[str] = []
    headers: dict[str, Header] = {}
    for path, line in sorted(lines.items()):
        if line.encoding == "other":
            problems.append(f"{path}: {STRUCTURAL['not_utf8']}")
            continue
        try:
            given = _header(line.text)
        except csv.Error as error:
            problems.append(f"{path}: the header is not CSV: {error}")
            continue
        headers[path] = header = _columns(given, columns)
        missing = [name for name in columns if name not in header.names]
        if missing and (separator := _separator(line.text, columns)) is not None:
            problems.append(f"{path}: its columns are separated by {separator}; write commas between them")
        else:
            problems += [f"{path}: column {name} is missing (found {', '.join(given)})" for name in missing]
        problems += [f"{path}: column {name} stands twice" for name in columns if header.names.count(name) > 1]
    if problems:
        raise SchemaError("CSV headers do not name the columns that are needed:\n  " + "\n  ".join(problems))
    return headers


def _columns(given: Sequence[str], columns: Sequence[str]) -> Header:
    """The names of a header, where case does not matter; but a column of exactly the wanted name is that column."""
    wanted = {name.lower(): name for name in columns if name not in given}
    names = [wanted.get(name.lower(), name) for name in given]
    return Header(names, [name for name in given if name not in columns])


def _separator(line: str, columns: Sequence[str]) -> str | None:
    """By what else than a comma the needed columns are separated, told to a person."""
    for separator, told in _SEPARATORS.items():
        names = {name.strip(' "').lower() for name in line.split(separator)}
        if names.issuperset(columns):
            return told
    return None


def csv_error(raw: Column) -> Column:
    """What a CSV record cannot be parsed for: its `read_error`, `not_utf8`, `nul_in_text`, or NULL."""
    return (
        F.when(F.col("read_error").isNotNull(), F.col("read_error"))
        .when(~F.is_valid_utf8(raw), "not_utf8")
        .when(raw.contains("\x00"), "nul_in_text")
    )


def read_csv_records(spark: SparkSession, files: Sequence[LandingFile], columns: Sequence[str]) -> DataFrame:
    """One row a record: RECORD_COLUMNS and `given STRUCT<columns as STRING>`; an empty field is NULL.

    `row` is the number of the line on which the record begins. `read_error` is `malformed_csv`,
    `wrong_column_count`, or NULL.
    """
    names = list(columns)
    fields = ", ".join(f"`{name}`: STRING" for name in names)
    if not files:
        return values_frame(spark, [], f"{RECORD_COLUMNS}, given STRUCT<{fields}>")

    def parse(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for at in range(batch.num_rows):
                text, errors = decoded(batch.column("raw")[at].as_py())
                whence = {name: batch.column(name)[at] for name in _WHENCE}
                records = list(split_csv(text, names))
                for start in range(0, len(records), _BATCH):
                    some = records[start : start + _BATCH]
                    yield pa.RecordBatch.from_pydict(
                        {
                            "raw": pa.array([r[0].encode("utf-8", errors) for r in some], pa.binary()),
                            **{name: pa.repeat(value, len(some)) for name, value in whence.items()},
                            "block": pa.repeat(pa.scalar(WHOLE, pa.int64()), len(some)),
                            "row": pa.array([r[1] for r in some], pa.int64()),
                            "read_error": pa.array([r[2] for r in some], pa.string()),
                            "fields": pa.array([r[3] for r in some], pa.list_(pa.string())),
                        }
                    )

    binary = read_text(spark, files, whole=True).select(F.col("raw").cast("binary"), *_WHENCE)
    columns_out = f"{RECORD_COLUMNS.replace('raw STRING', 'raw BINARY')}, fields ARRAY<STRING>"
    records = binary.mapInArrow(parse, columns_out)
    given = F.struct(*(F.get("fields", F.lit(at)).alias(name) for at, name in enumerate(names)))
    return records.withColumns({"raw": F.col("raw").cast("string"), "given": given}).drop("fields")


def split_csv(text: str, columns: Sequence[str]) -> Iterator[CsvRecord]:
    """The records of one CSV text below its header; lines without anything are passed over.

    After an error the reader goes on with the next line. A byte order mark before a record is no part of it.
    """
    csv.field_size_limit(sys.maxsize)
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            begins_record = not consumed
            consumed.append(line)
            yield line.removeprefix(MARK) if begins_record else line

    reader = csv.reader(lines(), strict=True)
    header: Sequence[str] | None = None
    nothing: list[str | None] = [None] * len(columns)
    first_line = 1
    while True:
        error, row = None, []
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            error = "malformed_csv"
        raw, next_line = "".join(consumed).rstrip("\r\n"), first_line + len(consumed)
        consumed.clear()
        if not error and not any(field.strip() for field in row) and len(row) <= 1:
            pass  # nothing but white space
        elif header is None:
            header = _columns(_header(raw), columns).names
        else:
            if not error and len(row) != len(header):
                error = "wrong_column_count"
            values = nothing if error else _by_name(header, row, columns)
            yield raw, first_line, error, values
        first_line = next_line


def _by_name(header: Sequence[str], row: Sequence[str], columns: Sequence[str]) -> list[str | None]:
    # bytes that are not UTF-8 become a question mark here: the record is refused because of its raw text
    found = {name: value.encode("utf-8", "replace").decode() for name, value in zip(header, row, strict=True)}
    return [found[name] or None for name in columns]


def _header(line: str) -> list[str]:
    """The names in a header, where blanks around them do not matter; csv.Error where its quotes are wrong."""
    names, at, text = [], 0, line.removeprefix(MARK)
    while (name := _NAME.match(text, at)) is not None:
        quoted, bare, end = name.groups()
        names.append((bare if quoted is None else quoted.replace('""', '"')).strip(_BLANKS))
        at = name.end()
        if not end:
            return names
    raise csv.Error(f"its quotes are wrong from {text[at:][:40]!r} on")
