"""Few rows in the plan of a query: exact values, and no job for them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from etl_lib.tables.values_frame import values_frame

COLUMNS = (
    "text STRING, number BIGINT, money DECIMAL(18,4), day DATE, at TIMESTAMP, flag BOOLEAN, names ARRAY<STRING>, "
    "counts MAP<STRING, BIGINT>, pair STRUCT<a: STRING, b: INT>"
)
FULL = (
    'it\'s "quoted" \\ \u20ac \U0001f600\n',
    2**63 - 1,
    Decimal("99999999999999.9999"),
    date(9999, 12, 31),
    datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    True,
    ["b", None, "a"],
    {"k": 1, "": None},
    (None, -1),
)


def test_values_come_back_as_they_were_given(spark: SparkSession) -> None:
    nothing = (None,) * len(FULL)
    rows = values_frame(spark, [FULL, nothing], COLUMNS)

    (full, empty) = rows.selectExpr("* EXCEPT (at)", "unix_micros(at) AS at").collect()

    micros = -2_208_988_800_000_000 + 1
    assert full.asDict(recursive=True) == {
        **dict(zip(("text", "number", "money", "day"), FULL[:4], strict=True)),
        "flag": True,
        "names": ["b", None, "a"],
        "counts": {"k": 1, "": None},
        "pair": {"a": None, "b": -1},
        "at": micros,
    }
    assert tuple(empty) == nothing
    assert rows.schema == spark.createDataFrame([], COLUMNS).schema


def test_what_is_no_character_is_replaced(spark: SparkSession) -> None:
    odd, columns = "a\udcffb\ud83d", "text STRING, texts ARRAY<STRING>, named MAP<STRING, STRING>"
    rows = values_frame(spark, [(odd, (odd,), {odd: odd})], columns)
    shown = "a\ufffdb\ufffd"
    assert [tuple(row) for row in rows.collect()] == [(shown, [shown], {shown: shown})]


def test_no_rows_have_the_columns_too(spark: SparkSession) -> None:
    rows = values_frame(spark, [], COLUMNS)
    assert rows.collect() == []
    assert rows.schema == spark.createDataFrame([], COLUMNS).schema


@pytest.mark.classic
def test_rows_are_values_in_the_plan(spark: SparkSession) -> None:
    rows = values_frame(spark, [("a", 1)], "text STRING, number BIGINT")
    plan = spark._jvm.PythonSQLUtils.explainString(rows._jdf.queryExecution(), "simple")  # type: ignore[union-attr]
    assert "LocalTableScan" in plan
    assert "RDD" not in plan


def test_times_are_given_with_their_zone_or_in_microseconds_and_no_column_is_required(spark: SparkSession) -> None:
    columns = "a TIMESTAMP NOT NULL, b TIMESTAMP, c TIMESTAMP NOT NULL, d ARRAY<STRUCT<at: TIMESTAMP>>"
    at, micros = datetime(2024, 5, 1, 2, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))), 1_714_521_600_000_001
    rows = values_frame(spark, [(at, micros + 1, None, [{"at": micros + 2}])], columns)
    found = rows.selectExpr("unix_micros(a)", "unix_micros(b)", "unix_micros(c)", "unix_micros(d[0].at)").collect()
    assert [tuple(row) for row in found] == [(micros, micros + 1, None, micros + 2)]
