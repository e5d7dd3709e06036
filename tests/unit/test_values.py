"""Texts as values: exact or NULL."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.values import content_hash, has_zone, iso_date, iso_time, money, whole_number
from tests.frames import assert_same, frame


def test_money_keeps_every_digit_or_gives_null(spark: SparkSession) -> None:
    cases = [
        ("10", Decimal(10)),
        ("1.10", Decimal("1.1")),
        ("-0", Decimal(0)),
        ("0.0001", Decimal("0.0001")),
        ("99999999999999.9999", Decimal("99999999999999.9999")),
        ("1.10000", Decimal("1.1")),
        ("1e2", Decimal(100)),
        ("1.5E-3", Decimal("0.0015")),
        ("1.00001", None),
        ("1.5E-4", None),
        ("100000000000000", None),
        ("1e400", None),
        ("1e-30", None),
        ("NaN", None),
        ("Infinity", None),
        ("1,25", None),
        (" 1", None),
        ("+1", None),
        ("12\n", None),
        ("1e2\n", None),
        ("\n12", None),
        ("12\r\n", None),
        ("", None),
        (None, None),
    ]
    texts = frame(spark, "text STRING", *((text,) for text, _ in cases))
    assert_same(
        texts.select("text", money(F.col("text")).alias("value")),
        frame(spark, "text STRING, value DECIMAL(18,4)", *cases),
    )


def test_whole_number_is_an_int_of_32_bits(spark: SparkSession) -> None:
    cases = [
        ("1", 1),
        ("-3", -3),
        ("2.0", 2),
        ("2147483647", 2147483647),
        ("2147483648", None),
        ("1.5", None),
        ("two", None),
        ("12\n", None),
        ("2.0\n", None),
        ("-2147483648", -2147483648),
        ("-2147483649", None),
        ("4294967297", None),
        ("2e0", 2),
        (None, None),
    ]
    texts = frame(spark, "text STRING", *((text,) for text, _ in cases))
    actual = texts.select("text", whole_number(F.col("text")).alias("value"))
    assert_same(actual, frame(spark, "text STRING, value INT", *cases))


TIMES = [
    ("2024-05-01T10:00:00Z", "2024-05-01 10:00:00", True),
    ("2024-05-01 10:00:00+02:00", "2024-05-01 08:00:00", True),
    ("2024-05-01T10:00:00+0530", "2024-05-01 04:30:00", True),
    ("2024-05-01T10:00:00-08", "2024-05-01 18:00:00", True),
    ("2024-05-01T10:00Z", "2024-05-01 10:00:00", True),
    ("2024-05-01T10:00", "2024-05-01 10:00:00", False),
    ("2024-05-01T10:00:00,5Z", "2024-05-01 10:00:00.5", True),
    ("2024-05-01T10:00:00.123456789Z", "2024-05-01 10:00:00.123456", True),
    ("2024-05-01T23:59:59.999999", "2024-05-01 23:59:59.999999", False),
    ("2024-05-01", "2024-05-01 00:00:00", False),
    ("1900-01-01T00:00:00Z", "1900-01-01 00:00:00", True),
    ("1899-12-31T23:59:59Z", None, True),
    ("9999-12-31T23:59:59-10:00", None, True),
    ("2024-02-30", None, False),
    ("2024-05-01T24:00:00Z", None, True),
    ("1714557600", None, False),
    ("12:00", None, False),
    ("now", None, False),
    ("2024", None, False),
    ("2024-05-01\n", None, False),
    ("2024-05-01T10:00:00Z\n", None, False),
    ("2024-05-01T10:00Z\n", None, False),
]


def test_iso_times_become_utc_and_everything_else_null(spark: SparkSession) -> None:
    texts = frame(spark, "text STRING", *((text,) for text, _, _ in TIMES))
    actual = texts.select("text", iso_time(F.col("text")).cast("string").alias("utc"))
    assert_same(actual, frame(spark, "text STRING, utc STRING", *((text, utc) for text, utc, _ in TIMES)))


def test_a_date_is_exactly_that_and_everything_else_null(spark: SparkSession) -> None:
    cases = [
        ("2020-11-01", date(2020, 11, 1)),
        ("2020-02-29", date(2020, 2, 29)),
        ("1900-01-01", date(1900, 1, 1)),
        ("9999-12-31", date(9999, 12, 31)),
        ("2021-02-29", None),
        ("2020-13-01", None),
        ("2020-11-00", None),
        ("1899-12-31", None),
        ("0000-01-01", None),
        ("10000-01-01", None),
        ("2020-11-1", None),
        ("20201101", None),
        ("2020-11-01T00:00:00Z", None),
        ("2020-11-01 ", None),
        ("2020-11-01\n", None),
        (" 2020-11-01", None),
        ("+2020-11-01", None),
        ("\u0662020-11-01", None),
        ("now", None),
        ("", None),
        (None, None),
    ]
    texts = frame(spark, "text STRING", *((text,) for text, _ in cases))
    actual = texts.select("text", iso_date(F.col("text")).alias("value"))
    assert_same(actual, frame(spark, "text STRING, value DATE", *cases))


def test_a_time_says_whether_it_has_a_zone(spark: SparkSession) -> None:
    texts = frame(spark, "text STRING", *((text,) for text, _, _ in TIMES))
    actual = texts.select("text", has_zone(F.col("text")).alias("zoned"))
    assert_same(actual, frame(spark, "text STRING, zoned BOOLEAN", *((text, zoned) for text, _, zoned in TIMES)))


@pytest.mark.timeout(60)
def test_a_long_text_that_looks_like_many_times_is_judged_at_once(spark: SparkSession) -> None:
    texts = frame(spark, "text STRING", ("T00:" * 250_000,), ("2024-05-01T00:" * 100_000 + "Z",))
    judged = texts.select(has_zone(F.col("text")).alias("zoned"), iso_time(F.col("text")).alias("time")).collect()
    assert [tuple(row) for row in judged] == [(False, None), (True, None)]


@pytest.mark.parametrize(
    ("one", "other"),
    [pytest.param((None, "x"), ("x", None), id="null moved"), pytest.param(("a", "bc"), ("ab", "c"), id="text moved")],
)
def test_different_contents_have_different_hashes(
    spark: SparkSession, one: tuple[str | None, str | None], other: tuple[str | None, str | None]
) -> None:
    rows = frame(spark, "a STRING, b STRING", one, other).select(content_hash(["a", "b"]).alias("hash")).collect()
    assert rows[0]["hash"] != rows[1]["hash"]
