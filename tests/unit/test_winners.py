"""Picking winners: one of each key, by a total order, whatever the order in which the rows come."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from etl_lib.deciding.winners import contestant, winners
from tests.frames import assert_same, frame

COLUMNS = """id STRING, key STRING, version_at TIMESTAMP, source_modified_at TIMESTAMP, source_file STRING,
    block BIGINT, row BIGINT, content_hash BIGINT, outcome STRING"""
BASE = datetime(2024, 5, 1, tzinfo=UTC)
SUPERSEDED = "superseded"


def record(name: str, key: str | None = "a", **about: Any) -> tuple[Any, ...]:
    """A record; `version` and `modified` are microseconds after BASE, all else has a default."""

    def time(name: str) -> datetime | None:
        return None if about.get(name, 0) is None else BASE + timedelta(microseconds=about.get(name, 0))

    arrival = (time("modified"), about.get("file", "f"), about.get("block", 0), about.get("row", 0))
    return (name, key, time("version"), *arrival, about.get("content", 1), about.get("outcome"))


def judged(spark: SparkSession, *records: tuple[Any, ...]) -> DataFrame:
    return frame(spark, COLUMNS, *records)


def outcomes(found: DataFrame) -> DataFrame:
    return found.select("id", "outcome", "is_conflict")


def expect(spark: SparkSession, *rows: tuple[str, str | None, bool]) -> DataFrame:
    return frame(spark, "id STRING, outcome STRING, is_conflict BOOLEAN", *rows)


def test_each_part_of_the_order_decides_where_those_before_it_are_equal(spark: SparkSession) -> None:
    most = {"modified": 9, "file": "z", "block": 9, "row": 9}
    pairs = {
        "version": ({"version": 1}, {"version": 0, **most}),
        "modified": ({"modified": 1}, {**most, "modified": 0}),
        "file": ({"file": "b"}, {**most, "modified": 0, "file": "a"}),
        "block": ({"block": 1}, {"block": 0, "row": 9}),
        "row": ({"row": 1}, {"row": 0}),
        "row in the order of numbers": ({"row": 10}, {"row": 9}),
    }
    records, expected = [], []
    for name, (better, worse) in pairs.items():
        records += [record(f"{name}: worse", name, **worse), record(f"{name}: better", name, **better)]
        expected += [(f"{name}: worse", SUPERSEDED, False), (f"{name}: better", None, False)]
    assert_same(outcomes(winners(judged(spark, *records))), expect(spark, *expected))


def test_all_but_one_record_of_a_key_are_superseded(spark: SparkSession) -> None:
    records = [
        *(record("a1", "a", version=1), record("a2", "a", version=2), record("a3", "a", version=3)),
        *(record("b1", "b"), record("b2", "b", row=1)),
        record("c1", "c"),
    ]
    expected = [("a1", SUPERSEDED), ("a2", SUPERSEDED), ("a3", None), ("b1", SUPERSEDED), ("b2", None), ("c1", None)]
    assert_same(outcomes(winners(judged(spark, *records))), expect(spark, *((*row, False) for row in expected)))


def test_what_is_out_of_the_contest_neither_wins_nor_loses(spark: SparkSession) -> None:
    records = [
        record("old", version=1),
        record("rejected", version=2, content=2, outcome="rejected"),
        record("out", version=3, outcome="out_of_window"),
        record("blank", None, version=None, outcome="blank"),
        record("no key 1", None, version=None, outcome="rejected", row=1),
        record("no key 2", None, version=None, outcome="rejected", row=2, content=2),
    ]
    expected = [
        ("old", None, False),
        ("rejected", "rejected", False),
        ("out", "out_of_window", False),
        ("blank", "blank", False),
        ("no key 1", "rejected", False),
        ("no key 2", "rejected", False),
    ]
    assert_same(outcomes(winners(judged(spark, *records))), expect(spark, *expected))


def test_different_contents_of_one_version_are_a_conflict(spark: SparkSession) -> None:
    records = [
        *(record("a1", "a", content=1), record("a2", "a", content=2, row=1)),
        *(record("same1", "b", content=1), record("same2", "b", content=1, row=1)),
        *(record("v1", "c", content=1), record("v2", "c", content=2, version=1)),
        *(record("d1", "d", content=1), record("d2", "d", content=2, row=1), record("d3", "d", content=3, version=1)),
        *(record("e1", "e", content=1), record("e2", "e", content=2, outcome="rejected")),
    ]
    expected = [
        *(("a1", SUPERSEDED, True), ("a2", None, True)),
        *(("same1", SUPERSEDED, False), ("same2", None, False)),
        *(("v1", SUPERSEDED, False), ("v2", None, False)),
        *(("d1", SUPERSEDED, True), ("d2", SUPERSEDED, True), ("d3", None, False)),
        *(("e1", None, False), ("e2", "rejected", False)),
    ]
    assert_same(outcomes(winners(judged(spark, *records))), expect(spark, *expected))


def test_a_record_competes_as_its_key_and_otherwise_alone(spark: SparkSession) -> None:
    records = [
        record("competes", "a"),
        record("1", "a", outcome="rejected", file="f", block=1, row=23),
        record("2", "a", outcome="rejected", file="f", block=12, row=3),
        record("3", None, outcome="blank", file="f1", block=2, row=3),
    ]
    found = {row["id"]: row["who"] for row in judged(spark, *records).select("id", contestant().alias("who")).collect()}
    assert found == {"competes": "a", "1": "\x00f\x001\x0023", "2": "\x00f\x0012\x003", "3": "\x00f1\x002\x003"}


def many(seed: int) -> list[tuple[Any, ...]]:
    """Records of few keys, versions and files, so that ties are the rule."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [
        record(
            str(at),
            dice.choice("abcd"),
            version=dice.randrange(3),
            modified=dice.randrange(2),
            file=dice.choice("fg"),
            block=dice.randrange(2),
            row=at,
            content=dice.randrange(3),
            outcome=dice.choice([None, None, None, "rejected"]),
        )
        for at in range(60)
    ]


@pytest.mark.parametrize("partitions", [1, 7])
def test_shuffled_input_and_other_partitions_give_the_same(spark: SparkSession, partitions: int) -> None:
    records = many(seed=1)
    shuffled: Sequence[tuple[Any, ...]] = random.Random(2).sample(records, len(records))  # noqa: S311 - repeatable
    once = outcomes(winners(judged(spark, *records)))
    again = outcomes(winners(judged(spark, *shuffled).repartition(partitions)))
    assert_same(again, once)
    assert once.where("outcome IS NULL").count() == 4
