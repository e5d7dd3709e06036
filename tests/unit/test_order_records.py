"""Order records: JSON texts as typed columns, ready for the rules and for the contest of versions."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.records import parse_orders
from tests.frames import frame

VERSION_FIELDS = ("updated_at", "created_at")
CREATED = '"created_at":"2024-05-01T10:00:00Z"'


def orders(spark: SparkSession, *raws: str, version_fields: Sequence[str] = VERSION_FIELDS) -> DataFrame:
    """These records as orders; `id` is the order in which they stand here."""
    records = frame(spark, "raw STRING, read_error STRING, id INT", *((raw, None, at) for at, raw in enumerate(raws)))
    return parse_orders(records, version_fields)


def test_every_member_becomes_a_typed_column(spark: SparkSession) -> None:
    raw = """{"order_id":"a","user_id":7,"amount":12.50,"currency":"EUR","created_at":"2024-05-01T23:30:00-02:00",
        "updated_at":"2024-05-03","deleted":false,"metadata":{"source":"web","promo":null},
        "items":[{"sku":"s1","qty":2,"price":5},{"sku":"s2","qty":1.0,"price":"2.50"}]}"""
    actual = orders(spark, raw).select(
        *("order_id", "user_id", "amount", "currency", "source", "promo", "is_deleted", "line_count", "order_date"),
        *(F.col(name).cast("string").alias(name) for name in ("created_at", "updated_at", "version_at")),
        *("items", "lines", "key", "parse_error"),
    )
    expected = frame(
        spark,
        """order_id STRING, user_id STRING, amount DECIMAL(18,4), currency STRING, source STRING, promo STRING,
        is_deleted BOOLEAN, line_count INT, order_date DATE, created_at STRING, updated_at STRING, version_at STRING,
        items ARRAY<STRUCT<sku: STRING, qty: INT, unit_price: DECIMAL(18,4), given_qty: STRING, given_price: STRING>>,
        lines ARRAY<STRUCT<sku: STRING, qty: INT, unit_price: DECIMAL(18,4)>>, key STRING, parse_error STRING""",
    )
    assert actual.schema.simpleString() == expected.schema.simpleString()
    row = actual.collect()[0].asDict(recursive=True)
    two_fifty = Decimal("2.5000")
    assert {name: str(value) if name == "order_date" else value for name, value in row.items()} == {
        "order_id": "a",
        "user_id": "7",
        "amount": Decimal("12.5000"),
        "currency": "EUR",
        "source": "web",
        "promo": None,
        "is_deleted": False,
        "line_count": 2,
        "order_date": "2024-05-02",
        "created_at": "2024-05-02 01:30:00",
        "updated_at": "2024-05-03 00:00:00",
        "version_at": "2024-05-03 00:00:00",
        "items": [
            {"sku": "s1", "qty": 2, "unit_price": Decimal("5.0000"), "given_qty": "2", "given_price": "5"},
            {"sku": "s2", "qty": 1, "unit_price": two_fifty, "given_qty": "1.0", "given_price": "2.50"},
        ],
        "lines": [
            {"sku": "s1", "qty": 2, "unit_price": Decimal("5.0000")},
            {"sku": "s2", "qty": 1, "unit_price": two_fifty},
        ],
        "key": "a",
        "parse_error": None,
    }


def test_a_value_that_cannot_be_read_is_null_beside_what_was_given(spark: SparkSession) -> None:
    bad = """{"amount":"1,25","created_at":"yesterday","updated_at":1714557600,"metadata":{},
        "items":[{"sku":"s1","qty":1.5,"price":"x"}]}"""
    actual = orders(spark, bad, "{}").select(
        *("amount", "created_at", "updated_at", "order_date", "version_at", "key", "items", "given")
    )
    rows = [row.asDict(recursive=True) for row in actual.collect()]
    nothing = dict.fromkeys(("amount", "created_at", "updated_at", "order_date", "version_at", "key"))
    unread = {"sku": "s1", "qty": None, "unit_price": None, "given_qty": "1.5", "given_price": "x"}
    given = {"created_at": "yesterday", "updated_at": "1714557600", "amount": "1,25", "metadata": True}
    assert rows == [
        {**nothing, "items": [unread], "given": given},
        {**nothing, "items": None, "given": {**dict.fromkeys(given), "metadata": False}},
    ]


VERSIONS: list[tuple[str, str | None, str | None]] = [
    # the record, its version by (updated_at, created_at), its version by created_at alone
    (f'{{{CREATED},"updated_at":"2024-05-02"}}', "2024-05-02 00:00:00", "2024-05-01 10:00:00"),
    (f'{{{CREATED},"updated_at":"2024-04-30"}}', "2024-04-30 00:00:00", "2024-05-01 10:00:00"),
    (f'{{{CREATED},"updated_at":null}}', "2024-05-01 10:00:00", "2024-05-01 10:00:00"),
    (f"{{{CREATED}}}", "2024-05-01 10:00:00", "2024-05-01 10:00:00"),
    ('{"updated_at":"2024-05-02"}', None, None),
    ('{"created_at":"x","updated_at":"2024-05-02"}', None, None),
]
LINE = '{"sku":"s","qty":1,"price":1}'
LINE_COUNTS = {
    f'{{"items":[{LINE},{LINE}]}}': 2,
    '{"items":[]}': 0,
    '{"items":null}': 0,
    '{"order_id":"a"}': 0,
    f'{{"deleted":true,"items":[{LINE}]}}': 0,
    f'{{"deleted":false,"items":[{LINE}]}}': 1,
    f'{{"deleted":null,"items":[{LINE}]}}': 1,
}
HAVE_ZONES = {
    f"{{{CREATED}}}": True,
    f'{{{CREATED},"updated_at":"2024-05-02T10:00:00+02:00"}}': True,
    f'{{{CREATED},"updated_at":"2024-05-02T10:00:00"}}': False,
    '{"created_at":"2024-05-01T10:00:00"}': False,
    '{"created_at":"2024-05-01"}': False,
    '{"order_id":"a"}': True,
}
ORDER: dict[str, Any] = {
    "created_at": '"2024-05-01T10:00:00Z"',
    "user_id": '"u"',
    "amount": "1.5",
    "currency": '"EUR"',
    "metadata": '{"source":"web","promo":"p"}',
    "deleted": "false",
    "items": '[{"sku":"s","qty":1,"price":1.5},{"sku":"t","qty":1,"price":null}]',
}
NO_ITEMS, NULL_ITEMS = {"items": "[]"}, {"items": "null"}
SAME = [
    {"created_at": '"2024-05-01T12:00:00+02:00"'},
    {"amount": "1.50"},
    {"amount": '"1.5000"'},
    {"amount": "15e-1"},
    {"deleted": "null"},
    {"metadata": '{ "promo" : "p" , "source" : "web", "unknown": 1 }'},
    {"items": '[{"price":1.50,"qty":1.0,"sku":"s"},{"sku":"t","qty":1}]'},
    {"updated_at": '"2024-05-09T10:00:00Z"'},
    {"unknown": "1"},
]
OTHER = [
    {"created_at": '"2024-05-01T10:00:00.000001Z"'},
    {"user_id": '"v"'},
    {"user_id": "null"},
    {"amount": "1.5001"},
    {"amount": "null"},
    {"currency": '"USD"'},
    {"metadata": '{"source":"app","promo":"p"}'},
    {"metadata": '{"source":"web","promo":"q"}'},
    {"metadata": '{"source":"p","promo":"web"}'},
    {"deleted": "true"},
    {"items": '[{"sku":"s","qty":2,"price":1.5},{"sku":"t","qty":1,"price":null}]'},
    {"items": '[{"sku":"s","qty":1,"price":1.6},{"sku":"t","qty":1,"price":null}]'},
    {"items": '[{"sku":"s","qty":1,"price":1.5},{"sku":"t","qty":1,"price":0}]'},
    {"items": '[{"sku":"t","qty":1,"price":null},{"sku":"s","qty":1,"price":1.5}]'},
    {"items": '[{"sku":"s","qty":1,"price":1.5}]'},
    NO_ITEMS,
]


def written(changes: dict[str, str]) -> str:
    """The order with these changes, as JSON."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in {**ORDER, **changes}.items()) + "}"


@pytest.fixture(scope="module")
def read(spark: SparkSession) -> dict[str, Row]:
    """What one query makes of all these records."""
    raws = [*(raw for raw, _, _ in VERSIONS), *LINE_COUNTS, *HAVE_ZONES, *map(written, [{}, *SAME, *OTHER, NULL_ITEMS])]
    return {row["raw"]: row for row in orders(spark, *dict.fromkeys(raws)).collect()}


def version_of(row: Row) -> str | None:
    return row["version_at"] and str(row["version_at"])


def test_the_version_is_the_first_given_of_its_fields_and_needs_a_created_at(
    spark: SparkSession, read: dict[str, Row]
) -> None:
    assert {raw: version_of(read[raw]) for raw, _, _ in VERSIONS} == {raw: version for raw, version, _ in VERSIONS}
    alone = orders(spark, *(raw for raw, _, _ in VERSIONS), version_fields=("created_at",)).collect()
    assert {row["raw"]: version_of(row) for row in alone} == {raw: version for raw, _, version in VERSIONS}


def test_an_order_counts_the_lines_that_it_has(read: dict[str, Row]) -> None:
    assert {raw: read[raw]["line_count"] for raw in LINE_COUNTS} == LINE_COUNTS


def test_times_without_a_zone_are_noticed(read: dict[str, Row]) -> None:
    assert {raw: read[raw]["has_time_zones"] for raw in HAVE_ZONES} == HAVE_ZONES


def test_equal_contents_have_one_hash_and_different_ones_another(read: dict[str, Row]) -> None:
    same, other = ([read[written(changes)] for changes in some] for some in ([{}, *SAME], OTHER))
    first = same[0]["content_hash"]
    assert [row["raw"] for row in same if row["content_hash"] != first] == []
    assert len({row["content_hash"] for row in other} - {first}) == len(OTHER)


def test_no_items_and_null_items_are_the_same_content(read: dict[str, Row]) -> None:
    first, second = (read[written(changes)] for changes in (NO_ITEMS, NULL_ITEMS))
    assert (first["content_hash"], first["lines"]) == (second["content_hash"], second["lines"])
    assert first["lines"] == []
