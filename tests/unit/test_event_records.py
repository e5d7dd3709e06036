"""Print, tap and pay records: the texts of a line as the typed columns of an event."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.records import PAY_COLUMNS, parse_pays, parse_views
from tests.frames import assert_same, frame

DAY, MIDNIGHT = date(2020, 11, 1), datetime(2020, 11, 1)
EVENT = ("day", "user_id", "value_prop", "position", "amount", "key", "version_at", "content_hash")
VIEW = '{"day":"2020-11-01","event_data":{"position":0,"value_prop":"point"},"user_id":98702}'
LONG = "12345678901234567890"


def lines_of(spark: SparkSession, raws: Iterable[str | bytes]) -> DataFrame:
    """Lines as they are read from a file: `at` is their place, and bytes need not be UTF-8."""
    rows = ((at, raw.encode() if isinstance(raw, str) else raw, None) for at, raw in enumerate(raws))
    return frame(spark, "at INT, raw BINARY, read_error STRING", *rows).withColumn("raw", F.col("raw").cast("string"))


def in_order(found: DataFrame) -> list[Row]:
    return sorted(found.collect(), key=lambda row: row["at"])


def view(**values: str) -> str:
    """A print or tap with these values, each as it is written in JSON."""
    found = {"day": '"2020-11-01"', "position": "0", "value_prop": '"point"', "user_id": "98702"} | values
    data = f'{{"position":{found["position"]},"value_prop":{found["value_prop"]}}}'
    return f'{{"day":{found["day"]},"event_data":{data},"user_id":{found["user_id"]}}}'


def test_a_view_has_its_typed_columns_and_no_amount(spark: SparkSession) -> None:
    assert view() == VIEW
    added = "given STRUCT<day: STRING, position: STRING>, day DATE, user_id STRING, value_prop STRING, position INT,"
    added = f"raw STRING, {added} amount DECIMAL(18,4), key STRING, version_at TIMESTAMP, parse_error STRING"
    expected = frame(spark, added, (VIEW, ("2020-11-01", "0"), DAY, "98702", "point", 0, None, "98702", MIDNIGHT, None))
    lines = lines_of(spark, [VIEW])
    assert_same(parse_views(lines).select(expected.columns), expected)


def test_what_is_added_stands_beside_what_was_there(spark: SparkSession) -> None:
    lines = lines_of(spark, [])
    there, event = {"at", "raw", "read_error"}, {"given", *EVENT, "parse_error"}
    assert set(parse_views(lines).columns) == there | event | {"unknown_fields"}
    assert len(parse_views(lines).columns) == len(set(parse_views(lines).columns))


POSITIONS = {
    "0": 0,
    "-3": -3,
    '"3"': 3,
    "2.0": 2,
    '"2.0"': 2,
    "2147483647": 2147483647,
    "-2147483648": -2147483648,
    '"2e0"': 2,
    "2147483648": None,
    "-2147483649": None,
    "1.5": None,
    '"one"': None,
    '""': None,
    "true": None,
    "null": None,
    LONG: None,
    '"1e0"': 1,
    '" 1"': None,
    '"+1"': 1,
    '"-0"': 0,
    '"2147483647.0"': 2147483647,
    '"\x7f"': None,
}


DAYS = {
    '"2020-11-01"': DAY,
    '"2020-02-29"': date(2020, 2, 29),
    '"1900-01-01"': date(1900, 1, 1),
    '"9999-12-31"': date(9999, 12, 31),
    '"2021-02-29"': None,
    '"1899-12-31"': None,
    '"2020-11-1"': None,
    '"2020-11-01 "': None,
    '"2020-11-01T00:00:00Z"': None,
    '"today"': None,
    '""': None,
    "20201101": None,
    "null": None,
}
USERS = {
    "98702": "98702",
    '"98702"': "98702",
    "-7": "-7",
    "1": "1",
    "1.0": "1.0",
    "0.1": "0.1",
    "123456789012345": "123456789012345",
    "12345678901234567890": "12345678901234567890",
    '"007"': "007",
    '" u "': " u ",
    '"\\u00e9\\ud83d\\ude00"': "é😀",
    '"a\\"b\\\\c"': 'a"b\\c',
    '"a,b\\n"': "a,b\n",
    "true": "true",
    '""': "",
    "null": None,
}
MEMBERS: dict[str, tuple[Any, ...]] = {
    "{}": (None, None, None, None),
    '{"day":"2020-11-01"}': (DAY, None, None, None),
    '{"user_id":"u","event_data":null}': (None, None, None, "u"),
    '{"user_id":"u","event_data":{}}': (None, None, None, "u"),
    '{"event_data":{"position":1}}': (None, 1, None, None),
    '{"event_data":{"value_prop":"point"},"day":null}': (None, None, "point", None),
    '{"value_prop":"point","position":1,"User_id":"u"}': (None, None, None, None),
}
ERRORS: dict[str | bytes, str] = {
    VIEW.encode().replace(b"point", b"\xff"): "not_utf8",
    VIEW[:-1]: "malformed_json",
    VIEW + VIEW: "malformed_json",
    '{"user_id":1,' + VIEW[1:]: "malformed_json",
    view(user_id=r'"\u0000"'): "nul_in_text",
    view(value_prop=r'"\ud800"'): "lone_surrogate",
    f"[{VIEW}]": "not_an_object",
    "null": "not_an_object",
    view(user_id="{}"): "wrong_type",
    view(day='["2020-11-01"]'): "wrong_type",
    view(position="[0]"): "wrong_type",
    '{"day":"2020-11-01","event_data":"point","user_id":1}': "wrong_type",
    '{"day":"2020-11-01","event_data":[],"user_id":1}': "wrong_type",
    '{"day":"2020-11-01","event_data":0,"user_id":1}': "wrong_type",
}
FURTHER = {
    VIEW[:-1] + ',"x":1}': ["x"],
    VIEW.replace('"position"', '"y":{},"position"'): ["event_data.y"],
    VIEW: None,
}


@pytest.fixture(scope="module")
def strict(spark: SparkSession) -> dict[str | bytes, Row]:
    """What one query makes of all these lines."""
    values = {"position": POSITIONS, "day": DAYS, "user_id": USERS}
    lines = [view(**{name: value}) for name, some in values.items() for value in some]
    raws = dict.fromkeys([*lines, *MEMBERS, *ERRORS, *FURTHER])
    return dict(zip(raws, in_order(parse_views(lines_of(spark, raws))), strict=True))


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_a_position_is_a_whole_number_of_32_bits_or_null(strict: dict[str | bytes, Row]) -> None:
    rows = [strict[view(position=value)] for value in POSITIONS]
    assert [row["parse_error"] for row in rows] == [None] * len(rows)
    assert dict(zip(POSITIONS, (row["position"] for row in rows), strict=True)) == POSITIONS
    given = {value: None if value == "null" else value.strip('"') for value in POSITIONS}
    assert dict(zip(POSITIONS, (row["given"]["position"] for row in rows), strict=True)) == given


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_a_day_is_a_calendar_date_or_null(strict: dict[str | bytes, Row]) -> None:
    rows = [strict[view(day=value)] for value in DAYS]
    assert dict(zip(DAYS, (row["day"] for row in rows), strict=True)) == DAYS
    texts = [None if value == "null" else value.strip('"') for value in DAYS]
    assert [row["given"]["day"] for row in rows] == texts
    midnights = [None if day is None else datetime(day.year, day.month, day.day) for day in DAYS.values()]
    assert [row["version_at"] for row in rows] == midnights


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_a_user_is_a_text_however_it_is_written(strict: dict[str | bytes, Row]) -> None:
    rows = [strict[view(user_id=value)] for value in USERS]
    found = [(row["user_id"], row["key"], row["parse_error"]) for row in rows]
    assert dict(zip(USERS, found, strict=True)) == {value: (text, text, None) for value, text in USERS.items()}


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_members_that_are_not_there_are_null(strict: dict[str | bytes, Row]) -> None:
    rows = [strict[raw] for raw in MEMBERS]
    found = [(row["day"], row["position"], row["value_prop"], row["user_id"]) for row in rows]
    assert dict(zip(MEMBERS, found, strict=True)) == MEMBERS
    assert [row["parse_error"] for row in rows] == [None] * len(rows)
    assert [row["unknown_fields"] for row in rows[:-1]] == [None] * (len(rows) - 1)
    assert sorted(rows[-1]["unknown_fields"]) == ["User_id", "position", "value_prop"]


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_a_view_that_cannot_be_parsed_says_why(strict: dict[str | bytes, Row]) -> None:
    assert {raw: strict[raw]["parse_error"] for raw in ERRORS} == ERRORS


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_further_members_are_named_with_their_place(strict: dict[str | bytes, Row]) -> None:
    assert {raw: strict[raw]["unknown_fields"] for raw in FURTHER} == FURTHER
    assert [strict[raw]["user_id"] for raw in FURTHER] == ["98702"] * 3


def test_plain_and_strict_agree_on_what_is_plain(spark: SparkSession) -> None:
    values = {
        "day": ['"2020-11-01"', '"2021-02-29"', '"9999-12-31"', "20201101", '""', '" 2020-11-01"', '"2020-11-01T00"'],
        "position": [value for value in POSITIONS if value not in {"2.0", "1.5", "true", "null", LONG}],
        "value_prop": ['"point"', '"Point"', '""', "7", '"{"', '"[1]"', '"é\u2028"', '"null"', '"true"'],
        "user_id": ["0", "-1", "123456789012345", '"00"', '"1.0"', '"1e400"', '""', '" u "', f'"{LONG}"'],
    }
    lines = lines_of(spark, [view(**{name: value}) for name, some in values.items() for value in some])
    columns = ["at", "given", *EVENT, "parse_error"]
    # A blank behind a line changes no value, and such a line is not plain.
    spaced = lines.withColumn("raw", F.concat("raw", F.lit(" ")))
    plain, strict = parse_views(lines).select(columns), parse_views(spaced).select(columns)
    assert [row["parse_error"] for row in plain.collect()] == [None] * sum(map(len, values.values()))
    hashed = strict.withColumn("content_hash", F.lit(0)), plain.withColumn("content_hash", F.lit(0))
    assert_same(*hashed)


def test_equal_lines_have_equal_hashes_and_others_do_not(spark: SparkSession) -> None:
    raws = [VIEW, VIEW, VIEW.replace(":", ": "), view(position="1"), "", " "]
    hashes = [row["content_hash"] for row in in_order(parse_views(lines_of(spark, raws)))]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5
    pays = parse_pays(paid(spark, ("x", None, ("", "", "", "")), ("x", None, ("2020-11-01", "1", "u", "point"))))
    assert len({row["content_hash"] for row in pays.collect()}) == 1


# --- pays -------------------------------------------------------------------------------------------------------------


def paid(spark: SparkSession, *rows: tuple[str | bytes, str | None, tuple[str | None, ...]]) -> DataFrame:
    """Lines with their raw text, their read_error, and their fields pay_date, total, user_id, value_prop."""
    fields = ", ".join(f"{name}: STRING" for name in PAY_COLUMNS)
    lines = (
        (at, raw if isinstance(raw, bytes) else raw.encode(), error, given)
        for at, (raw, error, given) in enumerate(rows)
    )
    read = frame(spark, f"at INT, raw BINARY, read_error STRING, given STRUCT<{fields}>", *lines)
    return read.withColumn("raw", F.col("raw").cast("string"))


def test_a_pay_has_its_typed_columns_and_no_position(spark: SparkSession) -> None:
    lines = paid(spark, ("a", None, ("2020-11-01", "7.04", "98702", "point")), ("b", None, (None, None, None, None)))
    columns = """raw STRING, given STRUCT<day: STRING, total: STRING>, day DATE, user_id STRING, value_prop STRING,
        position INT, amount DECIMAL(18,4), key STRING, version_at TIMESTAMP, parse_error STRING,
        unknown_fields ARRAY<STRING>"""
    event = (DAY, "98702", "point", None, Decimal("7.04"), "98702", MIDNIGHT)
    expected = frame(
        spark,
        columns,
        ("a", ("2020-11-01", "7.04"), *event, None, None),
        ("b", (None, None), *[None] * 7, None, None),
    )
    actual = parse_pays(lines)
    assert_same(actual.select(expected.columns), expected)
    assert set(actual.columns) == {"at", "read_error", "content_hash", "has_styled_numbers", *expected.columns}


def test_a_total_is_an_exact_amount_or_null(spark: SparkSession) -> None:
    totals = {
        "7.04": Decimal("7.04"),
        "0": Decimal(0),
        "-1.5": Decimal("-1.5"),
        "0.0001": Decimal("0.0001"),
        "99999999999999.9999": Decimal("99999999999999.9999"),
        "1.10000": Decimal("1.1"),
        "1e2": Decimal(100),
        "1.5E-3": Decimal("0.0015"),
        "0.00001": None,
        "100000000000000": None,
        "1,5": None,
        " 1": Decimal(1),
        "+1": Decimal(1),
        "1.": Decimal(1),
        ".5": Decimal("0.5"),
        "NaN": None,
        "free": None,
        None: None,
    }
    lines = paid(spark, *((f"line {total}", None, ("2020-11-01", total, "u", "point")) for total in totals))
    rows = in_order(parse_pays(lines))
    assert dict(zip(totals, (row["amount"] for row in rows), strict=True)) == totals
    assert [row["given"]["total"] for row in rows] == [total and total.strip() for total in totals]
    assert [row["parse_error"] for row in rows] == [None] * len(rows)


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_a_pay_that_cannot_be_parsed_says_why(spark: SparkSession) -> None:
    fields = ("2020-11-01", "1", "u", "point")
    lines = paid(
        spark,
        ('"open', "malformed_csv", (None,) * 4),
        (b"1,\xff", "wrong_column_count", fields),
        (b"2020-11-01,1,\xff,point", None, fields),
        (b"2020-11-01,1,\xff\x00,point", None, fields),
        ("2020-11-01,1,u\x00,point", None, fields),
        ("2020-11-01,1,\\u0000,point", None, fields),
    )
    errors = [row["parse_error"] for row in in_order(parse_pays(lines))]
    assert errors == ["malformed_csv", "wrong_column_count", "not_utf8", "not_utf8", "nul_in_text", None]


def test_the_same_user_is_the_same_text_in_every_dataset(spark: SparkSession) -> None:
    views = lines_of(spark, [view(user_id="98702"), view(user_id='"98702"')])
    pays = paid(spark, ("a", None, ("2020-11-01", "1", "98702", "point")))
    for events in (parse_views(views), parse_pays(pays)):
        found = events.select("day", "user_id", "value_prop").collect()
        assert set(found) == {Row(day=DAY, user_id="98702", value_prop="point")}
