"""Judging: every rule on every record, once; and the rules of the configuration, each broken alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.deciding.judge import holds_all, judge
from etl_lib.reading.datasets import DATASETS
from etl_lib.reading.records import (
    PAY_COLUMNS,
    PRODUCT_COLUMNS,
    USER_COLUMNS,
    parse_orders,
    parse_pays,
    parse_products,
    parse_users,
    parse_views,
)
from etl_lib.settings.arguments import Window
from etl_lib.settings.rules import STRUCTURAL, Rule, RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.sources.landing import FILE_COLUMNS
from tests.frames import assert_same, frame

PARSED = "id STRING, raw STRING, read_error STRING, parse_error STRING, key STRING, version_at TIMESTAMP, n INT"
JUDGED = "id STRING, outcome STRING, broken_rules ARRAY<STRING>, key STRING"
RULES = {
    "small": Rule(severity="warn", check="n < 10", message="n is not small"),
    "positive": Rule(severity="reject", check="n > 0 OR n = -5", message="n is not positive"),
    "sane": Rule(severity="fail", check="coalesce(n, 0) <> -5", message="n is not sane"),
}
RULE_BOOK = load_settings(RuleBook, Path(__file__).resolve().parents[2] / "conf" / "rules.yaml")


def record(name: str, n: int | None = 1, hour: int | None = 10, **about: Any) -> tuple[Any, ...]:
    """A parsed record with a number to judge."""
    version_at = None if hour is None else datetime(2024, 5, 1, hour, tzinfo=UTC)
    errors = (about.get("read_error"), about.get("parse_error"))
    return (name, about.get("raw", "{}"), *errors, about.get("key", "k"), version_at, n)


def judged(spark: SparkSession, *records: tuple[Any, ...], window: Window | None = None) -> DataFrame:
    found = judge(frame(spark, PARSED, *records), RULES, window or Window())
    return found.select("id", "outcome", "broken_rules", "key")


def test_a_record_is_kept_refused_or_blank_and_says_which_rules_it_broke(spark: SparkSession) -> None:
    error = {"parse_error": "malformed_json"}
    actual = judged(
        spark,
        record("good"),
        record("warned", 10),
        record("rejected", 0),
        record("failed", -5),
        record("null is broken", None),
        record("no key", key=None),
        record("no version", hour=None),
        record("no key, warned", 10, key=None),
        record("no key, rejected", 0, key=None),
        record("not parsed", None, key=None, hour=None, **error),
        record("not parsed, though it seems to have a key", 0, **error),
        record("blank", None, None, raw=" \t\r", key=None, **error),
        record("cut off", None, None, raw="", key=None, read_error="broken_array", parse_error="broken_array"),
    )
    expected = frame(
        spark,
        JUDGED,
        ("good", None, [], "k"),
        ("warned", None, ["small"], "k"),
        ("rejected", "rejected", ["positive"], "k"),
        ("failed", "rejected", ["sane"], "k"),
        ("null is broken", "rejected", ["small", "positive"], "k"),
        ("no key", "rejected", ["no_key"], None),
        ("no version", "rejected", ["no_key"], "k"),
        ("no key, warned", "rejected", ["small", "no_key"], None),
        ("no key, rejected", "rejected", ["positive"], None),
        ("not parsed", "rejected", ["malformed_json"], None),
        ("not parsed, though it seems to have a key", "rejected", ["malformed_json"], None),
        ("blank", "blank", None, None),
        ("cut off", "rejected", ["broken_array"], None),
    )
    assert_same(actual, expected)


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        pytest.param(Window(), {9, 10, 11}, id="no bound"),
        pytest.param(Window(since="2024-05-01T10:00:00+00:00"), {10, 11}, id="since includes its time"),
        pytest.param(Window(until="2024-05-01T10:00:00+00:00"), {9}, id="until excludes its time"),
        pytest.param(Window("2024-05-01T10:00:00+00:00", "2024-05-01T11:00:00+00:00"), {10}, id="both"),
        pytest.param(Window(since="2024-05-01T12:00:00+02:00"), {10, 11}, id="with an offset"),
    ],
)
def test_a_record_outside_the_window_is_out_of_the_contest(
    spark: SparkSession, window: Window, inside: set[int]
) -> None:
    records = [record(str(hour), hour=hour) for hour in (9, 10, 11)]
    rows = judged(spark, *records, record("rejected", 0, 9), record("no version", hour=None), window=window).collect()
    outcomes = {row["id"]: row["outcome"] for row in rows}
    assert outcomes == {
        **{str(hour): None if hour in inside else "out_of_window" for hour in (9, 10, 11)},
        "rejected": "rejected",
        "no version": "rejected",
    }


def test_without_rules_every_parsed_record_with_a_key_and_a_version_is_good(spark: SparkSession) -> None:
    found = judge(frame(spark, PARSED, record("good", None), record("no key", key=None)), {})
    expected = frame(spark, JUDGED, ("good", None, [], "k"), ("no key", "rejected", ["no_key"], None))
    assert_same(found.select("id", "outcome", "broken_rules", "key"), expected)


ITEM: Mapping[str, Any] = {"sku": "s", "qty": 2, "price": 1.5}
ORDER: Mapping[str, Any] = {
    "order_id": "a",
    "user_id": "u",
    "amount": 3.0,
    "currency": "EUR",
    "created_at": "2024-05-01T10:00:00Z",
    "updated_at": "2024-05-02T10:00:00Z",
    "metadata": {"source": "web"},
    "items": [ITEM],
}
LONG_ID = "é" * 512 + "x"
"""A byte more than an id may have."""
LONGEST_ID = "é" * 512
SOON, TOO_LATE = timedelta(hours=23), timedelta(hours=25)
BREAKS_ONE: Mapping[str, list[Mapping[str, Any]]] = {
    "order_id_given": [{"order_id": None}, {"order_id": ""}],
    "created_at_given": [{"created_at": None}],
    "created_at_is_time": [{"created_at": "2024-02-30T10:00:00Z"}, {"created_at": "1899-12-31T23:59:59Z"}],
    "updated_at_is_time": [{"updated_at": "2024-02-30T10:00:00Z"}],
    "time_is_no_number": [{"created_at": 1714557600}, {"updated_at": "1714557600.5"}],
    "time_is_no_leap_second": [{"created_at": "2016-12-31T23:59:60Z"}, {"updated_at": "2016-12-31T23:59:60Z"}],
    "version_not_in_future": [{"created_at": TOO_LATE}, {"updated_at": TOO_LATE}],
    "numbers_are_plain": [
        {"amount": "3,0"},
        {"items": [ITEM, {**ITEM, "price": "€ 1"}]},
        {"items": [ITEM, {**ITEM, "qty": "1 000"}]},
    ],
    "amount_is_exact": [{"amount": "x"}, {"amount": 3.00001}],
    "item_sku_given": [{"items": [{**ITEM, "sku": ""}]}, {"items": [ITEM, {"qty": 1, "price": 0}]}],
    "item_qty_is_whole": [{"items": [{**ITEM, "qty": 1.5}]}, {"items": [{"sku": "s", "price": 1.5}]}],
    "item_price_is_exact": [{"items": [ITEM, {**ITEM, "price": "x"}]}],
    "ids_fit": [{"order_id": LONG_ID}, {"user_id": LONG_ID}, {"items": [ITEM, {**ITEM, "sku": LONG_ID, "price": 0}]}],
    "texts_fit": [
        {"currency": "x" * 513},
        {"metadata": {"source": "x" * 513}},
        {"metadata": {"promo": "x" * 65536}},
    ],
    "time_zone_given": [{"created_at": "2024-05-01T10:00:00"}, {"updated_at": "2024-05-02"}],
    "user_id_given": [{"user_id": None}, {"user_id": ""}],
    "currency_given": [{"currency": None}, {"currency": ""}],
    "amount_given": [{"amount": None}],
    "metadata_given": [{"metadata": None}],
    "items_given": [{"items": []}, {"items": None}],
    "price_given": [{"items": [ITEM, {"sku": "s", "qty": 1}]}],
    "qty_positive": [{"items": [{**ITEM, "qty": 0}], "amount": 0}, {"items": [{**ITEM, "qty": -2}], "amount": -3}],
    "amount_matches_items": [{"amount": 3.0001}, {"items": [ITEM, ITEM]}],
}
BREAKS_NONE: list[Mapping[str, Any]] = [
    {},
    {"updated_at": None},
    {"deleted": True, "items": [], "amount": 99},
    {"items": [ITEM, {**ITEM, "price": 0}]},
    {"metadata": {}},
    {"order_id": LONGEST_ID, "user_id": LONGEST_ID, "items": [{**ITEM, "sku": LONGEST_ID}]},
    {"currency": "x" * 512, "metadata": {"source": "x" * 512, "promo": "x" * 65535}},
    {"created_at": SOON, "updated_at": SOON},
]


def order(changes: Mapping[str, Any]) -> str:
    """ORDER as JSON with these changes; a timedelta is that far from now."""

    def moment(ahead: timedelta) -> str:
        return (datetime.now(UTC) + ahead).isoformat()

    return json.dumps({**ORDER, **changes}, default=moment)


def test_each_rule_of_orders_is_broken_by_a_record_that_breaks_nothing_else(spark: SparkSession) -> None:
    cases = [([rule], order(changes)) for rule, some in BREAKS_ONE.items() for changes in some]
    cases += [([], order(changes)) for changes in BREAKS_NONE]
    records = frame(spark, "raw STRING, read_error STRING", *((raw, None) for _, raw in cases))
    rows = judge(parse_orders(records, ("updated_at", "created_at")), RULE_BOOK.of("orders")).collect()
    broken = {row["raw"]: row["broken_rules"] for row in rows}
    assert {raw: (broken[raw], rules) for rules, raw in cases if broken[raw] != rules} == {}
    assert [row["parse_error"] for row in rows] == [None] * len(cases)
    refusing = {name for name, rule in RULE_BOOK.of("orders").items() if rule.severity != "warn"}
    for row in rows:
        assert row["outcome"] == ("rejected" if refusing & set(row["broken_rules"]) else None), row["raw"]
    assert set(BREAKS_ONE) == set(RULE_BOOK.of("orders"))


USER = ("u", "a@example.org", "2024-05-01", "DE")
PRODUCT = ("s", "Lamp", "home", "1.50")


@pytest.mark.parametrize(
    ("dataset", "columns", "cases"),
    [
        pytest.param(
            "users",
            USER_COLUMNS,
            [
                (USER, []),
                (("u", None, None, "DE"), []),
                ((None, *USER[1:]), ["user_id_given"]),
                (("u", None, " 2024-05-01\t", "DE"), []),
                (("u", None, "  ", "DE"), []),
                (("u", None, "x", "DE"), ["created_at_is_time"]),
                (("u", None, "1714557600", "DE"), ["time_is_no_number"]),
                (("u", None, "2016-12-31T23:59:60Z", "DE"), ["time_is_no_leap_second"]),
                ((LONGEST_ID, "x" * 65535, None, "x" * 512), []),
                ((LONG_ID, *USER[1:]), ["ids_fit"]),
                (("u", "x" * 65536, None, "DE"), ["texts_fit"]),
                (("u", None, None, "x" * 513), ["texts_fit"]),
                ((*USER[:3], None), ["country_given"]),
            ],
            id="users",
        ),
        pytest.param(
            "products",
            PRODUCT_COLUMNS,
            [
                (PRODUCT, []),
                (("s", None, "home", None), []),
                ((None, *PRODUCT[1:]), ["sku_given"]),
                ((*PRODUCT[:3], "\u00a01.50 "), []),
                ((*PRODUCT[:3], "1,50"), ["numbers_are_plain"]),
                ((*PRODUCT[:3], "1.50001"), ["price_is_exact"]),
                ((LONGEST_ID, "x" * 65535, "x" * 512, "1"), []),
                ((LONG_ID, *PRODUCT[1:]), ["ids_fit"]),
                (("s", "x" * 65536, "home", "1"), ["texts_fit"]),
                (("s", "Lamp", "x" * 513, "1"), ["texts_fit"]),
                (("s", "Lamp", None, "1"), ["category_given"]),
            ],
            id="products",
        ),
    ],
)
def test_each_rule_of_a_dimension_is_broken_by_a_line_that_breaks_nothing_else(
    spark: SparkSession, dataset: str, columns: tuple[str, ...], cases: list[tuple[tuple[str | None, ...], list[str]]]
) -> None:
    given = ", ".join(f"{name}: STRING" for name in columns)
    rows = [(",".join(map(str, line)), None, "f", 1, datetime(2024, 5, 1, tzinfo=UTC), line) for line, _ in cases]
    records = frame(spark, f"raw STRING, read_error STRING, {FILE_COLUMNS}, given STRUCT<{given}>", *rows)
    parse = {"users": parse_users, "products": parse_products}[dataset]
    found = judge(parse(records), RULE_BOOK.of(dataset)).collect()
    assert [row["broken_rules"] for row in found] == [broken for _, broken in cases]
    assert {rule for _, broken in cases for rule in broken} == set(RULE_BOOK.of(dataset))
    refusing = {name for name, rule in RULE_BOOK.of(dataset).items() if rule.severity != "warn"}
    assert [row["outcome"] for row in found] == ["rejected" if refusing & set(broken) else None for _, broken in cases]


TODAY = datetime.now(UTC).date()
VIEW: Mapping[str, Any] = {"day": "2020-11-01", "user_id": 98702}
PLACE: Mapping[str, Any] = {"position": 0, "value_prop": "point"}
VIEW_CASES: list[tuple[Mapping[str, Any], Mapping[str, Any], list[str]]] = [
    ({}, {}, []),
    ({"user_id": "98702", "day": "1900-01-01", "note": 1}, {"position": "3", "value_prop": "transport"}, []),
    ({}, {"position": -(2**31)}, ["position_not_negative"]),
    ({}, {"position": None}, ["position_given"]),
    ({}, {"value_prop": "gift_card"}, ["value_prop_known"]),
    ({}, {"value_prop": "Point"}, ["value_prop_known"]),
    ({"user_id": None}, {}, ["user_id_given"]),
    ({"user_id": ""}, {}, ["user_id_given"]),
    ({}, {"value_prop": None}, ["value_prop_given"]),
    ({}, {"value_prop": ""}, ["value_prop_given"]),
    ({"day": None}, {}, ["day_given"]),
    ({"day": ""}, {}, ["day_is_date"]),
    ({"day": "2020-11-31"}, {}, ["day_is_date"]),
    ({"day": 20201101}, {}, ["day_is_date"]),
    ({"day": "2020-11-01\n"}, {}, ["day_is_date"]),
    ({"day": str(TODAY)}, {}, []),
    ({"day": str(TODAY + timedelta(days=3))}, {}, ["day_not_in_future"]),
    ({"user_id": LONG_ID}, {}, ["ids_fit"]),
    ({}, {"value_prop": LONG_ID}, ["ids_fit", "value_prop_known"]),
    ({}, {"position": 1.5}, ["position_is_whole"]),
    ({}, {"position": 2**31}, ["position_is_whole"]),
    ({}, {"position": ""}, ["position_is_whole"]),
    ({}, {"position": True}, ["position_is_whole"]),
]


@pytest.mark.parametrize("dataset", ["prints", "taps"])
def test_each_rule_of_prints_and_taps_is_broken_by_a_record_that_breaks_nothing_else(
    spark: SparkSession, dataset: str
) -> None:
    cases = [
        (json.dumps({**VIEW, **changes, "event_data": {**PLACE, **place}}), rules)
        for changes, place, rules in VIEW_CASES
    ]
    records = frame(spark, "raw STRING, read_error STRING", *((raw, None) for raw, _ in cases))
    agree_on_events(parse_views(records), dataset, cases)


PAY = ("2020-11-01", "12.5", "98702", "point")
PAY_CASES: list[tuple[tuple[str | None, ...], list[str]]] = [
    (PAY, []),
    (("1900-01-01", "0", "u", "transport"), []),
    ((str(TODAY), "1e2", "u", "send_money"), []),
    ((PAY[0], "-0.0001", *PAY[2:]), ["total_not_negative"]),
    ((*PAY[:3], "gift_card"), ["value_prop_known"]),
    ((*PAY[:2], None, PAY[3]), ["user_id_given"]),
    ((*PAY[:3], None), ["value_prop_given"]),
    ((None, *PAY[1:]), ["day_given"]),
    (("2020-11-31", *PAY[1:]), ["day_is_date"]),
    (("01.11.2020", *PAY[1:]), ["day_is_date"]),
    ((str(TODAY + timedelta(days=3)), *PAY[1:]), ["day_not_in_future"]),
    ((PAY[0], None, *PAY[2:]), ["total_given"]),
    ((f" {PAY[0]} ", "\t12.5 ", *PAY[2:]), []),
    ((PAY[0], "1.234,50", *PAY[2:]), ["numbers_are_plain"]),
    ((*PAY[:2], LONG_ID, PAY[3]), ["ids_fit"]),
    ((*PAY[:3], LONG_ID), ["ids_fit", "value_prop_known"]),
    ((PAY[0], "free", *PAY[2:]), ["total_is_exact"]),
    ((PAY[0], "0.00001", *PAY[2:]), ["total_is_exact"]),
    ((PAY[0], "100000000000000", *PAY[2:]), ["total_is_exact"]),
]


def test_each_rule_of_pays_is_broken_by_a_line_that_breaks_nothing_else(spark: SparkSession) -> None:
    given = ", ".join(f"{name}: STRING" for name in PAY_COLUMNS)
    cases = [(",".join(field or "" for field in line), rules) for line, rules in PAY_CASES]
    rows = [(raw, None, line) for (raw, _), (line, _) in zip(cases, PAY_CASES, strict=True)]
    records = frame(spark, f"raw STRING, read_error STRING, given STRUCT<{given}>", *rows)
    agree_on_events(parse_pays(records), "pays", cases)


def agree_on_events(parsed: DataFrame, dataset: str, cases: list[tuple[str, list[str]]]) -> None:
    """Every record breaks just these rules, all rules occur, and the first look lets pass just what breaks none."""
    rules = RULE_BOOK.of(dataset)
    rows = judge(parsed.withColumn("holds_all", holds_all(rules)), rules).collect()
    assert [(row["raw"], row["broken_rules"]) for row in rows] == cases
    assert {rule for _, broken in cases for rule in broken} == set(rules)
    refusing = {name for name, rule in rules.items() if rule.severity != "warn"}
    assert [row["outcome"] for row in rows] == ["rejected" if refusing & set(broken) else None for _, broken in cases]
    assert [row["holds_all"] for row in rows] == [not broken for _, broken in cases]


def test_a_record_holds_all_rules_unless_one_is_broken_or_unknown(spark: SparkSession) -> None:
    found = frame(spark, "n INT", (1,), (10,), (0,), (-5,), (None,))
    assert_same(
        found.select("n", holds_all(RULES).alias("holds"), holds_all({}).alias("without rules")),
        frame(
            spark,
            "n INT, holds BOOLEAN, `without rules` BOOLEAN",
            *[(1, True, True), (10, False, True), (0, False, True), (-5, False, True), (None, False, True)],
        ),
    )


def test_every_dataset_has_structural_rules_that_are_known() -> None:
    assert set(DATASETS) == set(RuleBook.model_fields)
    assert {name for entry in DATASETS.values() for name in entry.structural} == set(STRUCTURAL)
    for dataset in ("prints", "taps"):
        assert set(STRUCTURAL) - set(DATASETS[dataset].structural) == {
            "malformed_csv",
            "wrong_column_count",
            "broken_array",
        }
    assert set(DATASETS["pays"].structural) == {
        *("not_utf8", "nul_in_text", "no_key"),
        *("malformed_csv", "wrong_column_count"),
    }


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_a_line_that_is_no_csv_breaks_the_structural_rule_alone(spark: SparkSession) -> None:
    at = datetime(2024, 5, 1, tzinfo=UTC)
    lines = [(b"u\x00", None), (b"\xff", None), (b"u,x", "wrong_column_count"), (b'"u"x', "malformed_csv")]
    rows = [(raw, error, "f", 1, at, ("u", None, None, None)) for raw, error in lines]
    given = ", ".join(f"{name}: STRING" for name in USER_COLUMNS)
    records = frame(spark, f"raw BINARY, read_error STRING, {FILE_COLUMNS}, given STRUCT<{given}>", *rows)
    found = judge(parse_users(records.withColumn("raw", F.col("raw").cast("string"))), RULE_BOOK.of("users"))
    assert [(row["broken_rules"], row["outcome"], row["key"]) for row in found.collect()] == [
        ([rule], "rejected", None) for rule in ("nul_in_text", "not_utf8", "wrong_column_count", "malformed_csv")
    ]
