"""Files beside the tables: one file with its name, and nothing else."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.process.output import write_single_file, write_text
from etl_lib.value_props.apply_features import FILES
from tests.frames import assert_same, frame

KIND, OPTIONS = FILES["final.csv"]
COLUMNS = "day STRING, user_id STRING, position INT"


def written(rows: DataFrame, path: Path) -> str:
    """What stands in the CSV file of these rows; beside it there is nothing."""
    write_single_file(rows, str(path), KIND, OPTIONS)
    assert os.listdir(path.parent) == [path.name]
    return path.read_bytes().decode()


def test_a_frame_becomes_one_file_with_this_name(spark: SparkSession, tmp_path: Path) -> None:
    rows = frame(spark, COLUMNS, ("2020-11-01", "u", 1), ("2020-11-02", "v", None))
    assert written(rows, tmp_path / "final.csv") == "day,user_id,position\n2020-11-01,u,1\n2020-11-02,v,\n"


def test_a_frame_of_many_parts_becomes_one_file_in_the_order_of_its_rows(spark: SparkSession, tmp_path: Path) -> None:
    many = spark.range(0, 100, 1, 7).select(F.format_string("%03d", "id").alias("id")).orderBy(F.desc("id"))
    assert many.select(F.spark_partition_id()).distinct().count() > 1
    assert written(many, tmp_path / "final.csv").split() == ["id", *(f"{at:03d}" for at in reversed(range(100)))]


def test_a_file_takes_the_place_of_the_one_before(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "final.csv"
    path.write_text("something else, and longer than what comes\n" * 9, encoding="utf-8")
    assert written(frame(spark, "a INT", (1,), (2,)), path) == "a\n1\n2\n"
    assert written(frame(spark, "a INT", (3,)), path) == "a\n3\n"


def test_what_a_killed_write_left_is_cleared_away(spark: SparkSession, tmp_path: Path) -> None:
    left = tmp_path / "_final.csv.writing"
    for name in ("part-00000-x.csv", "_temporary/0/part-00001-y.csv"):
        (left / name).parent.mkdir(parents=True, exist_ok=True)
        (left / name).write_text("a\n9\n", encoding="utf-8")
    assert written(frame(spark, "a INT", (1,)), tmp_path / "final.csv") == "a\n1\n"


def test_other_files_in_the_folder_stay(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("final.csv.old", "part-1.csv", "_final.parquet"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    write_single_file(frame(spark, "a INT", (1,)), str(tmp_path / "final.csv"), KIND, OPTIONS)
    assert sorted(os.listdir(tmp_path)) == ["_final.parquet", "final.csv", "final.csv.old", "part-1.csv"]
    assert (tmp_path / "part-1.csv").read_text(encoding="utf-8") == "part-1.csv"


@pytest.mark.parametrize(
    "name", ["new/deep/final.csv", "a b/x y.csv", "100%/50%25 +.csv", "[1]{a}*?/é#;=.csv", "%41/%20.csv", "_a/.b.csv"]
)
def test_a_path_is_taken_as_it_is_written(spark: SparkSession, tmp_path: Path, name: str) -> None:
    assert written(frame(spark, "a INT", (1,)), tmp_path / name) == "a\n1\n"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [name]


def test_an_empty_frame_is_a_header(spark: SparkSession, tmp_path: Path) -> None:
    assert written(frame(spark, COLUMNS), tmp_path / "a.csv") == "day,user_id,position\n"
    none = spark.range(0, 10, 1, 4).where("id < 0").sortWithinPartitions("id")
    assert written(none, tmp_path / "b" / "b.csv") == "id\n"


TEXTS = [
    *("", " ", "  x", "x  ", " x ", "\t", "'", "\\", '\\"', "#x", "a;b", "é 漢 😀", "null", "NULL", "-", "\u2028"),
    *(
        '"',
        '""',
        'a "b" c',
        '"x"',
        ",",
        "a,b",
        '","',
        "a\nb",
        "\n",
        "\nx",
        "x\n",
        "a\r\nb",
        "a\rb",
        "\r",
        "\x01",
        "\x85",
    ),
]


def test_a_text_is_quoted_where_it_must_be(spark: SparkSession, tmp_path: Path) -> None:
    texts = {
        "x": "x",
        "": "",
        "  x ": "  x ",
        "a\\b": "a\\b",
        "é": "é",
        "a,b": '"a,b"',
        '"': '""""',
        'say "x"': '"say ""x"""',
        "a\nb": '"a\nb"',
    }
    rows = frame(spark, "a INT, b STRING", *((1, text) for text in texts)).coalesce(1)
    assert written(rows, tmp_path / "x.csv") == "".join(["a,b\n", *(f"1,{stands}\n" for stands in texts.values())])


def test_every_text_can_be_read_again(spark: SparkSession, tmp_path: Path) -> None:
    write_single_file(
        frame(spark, "at INT, text STRING, end STRING", *((at, text, text) for at, text in enumerate(TEXTS))),
        str(tmp_path / "final.csv"),
        KIND,
        OPTIONS,
    )
    with (tmp_path / "final.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))[1:]
    assert rows == [[str(at), text, text] for at, text in enumerate(TEXTS)]


def test_a_parquet_file_has_the_columns_in_their_types(spark: SparkSession, tmp_path: Path) -> None:
    rows = frame(spark, "day DATE, position INT, amount DECIMAL(38,4)").unionByName(
        spark.sql("SELECT DATE '2020-11-01' AS day, INT(NULL) AS position, DECIMAL(7.04) AS amount").withColumn(
            "amount", F.lit("7.04").cast("decimal(38,4)")
        )
    )
    path = tmp_path / "a b" / "final.parquet"
    write_single_file(rows, str(path), *FILES["final.parquet"])
    assert os.listdir(path.parent) == ["final.parquet"]
    assert_same(spark.read.parquet(str(path)), rows)


def test_a_file_can_be_read_by_spark_after_another_took_its_place(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "final.parquet"
    for text in ("first", "second, and longer"):
        write_single_file(frame(spark, "a STRING", (text,)), str(path), *FILES["final.parquet"])
        assert_same(spark.read.parquet(str(path)), frame(spark, "a STRING", (text,)))


@pytest.mark.parametrize("folder", ["out", "a b", "50%", "%20"])
def test_a_uri_is_taken_as_it_is_written_too(spark: SparkSession, tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "final.csv"
    write_text(f"file://{path.parent}/note.txt", "x")
    write_single_file(frame(spark, "a INT", (1,)), f"file://{path}", KIND, OPTIONS)
    assert path.read_text(encoding="utf-8") == "a\n1\n"
    assert sorted(os.listdir(path.parent)) == ["final.csv", "note.txt"]


@pytest.mark.parametrize("name", ["a.txt", "new/deep/a b.txt", "100%/%20é.txt"])
def test_a_text_is_written_into_a_folder_that_need_not_be_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for text in ("longer\nthan the next\n", "é 😀\r\n", ""):
        write_text(str(path), text)
        assert path.read_bytes() == text.encode()
    assert [str(found.relative_to(tmp_path)) for found in tmp_path.rglob("*") if found.is_file()] == [name]
