"""The landing files: which there are, which are new, and which hidden ones are left out."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import ConfigError
from etl_lib.reading import first_line
from etl_lib.reading.first_line import FEW, FirstLine, first_lines
from etl_lib.reading.texts import is_blank
from etl_lib.sources.landing import LandingFile, file_columns, landing_files, read_text, unread
from tests.frames import assert_same, collected, frame

FILES = "source_file STRING, source_size BIGINT, source_modified_at TIMESTAMP"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.json", "b [1] 100%+.jsonl", "2024/05/c.json", "_tmp/d.json", "_e.json", ".f.json", "2024/_SUCCESS"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (tmp_path / "nothing here").mkdir()
    return tmp_path


def names(spark: SparkSession, folder: Path, location: str) -> list[str]:
    """The files at a location below a folder, by their paths in there."""
    files = collected(landing_files(spark, f"{folder}/{location}", "input.orders"))
    return [file.path.split(f"{folder}/")[1] for file in files]


@pytest.mark.parametrize(
    ("location", "found"),
    [
        pytest.param("a.json", ["a.json"], id="a file"),
        pytest.param("", ["2024/05/c.json", "a.json", "b [1] 100%+.jsonl"], id="a folder with folders in it"),
        pytest.param("2024", ["2024/05/c.json"], id="a folder with nothing but a folder"),
        pytest.param("*.json", ["a.json"], id="a glob"),
        pytest.param("{a,b*}.json*", ["a.json", "b [1] 100%+.jsonl"], id="a glob with alternatives"),
        pytest.param("20*", ["2024/05/c.json"], id="a glob of folders"),
        pytest.param("*.csv", [], id="a glob without a match"),
        pytest.param("nothing here", [], id="an empty folder"),
        pytest.param("b [1] 100%+.jsonl", ["b [1] 100%+.jsonl"], id="a name that looks like a pattern"),
        pytest.param("_e.json", ["_e.json"], id="a hidden name"),
        pytest.param(".f.json", [".f.json"], id="a hidden name with a point"),
        pytest.param("_tmp", ["_tmp/d.json"], id="a folder with a hidden name"),
        pytest.param("_*.json", [], id="a glob of hidden names"),
    ],
)
def test_a_location_is_a_file_a_folder_or_a_glob(
    spark: SparkSession, folder: Path, location: str, found: list[str]
) -> None:
    assert names(spark, folder, location) == found


@pytest.mark.parametrize(
    "glob", ["*.json", "{a,b*}.json*", "20*", "?.json", "[a-b]*", "[^a_]*", "*/*/c.json", "a.js*", "{2024,x}/{05,06}/*"]
)
def test_a_colon_in_some_name_changes_nothing_of_what_a_glob_matches(
    spark: SparkSession, folder: Path, glob: str
) -> None:
    without = names(spark, folder, glob)
    (folder / "x:y.txt").touch()
    (folder / "2024" / "05" / "x:y.txt").touch()
    assert [name for name in names(spark, folder, glob) if "x:y" not in name] == without


def test_a_location_that_is_not_there_is_told_with_its_setting(spark: SparkSession, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        landing_files(spark, f"{folder}/absent", "input.orders").collect()
    assert str(caught.value) == f"input.orders: there is no file or folder {folder}/absent"


def test_a_file_is_told_by_path_size_and_time(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "100% [a] é+b.json"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_714_557_600_123_456_789))
    found = collected(landing_files(spark, str(tmp_path), "input.orders"))
    assert [(file.path.removeprefix("file:").replace("///", "/"), file.size) for file in found] == [(str(path), 5)]
    assert found[0].modified_at // 1000 == 1_714_557_600_123


def test_a_file_is_unread_unless_path_size_and_time_are_the_loaded_ones(spark: SparkSession) -> None:
    one, two = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, 0, 0, 0, 1000, tzinfo=UTC)
    new = [
        ("orders", "longer", 2, one),
        ("orders", "later", 1, two),
        ("orders", "new", 1, one),
        ("users", "same", 1, one),
    ]
    files = frame(spark, f"dataset STRING, {FILES}", ("orders", "same", 1, one), *new)
    loaded = frame(
        spark,
        "dataset STRING, path STRING, size BIGINT, modified_at TIMESTAMP, run_id STRING",
        ("orders", "same", 1, one, "r1"),
        ("orders", "same", 1, one, "r2"),
        ("orders", "longer", 1, one, "r1"),
        ("orders", "later", 1, one, "r1"),
        ("orders", "gone", 1, one, "r1"),
    )
    assert_same(unread(files, loaded), frame(spark, f"dataset STRING, {FILES}", *new))


def test_files_are_collected_in_the_order_of_their_paths(spark: SparkSession) -> None:
    at = datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)
    files = frame(spark, FILES, ("b", 1, at), ("a", 2, at))
    assert collected(files) == [LandingFile("a", 2, 1_000_005), LandingFile("b", 1, 1_000_005)]


def test_exactly_the_listed_files_are_read(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("orders[1].json", "orders1.json", "{a,b}.json", "a.json", "q?.json", "qq.json", "s*.json", "st.json"):
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    listed = [
        file for file in collected(landing_files(spark, str(tmp_path), "input.orders")) if set("[{?*") & set(file.path)
    ]
    lines = read_text(spark, listed)
    assert {row["raw"] for row in lines.collect()} == {"orders[1].json", "{a,b}.json", "q?.json", "s*.json"}
    assert first_lines(spark, listed) == {file.path: FirstLine(Path(file.path).name) for file in listed}


@pytest.mark.parametrize(
    ("copies", "small"),
    [
        pytest.param(1, 0, id="few large files"),
        pytest.param(1, 1 << 20, id="few small files"),
        pytest.param(FEW, 0, id="many files"),
    ],
)
def test_the_first_line_of_each_file_is_the_first_with_something_in_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: int, small: int
) -> None:
    monkeypatch.setattr(first_line, "_SMALL", small)
    contents = {
        "plain.csv": b"a,b\n1,2\n",
        "marked.csv": b"\xef\xbb\xbfa,b\r\n1,2\r\n",
        "late.csv": b"\n \t\r\na,b\n1,2\n",
        "alone.csv": b"a,b",
        "packed.csv.gz": gzip.compress(b"\na,b\n1,2\n"),
        "long.csv": b"x" * 70_000 + b"\n1\n",
        "blank.csv": b"\n\n",
        "little.csv": "\ufeff\na,é\n1,2\n".encode("utf-16-le"),
        "big.csv": "\ufeffa,é".encode("utf-16-be"),
        "wide.csv": "a,b\n".encode("utf-32"),
    }
    for copy in range(copies):
        for name, content in contents.items():
            (tmp_path / f"{copy}").mkdir(exist_ok=True)
            (tmp_path / f"{copy}" / name).write_bytes(content)
    files = collected(landing_files(spark, str(tmp_path), "input.pays"))
    assert len(files) > FEW or copies == 1
    lines = {"plain": "a,b", "marked": "a,b", "late": "a,b", "alone": "a,b", "packed": "a,b", "long": "x" * 65_536}
    expected = {name: FirstLine(line) for name, line in lines.items()}
    expected |= dict.fromkeys(("little", "big"), FirstLine("a,é", "utf-16"))
    found = {Path(file.path).name.split(".")[0]: file.path for file in files}
    first = first_lines(spark, files)
    assert {name: first.get(path) for name, path in found.items() if name != "wide"} == {**expected, "blank": None}
    assert first[found["wide"]].encoding == "other"
    assert len(first) == len(files) - copies
    assert first_lines(spark, []) == {}


def test_a_hidden_file_is_read_whole_as_it_is(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "_a.gz").write_bytes(gzip.compress(b"x\n\xff\n"))
    (tmp_path / "b.txt").write_bytes(b"y")
    files = [collected(landing_files(spark, f"{tmp_path}/{name}", "input.orders"))[0] for name in ("_a.gz", "b.txt")]
    os.utime(tmp_path / "_a.gz", ns=(0, 1_714_557_600_123_456_789))
    dated = collected(landing_files(spark, f"{tmp_path}/_a.gz", "input.orders"))[0]
    assert (dated.modified_at, dated.size) == (1_714_557_600_123_000, files[0].size)
    rows = read_text(spark, files, whole=True).select("source_file", F.hex(F.col("raw").cast("binary"))).collect()
    assert {Path(row[0]).name: row[1] for row in rows} == {"_a.gz": "780AFF0A", "b.txt": "79"}


def test_blank_is_nothing_but_white_space_of_json(spark: SparkSession) -> None:
    cases = [("", True), (" \t\r\n", True), ("\ufeff", True), ("\u00a0", False), ("\x0b", False), ("0", False)]
    texts = frame(spark, "text STRING", *((text,) for text, _ in cases))
    actual = texts.select("text", is_blank(F.col("text")).alias("blank"))
    assert_same(actual, frame(spark, "text STRING, blank BOOLEAN", *cases))


def test_the_columns_of_a_file_have_their_declared_types(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    assert spark.read.text(str(tmp_path)).select(*file_columns()).schema.simpleString() == (
        "struct<source_file:string,source_size:bigint,source_modified_at:timestamp>"
    )
