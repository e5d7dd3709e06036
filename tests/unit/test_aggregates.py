"""daily_sales: sums by day, currency, country, category and source; what is not known has a name."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pyspark.sql import DataFrame, SparkSession

from etl_lib.applying.daily_sales import daily_sales
from etl_lib.tables.schemas import DAILY_SALES
from tests.frames import assert_same, frame

MAY, JUNE = date(2024, 5, 1), date(2024, 6, 1)
Line = tuple[date, str, str | None, str, int, str | None, str | None]
Sale = tuple[date, str, str, str, str, int, int, Decimal]


def sales(spark: SparkSession, *lines: Line) -> DataFrame:
    """What lines of (day, order, user, sku, qty, line_amount, currency) add up to."""
    columns = """order_date DATE, order_id STRING, user_id STRING, sku STRING, qty INT, line_amount DECIMAL(29,4),
        currency STRING"""
    values = [(*line[:5], None if line[5] is None else Decimal(line[5]), line[6]) for line in lines]
    return daily_sales(
        frame(spark, columns, *values),
        frame(spark, "order_id STRING, source STRING", ("o1", "web"), ("o2", "app"), ("o3", None), ("o4", "")),
        frame(spark, "user_id STRING, country STRING", ("u1", "DE"), ("u2", "NL"), ("u3", None)),
        frame(spark, "sku STRING, category STRING", ("s1", "toys"), ("s2", "books"), ("s3", None), ("s4", "toys")),
    )


def expect(spark: SparkSession, *rows: Sale) -> DataFrame:
    return frame(spark, DAILY_SALES.columns.replace(" NOT NULL", ""), *rows)


def test_lines_add_up_by_day_currency_country_category_and_source(spark: SparkSession) -> None:
    one = Decimal(1)
    actual = sales(
        spark,
        # three lines of one order and one grain: the order counts once
        (MAY, "o1", "u1", "s1", 2, "2.50", "EUR"),
        (MAY, "o1", "u1", "s4", 1, "0.0001", "EUR"),
        (MAY, "o1", "u1", "s1", -1, "-1", "EUR"),
        # one line each that differs in one part of the grain
        (JUNE, "o1", "u1", "s1", 1, "1", "EUR"),
        (MAY, "o1", "u1", "s1", 1, "1", "USD"),
        (MAY, "o1", "u2", "s1", 1, "1", "EUR"),
        (MAY, "o1", "u1", "s2", 1, "1", "EUR"),
        (MAY, "o2", "u1", "s1", 1, "1", "EUR"),
    )
    expected = expect(
        spark,
        (MAY, "EUR", "DE", "toys", "web", 1, 2, Decimal("1.5001")),
        (JUNE, "EUR", "DE", "toys", "web", 1, 1, one),
        (MAY, "USD", "DE", "toys", "web", 1, 1, one),
        (MAY, "EUR", "NL", "toys", "web", 1, 1, one),
        (MAY, "EUR", "DE", "books", "web", 1, 1, one),
        (MAY, "EUR", "DE", "toys", "app", 1, 1, one),
    )
    assert_same(actual, expected)


def test_what_is_not_known_of_a_line_is_named_unknown_or_adds_nothing(spark: SparkSession) -> None:
    actual = sales(
        spark,
        (MAY, "o3", "u3", "s3", 1, "1", None),
        (MAY, "o4", None, "s3", 1, "1", ""),
        (MAY, "absent", "absent", "absent", 1, "1", None),
        # no price: units without revenue
        (MAY, "o1", "u1", "s1", 2, "5", "EUR"),
        (MAY, "o1", "u1", "s1", 3, None, "EUR"),
        (MAY, "o1", "u1", "s2", 1, None, "EUR"),
    )
    expected = expect(
        spark,
        (MAY, "unknown", "unknown", "unknown", "unknown", 3, 3, Decimal(3)),
        (MAY, "EUR", "DE", "toys", "web", 1, 5, Decimal(5)),
        (MAY, "EUR", "DE", "books", "web", 1, 1, Decimal(0)),
    )
    assert_same(actual, expected)


def test_sums_may_be_larger_than_their_parts_can_be(spark: SparkSession) -> None:
    most, amount = 2**31 - 1, "9999999999999999999999999.9999"
    lines: list[Line] = [(MAY, "o1", "u1", "s1", most, amount, "EUR")] * 3
    expected = (MAY, "EUR", "DE", "toys", "web", 1, 3 * most, Decimal("29999999999999999999999999.9997"))
    assert_same(sales(spark, *lines), expect(spark, expected))
