"""CSV records of users and products: columns by header name, exact raw text and position of each.

Python's strict `csv` does the reading, file by file: quoted commas and newlines, byte order mark and CRLF are read
rightly, and a line that is not CSV goes to quarantine with its text. Spark's reader goes by position and drops
surplus fields in silence.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.errors import SchemaError
from etl_lib.json_files import RECORD_COLUMNS
from etl_lib.landing import WHOLE, LandingFile, first_lines, read_text
from etl_lib.local_rows import local_rows

register_pickle_by_value(sys.modules[__name__])

_BATCH = 4096
_WHENCE = ("source_file", "source_size", "source_modified_at")

CsvRecord = tuple[str, int, str | None, list[str | None]]
"""Raw text, number of its first line, error or None, and the fields in the order of the wanted columns."""


def check_headers(spark: SparkSession, files: Sequence[LandingFile], columns: Sequence[str]) -> dict[str, int]:
    """How many files have which column that nobody asked for; SchemaError lists every column that is missing."""
    headers = read_headers(first_lines(spark, files), columns)
    return Counter(name for header in headers.values() for name in set(header) - set(columns))


def read_headers(lines: Mapping[str, str], columns: Sequence[str]) -> dict[str, list[str]]:
    """The names of the columns of each file from its first line; SchemaError lists every column that is missing."""
    missing: list[str] = []
    headers: dict[str, list[str]] = {}
    for path, line in sorted(lines.items()):
        try:
            header = _header(line)
        except csv.Error as error:
            missing.append(f"{path}: the header is not CSV: {error}")
            continue
        missing += [
            f"{path}: column {name} is missing (found {', '.join(header)})" for name in columns if name not in header
        ]
        missing += [f"{path}: column {name} stands twice" for name in columns if header.count(name) > 1]
        headers[path] = header
    if missing:
        raise SchemaError("CSV headers do not name the columns that are needed:\n  " + "\n  ".join(missing))
    return headers


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
        return local_rows(spark, [], f"{RECORD_COLUMNS}, given STRUCT<{fields}>")

    def parse(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for at in range(batch.num_rows):
                text = batch.column("raw")[at].as_py().decode("utf-8", "surrogateescape")
                whence = {name: batch.column(name)[at] for name in _WHENCE}
                records = list(split_csv(text, names))
                for start in range(0, len(records), _BATCH):
                    some = records[start : start + _BATCH]
                    yield pa.RecordBatch.from_pydict(
                        {
                            "raw": pa.array([r[0].encode("utf-8", "surrogateescape") for r in some], pa.binary()),
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

    After an error the reader goes on with the next line.
    """
    csv.field_size_limit(sys.maxsize)
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text.removeprefix("\ufeff"), newline=""):
            consumed.append(line)
            yield line

    reader = csv.reader(lines(), strict=True)
    header: list[str] | None = None
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
        elif header is None and not error:
            header = [name.strip() for name in row]
        else:
            if not error and len(row) != len(header or ()):
                error = "wrong_column_count"
            values = nothing if error or header is None else _by_name(header, row, columns)
            yield raw, first_line, error, values
        first_line = next_line


def _by_name(header: Sequence[str], row: Sequence[str], columns: Sequence[str]) -> list[str | None]:
    # bytes that are not UTF-8 become a question mark here: the record is refused because of its raw text
    found = {name: value.encode("utf-8", "replace").decode() for name, value in zip(header, row, strict=True)}
    return [found[name] or None for name in columns]


def _header(line: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line.removeprefix("\ufeff")], strict=True), [])]
