"""Comparing with the table: every record has exactly one outcome."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from etl_lib.deciding.outcomes import APPLIED, OUTCOMES, compare, known
from etl_lib.deciding.winners import contestant
from tests.frames import assert_same, frame

BATCH = """key STRING, version_at TIMESTAMP, source_modified_at TIMESTAMP, source_file STRING, content_hash BIGINT,
    block BIGINT, row BIGINT, outcome STRING, is_conflict BOOLEAN"""
TABLE = """order_id STRING, order_date DATE, version_at TIMESTAMP, source_modified_at TIMESTAMP, source_file STRING,
    content_hash BIGINT, amount INT"""
DAY = date(2024, 5, 1)


def at(hour: int | None) -> datetime | None:
    return None if hour is None else datetime(2024, 5, 1, hour, tzinfo=UTC)


def new(key: str | None, version: int = 5, content: int = 1, **about: Any) -> tuple[Any, ...]:
    """A record of the batch, by default of version 5 and arrival (5, "f")."""
    arrival = (at(about.get("modified", 5)), about.get("file", "f"))
    return (key, at(version), *arrival, content, 0, 0, about.get("outcome"), about.get("conflict", False))


def there(key: str, version: int | None = 5, content: int | None = 1, **about: Any) -> tuple[Any, ...]:
    """A row of the table, by default of version 5 and arrival (5, "f")."""
    return (key, about.get("day", DAY), at(version), at(about.get("modified", 5)), about.get("file", "f"), content, 1)


def compared(spark: SparkSession, batch: list[tuple[Any, ...]], table: list[tuple[Any, ...]]) -> DataFrame:
    """What becomes of a batch against a table."""
    entered = frame(spark, BATCH, *batch).withColumn("contestant", contestant())
    return compare(entered, known(frame(spark, TABLE, *table), "order_id"))


def assert_outcomes(spark: SparkSession, cases: dict[str, tuple[Any, Any, str, bool]]) -> None:
    """Each case is the record, the table's row or None, the outcome, and whether it is a conflict; keys are names."""
    batch = [(name, *record[1:]) for name, (record, _, _, _) in cases.items()]
    table = [(name, *row[1:]) for name, (_, row, _, _) in cases.items() if row is not None]
    expected = [(name, outcome, conflict) for name, (_, _, outcome, conflict) in cases.items()]
    actual = compared(spark, batch, table).select("key", "outcome", "is_conflict")
    assert_same(actual, frame(spark, "key STRING, outcome STRING, is_conflict BOOLEAN", *expected))


def test_a_winner_is_inserted_updated_unchanged_or_stale(spark: SparkSession) -> None:
    assert_outcomes(
        spark,
        {
            "not in the table": (new(""), None, "inserted", False),
            "newer": (new("", 6, 2), there("", 5, 1), "updated", False),
            "newer with the same content": (new("", 6, 1), there("", 5, 1), "updated", False),
            "older": (new("", 4, 2), there("", 5, 1), "stale", False),
            "older with the same content": (new("", 4, 1), there("", 5, 1), "stale", False),
            "older, arrived later": (new("", 4, 2, modified=9, file="z"), there("", 5, 1), "stale", False),
            "newer, arrived earlier": (new("", 6, 2, modified=1, file="a"), there("", 5, 1), "updated", False),
            "the same again": (new("", 5, 1), there("", 5, 1), "unchanged", False),
            "the same, arrived later": (new("", 5, 1, modified=9), there("", 5, 1), "unchanged", False),
            "the same, arrived earlier": (new("", 5, 1, modified=1), there("", 5, 1), "unchanged", False),
        },
    )


def test_another_content_of_the_same_version_is_a_conflict_that_arrival_decides(spark: SparkSession) -> None:
    assert_outcomes(
        spark,
        {
            "modified later": (new("", 5, 2, modified=6, file="a"), there("", 5, 1), "updated", True),
            "modified earlier": (new("", 5, 2, modified=4, file="z"), there("", 5, 1), "stale", True),
            "a later file": (new("", 5, 2, file="g"), there("", 5, 1), "updated", True),
            "an earlier file": (new("", 5, 2, file="e"), there("", 5, 1), "stale", True),
            "the same file": (new("", 5, 2), there("", 5, 1), "updated", True),
        },
    )


def test_a_conflict_within_the_batch_stays_one(spark: SparkSession) -> None:
    assert_outcomes(
        spark,
        {
            "new": (new("", conflict=True), None, "inserted", True),
            "unchanged": (new("", conflict=True), there(""), "unchanged", True),
            "superseded": (new("", outcome="superseded", conflict=True), there(""), "superseded", True),
        },
    )


def test_what_is_out_of_the_contest_keeps_its_outcome(spark: SparkSession) -> None:
    kept = ("superseded", "rejected", "out_of_window", "blank")
    assert_outcomes(spark, {name: (new("", 9, 2, outcome=name), there("", 9, 1), name, False) for name in kept})


def test_an_inferred_member_is_completed_by_whatever_arrives(spark: SparkSession) -> None:
    inferred = there("", None, None, modified=None, file=None)
    assert_outcomes(spark, {"arrives": (new("", 1, modified=1, file="a"), inferred, "updated", False)})


def test_a_winner_knows_the_date_under_which_its_order_stands(spark: SparkSession) -> None:
    moved, day_before = new("moved", 6, 2), date(2024, 4, 30)
    batch = [moved, new("new"), new("kept", 4, 2), new("out", outcome="superseded"), new(None, outcome="rejected")]
    table = [there("moved", day=day_before), there("kept"), there("out"), there("other")]
    expected = [
        ("moved", "updated", day_before),
        ("new", "inserted", None),
        ("kept", "stale", DAY),
        ("out", "superseded", None),
        (None, "rejected", None),
    ]
    actual = compared(spark, batch, table)
    assert_same(
        actual.select("key", "outcome", "table_date"),
        frame(spark, "key STRING, outcome STRING, table_date DATE", *expected),
    )
    assert actual.columns == [*frame(spark, BATCH).columns, "table_date"]


def test_a_dimension_without_dates_is_known_without_one(spark: SparkSession) -> None:
    users = frame(spark, TABLE.replace("order_id", "user_id").replace("order_date", "created_on"), there("u"))
    row = known(users, "user_id").select("known.*").collect()[0]
    assert row.asDict() == {
        "key": "u",
        "version_at": datetime(2024, 5, 1, 5),
        "source_modified_at": datetime(2024, 5, 1, 5),
        "source_file": "f",
        "content_hash": 1,
        "order_date": None,
    }


def test_the_seven_outcomes_have_their_names_and_two_of_them_change_a_table() -> None:
    assert set(OUTCOMES) == {
        *("rejected", "out_of_window", "superseded", "stale", "unchanged", "inserted", "updated"),
    }
    assert APPLIED == ("inserted", "updated")
