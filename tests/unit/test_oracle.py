"""The oracle is right: each rule once, on records small enough to check by eye."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.histories import (
    ABSENT,
    BREAKS,
    WRONG,
    DroppedFile,
    History,
    as_written,
    correct,
    generate_orders,
    histories,
    shrink,
    write_file,
)
from tests.oracle import OUTCOMES, BatchResult, LandedFile, RecordError, Warehouse, read_order

ITEM = {"sku": "A", "qty": 2, "price": 1.5}
V1, V2, V3 = "2024-03-01T10:00:00Z", "2024-03-02T10:00:00Z", "2024-03-03T10:00:00Z"


def raw(**members: Any) -> str:
    """A valid record of order o1; tests state only the members they are about."""
    return as_written({"order_id": "o1", "created_at": V1, "items": [ITEM]} | members)


def load(
    warehouse: Warehouse, *records: str, path: str = "f", modified_at: int = 0, **window: datetime | None
) -> BatchResult:
    """One batch of one file."""
    return warehouse.load([LandedFile(path, modified_at, records)], **window)


def counts(result: BatchResult) -> dict[str, int]:
    """The outcomes that occurred."""
    return {outcome: count for outcome, count in result.outcomes.items() if count}


def quantities(warehouse: Warehouse) -> list[int]:
    return [row["qty"] for row in warehouse.fact_sales.values()]


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", WRONG, ids=lambda fault: repr(fault).replace("\0", "NUL"))
def test_a_record_that_breaks_a_rule_is_rejected(fault: dict[str, Any]) -> None:
    read_order(raw())
    with pytest.raises(RecordError):
        read_order(raw(**fault))


@pytest.mark.parametrize(
    "text",
    [
        *(fault(raw()) for fault in BREAKS),
        "",
        "null",
        "7",
        '"o1"',
        "[]",
        raw() + raw(),
        "\ufeff" * 2 + raw(),
        "[" * 100_000,
    ],
    ids=lambda text: repr(text)[:60],
)
def test_a_text_that_is_no_single_json_object_is_rejected(text: str) -> None:
    with pytest.raises(RecordError):
        read_order(text)


def test_a_duplicate_name_is_rejected_at_any_depth() -> None:
    with pytest.raises(RecordError, match="twice"):
        read_order(raw()[:-1] + ', "metadata": {"source": "web", "source": "app"}}')


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_know_is_rejected(constant: str) -> None:
    with pytest.raises(RecordError, match="no JSON number"):
        read_order(raw(amount=f"<{constant}>"))


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("<1.10>", "1.1"),
        ("12.50", "12.5"),
        ("+.5", "0.5"),
        ("5.", "5"),
        ("12500000E-6", "12.5"),
        (3, "3"),
        ("<-0.0001>", "-0.0001"),
        ("<1.23450000000>", "1.2345"),
        ("<2e1>", "20"),
        ("<99999999999999.9999>", "99999999999999.9999"),
        ("<0e999999999>", "0"),
        ("<1." + "0" * 10_000 + ">", "1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_amount_is_read_exactly(written: object, amount: str) -> None:
    assert read_order(raw(amount=written)).amount == Decimal(amount)


@pytest.mark.parametrize(
    "written",
    [
        "<100000000000000>",
        "<0.00001>",
        "<1.00000000000000000000000000000000000001>",
        "<1e999999999>",
        "<1e99999999999999999999999>",
        "1_000",
        " 1",
        "+-1",
        ".",
        "\u0661",
        "",
        False,
    ],
)
def test_an_amount_that_does_not_fit_is_rejected(written: object) -> None:
    with pytest.raises(RecordError, match="amount"):
        read_order(raw(amount=written))


def test_a_null_amount_and_a_null_price_are_kept() -> None:
    order = read_order(raw(amount=None, items=[ITEM | {"price": None}, {"sku": "B", "qty": 1}]))
    assert (order.amount, [item.price for item in order.items]) == (None, [None, None])


@pytest.mark.parametrize(
    ("written", "qty"), [("<2.0>", 2), ("2", 2), (0, 0), (-1, -1), (2**31 - 1, 2**31 - 1), (-(2**31), -(2**31))]
)
def test_a_quantity_may_be_any_32_bit_integer(written: object, qty: int) -> None:
    assert read_order(raw(items=[ITEM | {"qty": written}])).items[0].qty == qty


@pytest.mark.parametrize("written", ["<2.5>", "<1e-1>", 2**31, -(2**31) - 1, "<1e400>", "two", None, True])
def test_any_other_quantity_is_rejected(written: object) -> None:
    with pytest.raises(RecordError, match="qty"):
        read_order(raw(items=[ITEM | {"qty": written}]))


@pytest.mark.parametrize(
    ("written", "text"), [("u1", "u1"), ("<1.10>", "1.10"), (True, "true"), ("", ""), (None, None)]
)
def test_a_number_or_a_boolean_counts_as_its_text(written: object, text: str | None) -> None:
    assert read_order(raw(user_id=written)).user_id == text


def test_an_order_id_may_be_a_number() -> None:
    assert read_order(raw(order_id=7)).order_id == "7"


@pytest.mark.parametrize("items", [None, ABSENT, []], ids=["null", "absent", "empty"])
def test_absent_null_and_no_items_are_the_same(items: object) -> None:
    assert read_order(raw(items=items)).items == ()


def test_a_broken_item_rejects_a_deleted_order_too() -> None:
    with pytest.raises(RecordError, match="no sku"):
        read_order(raw(deleted=True, items=[{"qty": 1}]))


def test_unknown_members_are_no_content() -> None:
    assert read_order(raw(gift=True)) == read_order(raw())


def test_a_surrogate_pair_is_a_character_and_a_lone_surrogate_is_rejected() -> None:
    assert read_order(raw(user_id="\U0001f381")).user_id == "\U0001f381"
    for members in ({"gift": "\ud83c"}, {"\ud83c": 1}):
        with pytest.raises(RecordError, match="surrogates"):
            read_order(raw(**members))


def test_nul_is_rejected_in_any_text() -> None:
    for members in ({"gift": "\0"}, {"\0": 1}, {"gift": [{"to": "\0"}]}):
        with pytest.raises(RecordError, match="NUL"):
            read_order(raw(**members))


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2024-03-01", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2024-03-01T10:05", datetime(2024, 3, 1, 10, 5, tzinfo=UTC)),
        ("2024-03-01 10:05:07", datetime(2024, 3, 1, 10, 5, 7, tzinfo=UTC)),
        ("2024-03-01T10:05:07.5Z", datetime(2024, 3, 1, 10, 5, 7, 500_000, tzinfo=UTC)),
        ("2024-03-01T10:05:07,123456999Z", datetime(2024, 3, 1, 10, 5, 7, 123_456, tzinfo=UTC)),
        ("2024-03-01T01:00+05:30", datetime(2024, 2, 29, 19, 30, tzinfo=UTC)),
        ("2024-03-01T20:00-0800", datetime(2024, 3, 2, 4, 0, tzinfo=UTC)),
        ("2024-03-01T10:00+02", datetime(2024, 3, 1, 8, 0, tzinfo=UTC)),
        ("1899-12-31T23:00-01", datetime(1900, 1, 1, tzinfo=UTC)),
        ("20240301t100507z", datetime(2024, 3, 1, 10, 5, 7, tzinfo=UTC)),
        ("2024-02-29T24:00:00.0 +01:00[Europe/Berlin]", datetime(2024, 2, 29, 23, tzinfo=UTC)),
        ("2024-03-01 10:05:07 UTC", datetime(2024, 3, 1, 10, 5, 7, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_time_is_normalised_to_utc(written: str, moment: datetime) -> None:
    assert read_order(raw(created_at=written)).created_at == moment


@pytest.mark.parametrize(
    "written",
    [
        "2023-02-29",
        "2024-03-01T24:01",
        "2024-03-01T12:00:60",
        "2024-03-01T12:60",
        "2024-03-01T12",
        "2024-03-01Z",
        "2024-3-1",
        "20240301",
        "2024-03-01T12:00:00.1234567890",
        "2024-03-01T12:00:00.",
        "2024-03-01T12:00  +01:00",
        "2024-03-01T12:00[Europe/Berlin]",
        "2024-03-01T12:00+01:60",
        "2024-03-01T12:00+18:01",
        "2024-03-01T12:00 CET",
        " 2024-03-01",
        "2024-03-01\n",
        "1899-12-31",
        "1900-01-01T00:00+01:00",
        "9999-12-31T23:59-01:00",
        "0001-01-01T00:00+01:00",
        1709290800,
        True,
    ],
)
def test_any_other_time_is_rejected(written: object) -> None:
    with pytest.raises(RecordError, match="created_at"):
        read_order(raw(created_at=written))


@pytest.mark.parametrize("updated_at", [None, ABSENT], ids=["null", "absent"])
def test_the_version_is_updated_at_or_else_created_at(updated_at: object) -> None:
    assert read_order(raw(updated_at=updated_at)).version_at == datetime(2024, 3, 1, 10, tzinfo=UTC)
    assert read_order(raw(updated_at=V2)).version_at == datetime(2024, 3, 2, 10, tzinfo=UTC)


# --- outcomes -------------------------------------------------------------------------------------------------------


def test_every_outcome_is_counted_even_if_none_occurred(warehouse: Warehouse) -> None:
    assert load(warehouse).outcomes == dict.fromkeys(OUTCOMES, 0)


def test_a_new_order_is_inserted(warehouse: Warehouse) -> None:
    assert counts(load(warehouse, raw())) == {"inserted": 1}


def test_a_later_version_updates(warehouse: Warehouse) -> None:
    load(warehouse, raw())
    assert counts(load(warehouse, raw(updated_at=V2, items=[ITEM | {"qty": 9}]))) == {"updated": 1}
    assert quantities(warehouse) == [9]


def test_a_later_version_with_the_same_data_updates(warehouse: Warehouse) -> None:
    load(warehouse, raw(updated_at=V2))
    assert counts(load(warehouse, raw(updated_at=V3))) == {"updated": 1}


def test_an_older_version_is_stale(warehouse: Warehouse) -> None:
    load(warehouse, raw(updated_at=V2))
    assert counts(load(warehouse, raw(items=[]), modified_at=9)) == {"stale": 1}
    assert quantities(warehouse) == [2]


def test_the_same_content_is_unchanged_however_it_is_written(warehouse: Warehouse) -> None:
    load(warehouse, raw(amount="<1.50>", created_at=V1))
    again = load(warehouse, raw(amount="1.5", created_at="2024-03-01T15:30+05:30"), path="other", modified_at=9)
    assert counts(again) == {"unchanged": 1}


def test_an_unchanged_record_leaves_the_arrival_of_the_row(warehouse: Warehouse) -> None:
    load(warehouse, raw(), modified_at=1)
    load(warehouse, raw(), modified_at=9)
    assert counts(load(warehouse, raw(items=[]), modified_at=5)) == {"updated": 1}


@pytest.mark.parametrize(
    ("modified_at", "path", "outcome"),
    [(6, "a", "updated"), (4, "z", "stale"), (5, "z", "updated"), (5, "a", "stale"), (5, "m", "updated")],
)
def test_a_tie_with_the_table_goes_to_the_later_arrival(
    warehouse: Warehouse, modified_at: int, path: str, outcome: str
) -> None:
    load(warehouse, raw(), modified_at=5, path="m")
    assert counts(load(warehouse, raw(items=[]), modified_at=modified_at, path=path)) == {outcome: 1}


def test_only_the_latest_version_of_a_batch_competes_with_the_table(warehouse: Warehouse) -> None:
    result = load(warehouse, raw(updated_at=V3, items=[ITEM | {"qty": 3}]), raw(updated_at=V2), raw())
    assert counts(result) == {"superseded": 2, "inserted": 1}
    assert quantities(warehouse) == [3]


def test_a_tie_in_a_batch_goes_to_the_later_file_then_path_then_position(warehouse: Warehouse) -> None:
    one, two, three, four = (raw(items=[ITEM | {"qty": qty}]) for qty in (1, 2, 3, 4))
    files = [LandedFile("b", 5, [one, two]), LandedFile("a", 5, [three]), LandedFile("c", 4, [four])]
    assert counts(warehouse.load(files)) == {"superseded": 3, "inserted": 1}
    assert quantities(warehouse) == [2]


def test_records_outside_the_window_do_not_compete(warehouse: Warehouse) -> None:
    since, until = datetime(2024, 3, 1, 10, tzinfo=UTC), datetime(2024, 3, 2, 10, tzinfo=UTC)
    records = [raw(), raw(updated_at=V2), raw(created_at="2024-03-01T09:59:59Z"), "broken"]
    assert counts(load(warehouse, *records, since=since, until=until)) == {
        "inserted": 1,
        "out_of_window": 2,
        "rejected": 1,
    }
    assert warehouse.dim_order["o1"]["version_at"] == since


def test_a_rejected_record_is_kept_with_its_file_and_counted_again_when_met_again(warehouse: Warehouse) -> None:
    assert counts(load(warehouse, "broken", "broken", raw())) == {"rejected": 2, "inserted": 1}
    load(warehouse, "broken", path="g")
    assert {key: kept.occurrences for key, kept in warehouse.quarantine.items()} == {
        ("f", "broken"): 2,
        ("g", "broken"): 1,
    }


# --- conflicts ------------------------------------------------------------------------------------------------------


def test_two_contents_of_one_version_are_a_conflict(warehouse: Warehouse) -> None:
    assert load(warehouse, raw(), raw(items=[])).conflicts == {"o1"}


def test_a_conflict_below_the_winner_counts_too(warehouse: Warehouse) -> None:
    assert load(warehouse, raw(), raw(items=[]), raw(updated_at=V2)).conflicts == {"o1"}


def test_the_same_content_twice_is_no_conflict(warehouse: Warehouse) -> None:
    assert load(warehouse, raw(amount="<1.50>"), raw(amount="1.5")).conflicts == set()


def test_two_versions_are_no_conflict(warehouse: Warehouse) -> None:
    assert load(warehouse, raw(), raw(updated_at=V2, items=[])).conflicts == set()


@pytest.mark.parametrize("modified_at", [4, 6], ids=["stale", "updated"])
def test_another_content_of_the_tables_version_is_a_conflict(warehouse: Warehouse, modified_at: int) -> None:
    load(warehouse, raw(), modified_at=5)
    assert load(warehouse, raw(items=[]), modified_at=modified_at).conflicts == {"o1"}


def test_a_superseded_record_does_not_conflict_with_the_table(warehouse: Warehouse) -> None:
    load(warehouse, raw())
    assert load(warehouse, raw(items=[]), raw(updated_at=V2)).conflicts == set()


def test_a_record_outside_the_window_does_not_conflict(warehouse: Warehouse) -> None:
    until = datetime(2024, 3, 2, tzinfo=UTC)
    assert load(warehouse, raw(), raw(updated_at=V2), raw(updated_at=V2, items=[]), until=until).conflicts == set()


# --- tables ---------------------------------------------------------------------------------------------------------


def test_fact_sales_has_one_row_for_each_line(warehouse: Warehouse) -> None:
    items = [{"sku": "A", "qty": 3, "price": "<0.10>"}, {"sku": "B", "qty": 1}]
    load(warehouse, raw(created_at="2024-03-01T01:00+05:30", updated_at=V2, user_id="u", currency="EUR", items=items))
    first = {
        "order_id": "o1",
        "line_no": 1,
        "order_date": date(2024, 2, 29),
        "created_at": datetime(2024, 2, 29, 19, 30, tzinfo=UTC),
        "user_id": "u",
        "sku": "A",
        "qty": 3,
        "unit_price": Decimal("0.1"),
        "line_amount": Decimal("0.3"),
        "currency": "EUR",
        "version_at": datetime(2024, 3, 2, 10, tzinfo=UTC),
    }
    second = first | {"line_no": 2, "sku": "B", "qty": 1, "unit_price": None, "line_amount": None}
    assert warehouse.fact_sales == {("o1", 1): first, ("o1", 2): second}


def test_dim_order_has_one_row_for_each_order(warehouse: Warehouse) -> None:
    load(warehouse, raw(amount=3, metadata={"source": "web", "promo": "X"}), raw(order_id="o2", items=[]))
    assert warehouse.dim_order.keys() == {"o1", "o2"}
    assert warehouse.dim_order["o1"] == {
        "order_id": "o1",
        "order_date": date(2024, 3, 1),
        "created_at": datetime(2024, 3, 1, 10, tzinfo=UTC),
        "version_at": datetime(2024, 3, 1, 10, tzinfo=UTC),
        "user_id": None,
        "amount": Decimal(3),
        "currency": None,
        "source": "web",
        "promo": "X",
        "line_count": 1,
        "is_deleted": False,
    }
    assert warehouse.dim_order["o2"]["line_count"] == 0


def test_a_shrunk_order_loses_the_lines_it_no_longer_has(warehouse: Warehouse) -> None:
    load(warehouse, raw(items=[ITEM, ITEM, ITEM]))
    load(warehouse, raw(updated_at=V2, items=[ITEM]))
    assert warehouse.fact_sales.keys() == {("o1", 1)}
    load(warehouse, raw(updated_at=V3, items=None))
    assert (warehouse.fact_sales, warehouse.dim_order["o1"]["line_count"]) == ({}, 0)


def test_a_moved_order_stands_under_its_new_date_only(warehouse: Warehouse) -> None:
    load(warehouse, raw())
    load(warehouse, raw(created_at="2024-02-10", updated_at=V2))
    assert [row["order_date"] for row in warehouse.fact_sales.values()] == [date(2024, 2, 10)]
    assert [row["order_date"] for row in warehouse.dim_order.values()] == [date(2024, 2, 10)]


def test_a_deleted_order_keeps_its_row_and_loses_its_lines(warehouse: Warehouse) -> None:
    load(warehouse, raw())
    assert counts(load(warehouse, raw(updated_at=V2, deleted=True))) == {"updated": 1}
    assert warehouse.fact_sales == {}
    assert (warehouse.dim_order["o1"]["is_deleted"], warehouse.dim_order["o1"]["line_count"]) == (True, 0)


def test_a_late_older_version_does_not_bring_a_deleted_order_back(warehouse: Warehouse) -> None:
    assert counts(load(warehouse, raw(updated_at=V2, deleted=True))) == {"inserted": 1}
    assert counts(load(warehouse, raw(), modified_at=9)) == {"stale": 1}
    assert warehouse.fact_sales == {}


def test_a_version_after_the_deletion_brings_the_order_back(warehouse: Warehouse) -> None:
    load(warehouse, raw(updated_at=V2, deleted=True))
    load(warehouse, raw(updated_at=V3, deleted=False))
    assert quantities(warehouse) == [2]


def test_daily_sales_counts_orders_once_and_null_prices_as_nothing(warehouse: Warehouse) -> None:
    items = [{"sku": "A", "qty": 2, "price": "<1.50>"}, {"sku": "A", "qty": 1, "price": None}]
    load(warehouse, raw(user_id="u", currency="EUR", metadata={"source": "web"}, items=items))
    assert warehouse.daily_sales({"u": "DE"}, {"A": "books"}) == {
        (date(2024, 3, 1), "EUR", "DE", "books", "web"): {"orders": 1, "units": 3, "revenue": Decimal(3)}
    }


def test_daily_sales_never_adds_two_currencies_or_days(warehouse: Warehouse) -> None:
    load(warehouse, raw(currency="EUR"), raw(order_id="o2", currency="USD"), raw(order_id="o3", created_at=V2))
    assert {key[:2] for key in warehouse.daily_sales({}, {})} == {
        (date(2024, 3, 1), "EUR"),
        (date(2024, 3, 1), "USD"),
        (date(2024, 3, 2), "unknown"),
    }


@pytest.mark.parametrize(("users", "products"), [({}, {}), ({"u": None}, {"A": None})], ids=["no member", "no value"])
def test_daily_sales_calls_what_is_missing_unknown(
    warehouse: Warehouse, users: dict[str, str | None], products: dict[str, str | None]
) -> None:
    load(warehouse, raw(user_id="u"), raw(order_id="o2", user_id=None))
    assert warehouse.daily_sales(users, products) == {
        (date(2024, 3, 1), *["unknown"] * 4): {"orders": 2, "units": 4, "revenue": Decimal(6)}
    }


# --- histories ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(histories())
def test_replaying_a_batch_changes_nothing(history: History) -> None:
    warehouse = Warehouse()
    for batch in history:
        files = [file.landed(file.name) for file in batch]
        first = warehouse.load(files)
        before = dict(warehouse.current)
        second = warehouse.load(files)
        assert first.outcomes.total() == second.outcomes.total() == sum(len(file.records) for file in files)
        assert not second.outcomes["inserted"] + second.outcomes["updated"]
        assert warehouse.current == before


@settings(deadline=None)
@given(histories())
def test_the_order_of_the_files_of_a_batch_does_not_matter(history: History) -> None:
    one, other = Warehouse(), Warehouse()
    for batch in history:
        files = [file.landed(file.name) for file in batch]
        assert one.load(files) == other.load(reversed(files))
    assert one.current == other.current


def test_a_file_is_written_with_its_layout_and_its_time(tmp_path: Path) -> None:
    records = ('{"a": 1.10}', '{"a": "\u00e9"}')
    lines = write_file(tmp_path, DroppedFile("a.jsonl", 1_710_000_000_001, "lines", records))
    array = write_file(tmp_path, DroppedFile("b.json", 1_710_000_000_001, "array", records))
    assert lines.read_text("utf-8") == '{"a": 1.10}\n{"a": "\u00e9"}\n'
    assert array.read_text("utf-8") == '[\n  {"a": 1.10},\n  {"a": "\u00e9"}\n]\n'
    assert [path.stat().st_mtime_ns // 1_000_000 for path in (lines, array)] == [1_710_000_000_001] * 2


def test_generated_orders_are_the_same_for_the_same_seed() -> None:
    assert list(generate_orders(1, 200)) == list(generate_orders(1, 200))
    assert list(generate_orders(1, 200)) != list(generate_orders(2, 200))


def test_generated_corrections_and_shrunk_versions_update_what_was_loaded(warehouse: Warehouse) -> None:
    orders = list(generate_orders(1, 1_000))
    corrected, shrunk = list(correct(orders, 1, share=0.1)), list(shrink(orders, 1, share=0.1))
    loaded = load(warehouse, *map(json.dumps, orders))
    assert counts(loaded) == {"inserted": 1_000, "superseded": len(orders) - 1_000}
    assert counts(load(warehouse, *map(json.dumps, corrected))) == {"updated": len(corrected)}
    before = len(warehouse.fact_sales)
    assert counts(load(warehouse, *map(json.dumps, shrunk))) == {"updated": len(shrunk)}
    assert len(warehouse.fact_sales) < before
