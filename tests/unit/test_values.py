"""Texts as values: exact or NULL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from random import Random

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.values import (
    content_hash,
    has_second_60,
    has_zone,
    is_number,
    is_styled_number,
    iso_date,
    iso_time,
    money,
    trimmed,
    whole_number,
)
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


@pytest.mark.parametrize("seed", [1, 2])
def test_money_is_what_decimal_arithmetic_finds_exact_however_it_is_written(spark: SparkSession, seed: int) -> None:
    random = Random(seed)  # noqa: S311
    texts = ["0E-10", "0e5", "0E+999999", "12500000E-6", "+5", ".5", "5.", "-.5e1", "15E-5", "000000000000000000005.5"]
    texts += ["123456789012345E-1", "9" * 38 + "E-30", "1." + "0" * 38, "1." + "0" * 39]
    texts += ["1e-400", "1e9999", ".", "+.", "e5"]
    for _ in range(300):
        digits = "".join(random.choices("0123459", k=random.randint(1, 17)))
        at = random.randint(0, len(digits))
        point = random.choice(["", "."])
        exponent = random.choice(["", f"e{random.randint(-20, 20)}", f"E+{random.randint(0, 16):02}"])
        texts.append(random.choice(["", "-", "+"]) + digits[:at] + point + digits[at:] + exponent)

    def exact(text: str) -> Decimal | None:
        try:
            number = Decimal(text)
        except InvalidOperation:
            return None
        looked_at = all(len(part) <= 38 for part in re.split("[.eE]", text.lstrip("+-")))
        # a fraction of ten thousands has no digits below
        fits = number == 0 or (number.adjusted() < 14 and Fraction(number) * 10_000 % 1 == 0)
        return number if looked_at and fits else None

    found = frame(spark, "text STRING", *((text,) for text in texts)).select(
        "text", money(F.col("text")).alias("value")
    )
    assert {row["text"]: row["value"] for row in found.collect()} == {text: exact(text) for text in texts}


def test_a_number_as_people_write_it_is_told_apart_from_what_is_no_number(spark: SparkSession) -> None:
    styled = ["1,25", "1.234,50", "1,234.50", "1'000.00", "1\u2019000", "1 000", "1\u00a0000", "1_000", "1.234.567"]
    styled += ["$5", "5 USD", "EUR 5", "€ 5,00", "-€5", "€-5", "CHF 5.-", "5,-", "5\u00a0€"]
    others = [
        "",
        "5",
        "1.00001",
        "1.234",
        "1e400",
        "NaN",
        "abc",
        "1/2",
        "2024-05-01",
        " 5",
        "5 ",
        "$",
        "USD",
        "5 usd x",
    ]
    texts = frame(spark, "text STRING", *((text,) for text in [*styled, *others, None]))
    found = {row["text"] for row in texts.where(is_styled_number(F.col("text"))).collect()}
    assert found == set(styled)
    unknown = texts.where("text IS NULL").select(is_styled_number(F.col("text"))).collect()
    assert unknown[0][0] is False


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
    ("2024-05-01T24:00:00Z", "2024-05-02 00:00:00", True),
    ("1714557600", None, False),
    ("12:00", None, False),
    ("now", None, False),
    ("2024", None, False),
    ("2024-05-01\n", None, False),
    ("2024-05-01T10:00:00Z\n", None, False),
    ("2024-05-01T10:00Z\n", None, False),
]


MOMENT = datetime(2024, 6, 1, 10, 15, tzinfo=UTC)
SPELLINGS: Mapping[str, datetime | None] = {
    **dict.fromkeys(
        [
            *("20240601T101500Z", "20240601T1015Z", "2024-06-01T1015Z", "20240601T10:15:00Z", "20240601 101500,000Z"),
            *("2024-06-01t10:15:00z", "2024-06-01 10:15:00 UTC", "2024-06-01T10:15GMT", "2024-06-01T10:15:00 Z"),
            *("2024-06-01T12:15:00 +02:00", "2024-06-01T12:15:00+02:00[Europe/Berlin]", "20240601T121500+0200"),
            *("2024-06-01T10:15:00Z[Europe/Berlin][u-ca=iso8601]", "2024-06-01 12:15+02", "2024-06-01T10:15:00-00:00"),
        ],
        MOMENT,
    ),
    **dict.fromkeys(
        ["2024-06-01T24:00:00Z", "20240601T240000Z", "2024-06-01T24:00Z"], datetime(2024, 6, 2, tzinfo=UTC)
    ),
    "2024-06-01T24:00:00.000000+14:00": datetime(2024, 6, 1, 10, tzinfo=UTC),
    "1899-12-31T24:00:00Z": datetime(1900, 1, 1, tzinfo=UTC),
    **dict.fromkeys(
        [
            *("2024-06-01T24:00:01Z", "2024-06-01T24:01Z", "2024-06-01T25:00:00Z", "9999-12-31T24:00:00Z"),
            *("2024-06-01T10:60:00Z", "2024-06-01T10:15:60Z", "2024-06-01T10:15:00+18:01", "2024-06-01T10:15:00+25:00"),
            *("2024-06-01T10:15:00[Europe/Berlin]", "2024-06-01T10:15:00Z[!Europe/Berlin]", "2024-06-01T10:15:00  Z"),
            *(
                "2024-06-01T10:15:00Z[Europe/Berlin",
                "2024-06-01T10:15:00utc",
                "2024-06-01T10:15:00 CET",
                "20240601T10Z",
            ),
            *("20240601", "2024-W22-6", "2024-W22-6T10:15:00Z", "2024-153T10:15:00Z", "240601T101500Z", "T10:15:00Z"),
        ],
        None,
    ),
}


def test_times_in_other_spellings_are_the_same_instants_as_an_independent_reader_finds(spark: SparkSession) -> None:
    texts = frame(spark, "text STRING", *((text,) for text in SPELLINGS))
    found = texts.select("text", F.unix_micros(iso_time(F.col("text"))).alias("micros")).collect()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = {text: at and (at - epoch) // timedelta(microseconds=1) for text, at in SPELLINGS.items()}
    assert {row["text"]: row["micros"] for row in found} == expected
    read = {text: at for text, at in SPELLINGS.items() if at and not re.search(r"T?24:?00|\[| [+Z]|UTC|GMT|z", text)}
    assert len(read) > 5
    assert {text: datetime.fromisoformat(text) for text in read} == read
    zoned = texts.where(iso_time(F.col("text")).isNotNull() & ~has_zone(F.col("text"))).collect()
    assert zoned == []


def test_what_a_text_is_instead_of_a_time(spark: SparkSession) -> None:
    numbers = ["1714557600", "1714557600.5", "1.7145576E9", "-5", "20240601", "+0"]
    leaps = ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5+01:00", "20161231T235960", "2016-12-31 23:59:60 UTC"]
    others = ["", ".", "2024-02-30", "2016-12-31T23:59:59Z", "2016-12-31T23:60Z", "x 23:59:60", "2024-06-01T10:60:00Z"]
    texts = frame(spark, "text STRING", *((text,) for text in [*numbers, *leaps, *others, None]))
    found = texts.select("text", is_number(F.col("text")).alias("n"), has_second_60(F.col("text")).alias("s")).collect()
    assert {row["text"] for row in found if row["n"]} == set(numbers)
    assert {row["text"] for row in found if row["s"]} == set(leaps)
    assert {type(row[name]) for row in found for name in "ns"} == {bool}


def test_blanks_around_a_value_of_csv_are_no_part_of_it(spark: SparkSession) -> None:
    cases = [(" 1 ", "1"), ("\t1\u00a0", "1"), ("1 2", "1 2"), ("  ", None), ("", None), (None, None), ("1\n", "1\n")]
    texts = frame(spark, "text STRING", *((text,) for text, _ in cases))
    actual = texts.select("text", trimmed(F.col("text")).alias("value"))
    assert_same(actual, frame(spark, "text STRING, value STRING", *cases))


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
