"""Order records as text: what each file gives, in both layouts and however it is packed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.first_line import first_lines
from etl_lib.reading.json_files import read_json_records, split_array
from etl_lib.reading.whole_files import RECORD_COLUMNS
from etl_lib.settings.config import Layout
from etl_lib.sources.landing import LandingFile, landing_files
from tests.frames import assert_same, collected, frame

BROKEN, ONE = "broken_array", "one_object"
DIGITS = "9" * 5000


Records = list[tuple[str, str | None]]


def whole(*texts: str) -> Records:
    return [(text, None) for text in texts]


@pytest.mark.parametrize(
    ("text", "records"),
    [
        pytest.param('[{"a":1},{"b":2}]', [('{"a":1}', None), ('{"b":2}', None)], id="two objects"),
        pytest.param('[ { "a" : 1.10 } ]', [('{ "a" : 1.10 }', None)], id="exact text, inner white space and digits"),
        pytest.param('[{"a":1E400,"a":-0}]', [('{"a":1E400,"a":-0}', None)], id="what only the strict parse can judge"),
        pytest.param(f"[{DIGITS}]", [(DIGITS, None)], id="5000 digits"),
        pytest.param('\n[\r\n\t{"a": "é😀"},\r\n\t2\n]\n', [('{"a": "é😀"}', None), ("2", None)], id="pretty-printed"),
        pytest.param('[null,true,"x",1,[2,[3]]]', whole("null", "true", '"x"', "1", "[2,[3]]"), id="any"),
        pytest.param(
            r'[{"a":"],[{\"\\"},{"b":[{"c":"}"}]}]',
            [(r'{"a":"],[{\"\\"}', None), ('{"b":[{"c":"}"}]}', None)],
            id="brackets in texts",
        ),
        pytest.param(
            '[{"a":"x\ty"},{"b":"\\q"},3]', [*whole('{"a":"x\ty"}'), ('{"b":"\\q"},3]', BROKEN)], id="lenient"
        ),
        pytest.param('\ufeff[{"a":1}]', [('{"a":1}', None)], id="byte order mark"),
        pytest.param("[]", [], id="empty array"),
        pytest.param(" [ \n ] \r\n", [], id="empty array with white space"),
        pytest.param('[{"a":1},{"b":},{"c":3}]', [('{"a":1}', None), ('{"b":},{"c":3}]', BROKEN)], id="broken element"),
        pytest.param('[{"a":1} {"b":2}]', [('{"a":1}', None), ('{"b":2}]', BROKEN)], id="no comma"),
        pytest.param('[{"a":1},]', [('{"a":1}', None), ("]", BROKEN)], id="trailing comma"),
        pytest.param("[,1]", [(",1]", BROKEN)], id="leading comma"),
        pytest.param("[1,,2]", [("1", None), (",2]", BROKEN)], id="two commas"),
        pytest.param('[{"a":1}] x', [('{"a":1}', None), ("x", BROKEN)], id="trailing text"),
        pytest.param("[1]\n[2]\n", [("1", None), ("[2]\n", BROKEN)], id="a second array"),
        pytest.param("[] x", [("x", BROKEN)], id="trailing text after nothing"),
        pytest.param('[{"a":1}', [('{"a":1}', None), ("", BROKEN)], id="cut off after an element"),
        pytest.param('[{"a":1},\n', [('{"a":1}', None), ("", BROKEN)], id="cut off after a comma"),
        pytest.param('[{"a":1},{"b', [('{"a":1}', None), ('{"b', BROKEN)], id="cut off in an element"),
        pytest.param("[", [("", BROKEN)], id="cut off at once"),
        pytest.param('{"a":[1,2]}', [('{"a":[1,2]}', BROKEN)], id="no array at all"),
        pytest.param("x[1]", [("x[1]", BROKEN)], id="text before the array"),
    ],
)
def test_an_array_is_split_into_the_exact_texts_of_its_elements(
    text: str, records: list[tuple[str, str | None]]
) -> None:
    assert list(split_array(text)) == records


def test_an_array_nested_too_deeply_is_a_broken_rest_and_no_crash() -> None:
    deep = "[" * 100_000
    assert list(split_array(f"[1,{deep}]")) == [("1", None), (f"{deep}]", BROKEN)]


def read(spark: SparkSession, files: Sequence[LandingFile], layout: Layout) -> DataFrame:
    return read_json_records(spark, files, layout, first_lines(spark, files))


def records_of(spark: SparkSession, folder: Path, layout: Layout = "auto") -> dict[str, Records]:
    """The records of each file below a folder, in their order: raw text and read_error."""
    records = read(spark, collected(landing_files(spark, str(folder), "input.orders")), layout)
    found: dict[str, Records] = {}
    for row in sorted(records.collect(), key=lambda row: (row["source_file"], row["block"], row["row"])):
        name = row["source_file"].split(f"{folder}/")[1]
        found.setdefault(name, []).append((row["raw"], row["read_error"]))
    return found


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_both_layouts_are_read_together_whatever_their_files_are_called(spark: SparkSession, tmp_path: Path) -> None:
    one, two = '{"order_id":"a","amount":1.10}', '{"order_id":"b"}'
    pretty = f"[\n  {one},\n  {two}\n]\n"
    files = {
        "lines.jsonl": f"{one}\n{two}\n".encode(),
        "no newline at the end.jsonl": f"{one}\n{two}".encode(),
        "windows.jsonl": f"{one}\r\n{two}\r\n".encode(),
        "mark.jsonl": f"\ufeff{one}\n{two}\n".encode(),
        "blank.jsonl": f"\n{one}\n \t\n{two}\n\n".encode(),
        "lines.jsonl.gz": gzip.compress(f"{one}\n{two}\n".encode()),
        "array.json": pretty.encode(),
        "array in windows.json": pretty.replace("\n", "\r\n").encode(),
        "mark.json": f"\ufeff{pretty}".encode(),
        "late array.json": f"\n\n  {pretty}".encode(),
        "array.json.gz": gzip.compress(pretty.encode()),
        "broken.json": f"[{one}, {{".encode(),
        "empty array.json": b"[]\n",
        "empty.json": b"",
        "blank.json": b"\n \n",
        "2024/05/01/nested.jsonl": f"{one}\n".encode(),
        "a+b 100% [1] {2} é #1.json": f"[{one}]".encode(),
        "a+b 100% [1] {2} é #1.jsonl": f"{one}\n".encode(),
        "%41+%2B.json": f"[{one}]".encode(),
        "not_utf8.json": b'[{"a":"\xff"}]',
        "joined.jsonl": f"{one}\n\ufeff{two}\n".encode(),
        "little.jsonl": f"\ufeff{one}\r\n{two}\r\n".encode("utf-16-le"),
        "big.json": f"\ufeff{pretty}".encode("utf-16-be"),
        "wide.jsonl": f"{one}\n{two}\n".encode("utf-32"),
        "without a mark.jsonl": f"{one}\n{two}\n".encode("utf-16-le"),
        "one.json": b'\n{\n "orders": [\n  {"order_id": "a"},\n  {"order_id": "b"}\n ]\n}\n',
        "one, cut off.json": b'{"orders": [\n  {"order_id": "a"},\n  {"order_id":',
        "one in UTF-16.json": '\ufeff{"orders":\n []}'.encode("utf-16-le"),
        "several.json": b'{\n "a": 1\n}\n{\n "a": 2\n}\n',
        "broken first.jsonl": f'{{"order_id": "a", "items": [\n{two}\n'.encode(),
        "broken text first.jsonl": f'{{"order_id": "a\n{two}\n'.encode(),
        "one broken line.jsonl": b'{"order_id": "a", ',
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    both = [(one, None), (two, None)]
    assert records_of(spark, tmp_path) == {
        "lines.jsonl": both,
        "no newline at the end.jsonl": both,
        "windows.jsonl": both,
        "mark.jsonl": both,
        "blank.jsonl": [("", None), both[0], (" \t", None), both[1], ("", None)],
        "lines.jsonl.gz": both,
        "array.json": both,
        "array in windows.json": both,
        "mark.json": both,
        "late array.json": both,
        "array.json.gz": both,
        "broken.json": [both[0], ("{", BROKEN)],
        "blank.json": [("", None), (" ", None)],
        "2024/05/01/nested.jsonl": both[:1],
        "a+b 100% [1] {2} é #1.json": both[:1],
        "a+b 100% [1] {2} é #1.jsonl": both[:1],
        "%41+%2B.json": both[:1],
        "not_utf8.json": [('{"a":"�"}', None)],
        "joined.jsonl": [both[0], (f"\ufeff{two}", None)],
        "little.jsonl": both,
        "big.json": both,
        "wide.jsonl": [(files["wide.jsonl"].decode("utf-8", "replace"), "not_utf8")],
        "without a mark.jsonl": [(files["without a mark.jsonl"].decode(), "not_utf8")],
        "one.json": [(files["one.json"].decode(), ONE)],
        "one, cut off.json": [(files["one, cut off.json"].decode(), ONE)],
        "one in UTF-16.json": [('{"orders":\n []}', ONE)],
        "several.json": [(files["several.json"].decode(), ONE)],
        "broken first.jsonl": [('{"order_id": "a", "items": [', None), both[1]],
        "broken text first.jsonl": [('{"order_id": "a', None), both[1]],
        "one broken line.jsonl": [('{"order_id": "a", ', None)],
    }


def test_bytes_that_are_not_utf8_reach_the_strict_parse_as_they_are(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "array.json").write_bytes(b'[{"a":"\xff"}]')
    (tmp_path / "lines.jsonl").write_bytes(b'{"a":"\xff"}\n')
    records = read(spark, collected(landing_files(spark, str(tmp_path), "input.orders")), "auto")
    assert {row[0] for row in records.select(F.hex(F.col("raw").cast("binary"))).collect()} == {
        b'{"a":"\xff"}'.hex().upper()
    }


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        pytest.param("lines", {"array.json": whole("[1,", "2]"), "lines.jsonl": whole('{"a":1}')}, id="lines"),
        pytest.param("array", {"array.json": whole("1", "2"), "lines.jsonl": [('{"a":1}\n', BROKEN)]}, id="array"),
    ],
)
def test_a_layout_that_is_told_is_not_guessed(
    spark: SparkSession, tmp_path: Path, layout: Layout, expected: dict[str, Records]
) -> None:
    (tmp_path / "array.json").write_bytes(b"[1,\n2]\n")
    (tmp_path / "lines.jsonl").write_bytes(b'{"a":1}\n')
    assert records_of(spark, tmp_path, layout) == expected


def test_a_record_knows_its_file_and_its_place_in_it(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "array.json").write_text(json.dumps(list(range(5000))), encoding="utf-8")
    (tmp_path / "lines.jsonl").write_text("\n".join(map(str, range(5000))), encoding="utf-8")
    files = collected(landing_files(spark, str(tmp_path), "input.orders"))
    rows = read(spark, files, "auto").collect()
    assert {(row["source_file"], row["source_size"]) for row in rows} == {(file.path, file.size) for file in files}
    for file in files:
        own = sorted((row["block"], row["row"], int(row["raw"])) for row in rows if row["source_file"] == file.path)
        assert [number for _, _, number in own] == list(range(5000))
    assert {row["row"] for row in rows if row["block"] == -1} == set(range(1, 5001))


def test_without_files_there_are_no_records(spark: SparkSession) -> None:
    assert_same(read(spark, [], "auto"), frame(spark, RECORD_COLUMNS))
