"""Ids that are numbers with .0 where those of another dataset are not: found, told, and not looked for without need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.deciding.ids_alike import IdCount, UnlikeIds, count_ids, is_point_zero, others_without, unlike_ids
from etl_lib.reading.datasets import DATASETS, StagedId
from tests.frames import frame

NONE = IdCount(0, 0)
PLAIN = IdCount(9, 0)
SOME = IdCount(40, 12)
ALL = IdCount(5, 5)


@pytest.mark.parametrize(
    ("counts", "unlike"),
    [
        pytest.param({"prints": PLAIN, "taps": PLAIN, "pays": PLAIN}, {}, id="all are plain"),
        pytest.param({"prints": ALL, "taps": SOME, "pays": ALL}, {}, id="all are with .0"),
        pytest.param({"prints": PLAIN, "pays": SOME}, {"pays": ["prints"]}, id="some of one"),
        pytest.param({"prints": PLAIN, "pays": ALL}, {"pays": ["prints"]}, id="all of one"),
        pytest.param({"users": ALL, "orders": PLAIN}, {"users": ["orders"]}, id="the other direction"),
        pytest.param({"prints": PLAIN, "taps": PLAIN, "pays": SOME}, {"pays": ["prints", "taps"]}, id="two others"),
        pytest.param(
            {"prints": SOME, "taps": PLAIN, "pays": ALL}, {"prints": ["taps"], "pays": ["taps"]}, id="two with .0"
        ),
        pytest.param({"prints": PLAIN, "taps": NONE, "pays": SOME}, {"pays": ["prints"]}, id="no ids are not unlike"),
        pytest.param({"prints": NONE, "taps": NONE, "pays": SOME}, {}, id="nothing to be unlike"),
        pytest.param({}, {}, id="nothing at all"),
    ],
)
def test_ids_with_point_zero_are_unlike_where_another_dataset_has_none_of_them(
    counts: Mapping[str, IdCount], unlike: Mapping[str, list[str]]
) -> None:
    assert others_without(counts) == unlike


def test_the_sentence_says_how_many_which_and_what_to_do() -> None:
    found = UnlikeIds("pays", "user_id", IdCount(4000, 1200), ["prints", "taps"], ["98702.0", "98703.0"])
    assert found.rule == "user_ids_alike"
    assert found.logged == found.message.replace(" (98702.0)", "")
    assert found.message == (
        "pays: 1,200 of 4,000 records have a user_id that is a number with .0 (98702.0), and none of prints, taps has: "
        "these are other ids, so the records do not find each other; write the user_id without .0 where the file is "
        "made"
    )


def test_a_number_with_point_zero_is_told_from_all_that_looks_like_it(spark: SparkSession) -> None:
    numbers = ["98702.0", "0.0", "+1.00", "-7.000"]
    others = [
        "98702",
        "10",
        "1.10",
        ".0",
        "1.",
        "u1.0",
        "1.0u",
        "1.0.0",
        "1e5.0",
        " 1.0",
        "1.0 ",
        "1.0\n",
        "\uff11.0",
        "",
    ]
    rows = frame(spark, "id STRING", *([text] for text in [*numbers, *others, None]))
    found = rows.where(is_point_zero(F.col("id"))).collect()
    assert [row["id"] for row in found] == numbers


def test_records_are_counted_once_and_those_without_an_id_not_at_all(spark: SparkSession) -> None:
    skus = [["1.0", "2.0", "3"], ["4"], ["5", None], [], [None], None]
    alone = ["6.0", "7", None]
    rows = [("orders", each, "8.0") for each in skus] + [("products", ["9.0"], each) for each in alone]
    entries = [
        replace(DATASETS["orders"], ids={"sku": StagedId("skus", is_array=True)}),
        replace(DATASETS["products"], ids={"sku": StagedId("sku")}),
    ]
    staged = frame(spark, "dataset STRING, skus ARRAY<STRING>, sku STRING", *rows)
    counted = staged.agg(*count_ids("sku", entries), *count_ids("user_id", entries)).collect()[0]
    nobody = {"user_id_given": 0, "user_id_with_point": 0}
    assert counted.asDict() == {"sku_given": 3 + 2, "sku_with_point": 1 + 1, **nobody}


def test_samples_are_of_the_datasets_that_are_unlike_and_of_the_ids_that_make_them_so(spark: SparkSession) -> None:
    values = [("pays", ["3.0", "7"]), ("pays", ["2.0"]), ("pays", ["1.0"]), ("prints", ["1"]), ("taps", ["9.0"])]
    rows = frame(spark, "dataset STRING, ids ARRAY<STRING>", *values)
    counts = {"prints": PLAIN, "pays": SOME}
    assert unlike_ids("user_id", counts, rows, F.col("ids"), 20) == [
        UnlikeIds("pays", "user_id", SOME, ["prints"], ["1.0", "2.0", "3.0"])
    ]
    assert len(unlike_ids("user_id", counts, rows, F.col("ids"), 1)[0].samples) == 1


@pytest.mark.usefixtures("spark")
def test_no_record_is_looked_at_when_all_ids_are_alike() -> None:
    nothing = cast("DataFrame", None)
    assert unlike_ids("user_id", {"prints": PLAIN, "pays": PLAIN}, nothing, F.col("ids"), 20) == []
