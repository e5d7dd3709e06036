"""The two MERGEs of an order, on real tables: what is there afterwards, and what was not touched."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from etl_lib.applying.orders import apply_dim_order, apply_fact_sales, order_lines
from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.stage import Stage, stage_columns
from etl_lib.tables.schemas import DIM_ORDER, ETL_STAGE, FACT_SALES, ORDER_RECORD, Table
from etl_lib.tables.warehouse import Warehouse
from tests.frames import assert_same, frame

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)
FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)
LINES = "ARRAY<STRUCT<sku: STRING, qty: INT, unit_price: DECIMAL(18,4)>>"
ABOUT = "created_at TIMESTAMP, user_id STRING, currency STRING, version_at TIMESTAMP, run_id STRING"
TWO = [("a", 2, Decimal("1.5")), ("b", 3, None)]
Item = tuple[str, int, Decimal | None]


def test_orders_become_numbered_lines_and_an_order_without_any_one_row_that_deletes(spark: SparkSession) -> None:
    columns = f"order_id STRING, order_date DATE, line_count INT, is_deleted BOOLEAN, lines {LINES}, {ABOUT}"
    about = (AT, "u", "EUR", AT, "r")
    orders = frame(
        spark,
        columns,
        ("two", FIRST, 2, False, TWO, *about),
        ("empty", FIRST, 0, False, [], *about),
        ("deleted", FIRST, 0, True, TWO, *about),
    )
    none = ("u", None, None, None, None, "EUR", AT, "r", True)
    declared = f"{FACT_SALES.columns.replace(' NOT NULL', '')}, is_last BOOLEAN"
    expected = frame(
        spark,
        declared,
        ("two", 1, FIRST, AT, "u", "a", 2, Decimal("1.5"), Decimal(3), "EUR", AT, "r", False),
        ("two", 2, FIRST, AT, "u", "b", 3, None, None, "EUR", AT, "r", True),
        ("empty", 0, FIRST, AT, *none),
        ("deleted", 0, FIRST, AT, *none),
    )
    assert_same(order_lines(orders), expected)


@pytest.fixture(scope="module")
def empty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Warehouse(spark, str(folder)).create([FACT_SALES, DIM_ORDER, ETL_STAGE])
    return folder


@pytest.fixture
def warehouse(spark: SparkSession, empty: Path, tmp_path: Path) -> Warehouse:
    """Empty tables of its own."""
    return Warehouse(spark, str(shutil.copytree(empty, tmp_path / "warehouse")))


def batch(warehouse: Warehouse, run_id: str, *orders: tuple[str, str, date, list[Item]]) -> Batch:
    """A stage of orders, each with its id, outcome, date and lines, and the counts of what it would apply."""
    record = dict.fromkeys((column.split(":")[0].strip() for column in _columns()), None)
    rows = []
    for order_id, outcome, day, lines in orders:
        given = {"order_id": order_id, "order_date": day, "created_at": AT, "line_count": len(lines), "lines": lines}
        value = tuple({**record, **given, "is_deleted": not lines}.values())
        rows.append((run_id, "orders", outcome, 1, AT, "f", AT, value))
    columns = f"""run_id STRING, dataset STRING, outcome STRING, content_hash BIGINT, version_at TIMESTAMP,
        source_file STRING, source_modified_at TIMESTAMP, orders {ORDER_RECORD}"""
    warehouse.append(ETL_STAGE, stage_columns(frame(warehouse.spark, columns, *rows), ETL_STAGE))
    outcomes = Counter(outcome for _, outcome, _, _ in orders)
    dates = {day: Counter({"updated": 1}) for _, _, day, _ in orders}
    return Batch(Stage(warehouse, run_id), {"orders": DatasetCounts(outcomes=outcomes, dates=dates)})


def _columns() -> Sequence[str]:
    return [
        *("order_id", "order_date", "created_at", "user_id", "amount", "currency", "source", "promo", "line_count"),
        *("is_deleted", "lines"),
    ]


def rows(warehouse: Warehouse, table: Table, *columns: str) -> set[tuple[Any, ...]]:
    found = [tuple(row) for row in warehouse.read(table).select(*columns).collect()]
    assert len(found) == len(set(found))
    return set(found)


def lines(warehouse: Warehouse) -> set[tuple[Any, ...]]:
    return rows(warehouse, FACT_SALES, "order_id", "line_no", "order_date", "sku", "run_id")


def headers(warehouse: Warehouse) -> set[tuple[Any, ...]]:
    return rows(warehouse, DIM_ORDER, "order_id", "order_date", "line_count", "is_deleted", "run_id")


def items(*skus: str) -> list[Item]:
    return [(sku, 1, Decimal(1)) for sku in skus]


def test_lines_and_headers_are_inserted_updated_and_deleted_and_no_others_touched(warehouse: Warehouse) -> None:
    names = {"grows": items("a"), "shrinks": items("a", "b", "c"), "goes": items("a", "b"), "stays": items("a")}
    loaded = batch(warehouse, "r1", *((name, "inserted", FIRST, some) for name, some in names.items()))
    apply_fact_sales(loaded)
    assert lines(warehouse) == {
        (name, at, FIRST, sku, "r1") for name, some in names.items() for at, (sku, _, _) in enumerate(some, 1)
    }
    assert headers(warehouse) == set()
    apply_dim_order(loaded)
    assert headers(warehouse) == {(name, FIRST, len(some), False, "r1") for name, some in names.items()}

    changed = batch(
        warehouse,
        "r2",
        ("grows", "updated", FIRST, items("a", "x")),
        ("shrinks", "updated", FIRST, items("z")),
        ("goes", "updated", FIRST, []),
        ("new", "inserted", FIRST, items("n")),
        ("new and empty", "inserted", FIRST, []),
        ("stays", "stale", FIRST, items("s")),
    )
    apply_fact_sales(changed)
    apply_dim_order(changed)
    assert lines(warehouse) == {
        *(("grows", 1, FIRST, "a", "r2"), ("grows", 2, FIRST, "x", "r2")),
        ("shrinks", 1, FIRST, "z", "r2"),
        ("new", 1, FIRST, "n", "r2"),
        ("stays", 1, FIRST, "a", "r1"),
    }
    assert headers(warehouse) == {
        *(("grows", FIRST, 2, False, "r2"), ("shrinks", FIRST, 1, False, "r2"), ("goes", FIRST, 0, True, "r2")),
        *(("new", FIRST, 1, False, "r2"), ("new and empty", FIRST, 0, True, "r2"), ("stays", FIRST, 1, False, "r1")),
    }


def test_a_batch_that_only_inserts_leaves_what_is_there_and_repeats_without_a_trace(warehouse: Warehouse) -> None:
    first = batch(warehouse, "r1", ("o", "inserted", FIRST, items("a", "b")))
    again = batch(warehouse, "r2", ("o", "inserted", FIRST, items("z")), ("p", "inserted", SECOND, items("p")))
    for loaded in (first, again):
        apply_fact_sales(loaded)
        apply_dim_order(loaded)
    assert lines(warehouse) == {
        *(("o", 1, FIRST, "a", "r1"), ("o", 2, FIRST, "b", "r1"), ("p", 1, SECOND, "p", "r2")),
    }
    assert headers(warehouse) == {("o", FIRST, 2, False, "r1"), ("p", SECOND, 1, False, "r2")}


def test_only_the_dates_of_the_batch_are_looked_at(warehouse: Warehouse) -> None:
    """Rows under another date are not found: that is why the dates are those of now and of before."""
    loaded = batch(warehouse, "r1", ("o", "inserted", FIRST, items("a")))
    apply_dim_order(loaded)
    moved = batch(warehouse, "r2", ("o", "updated", SECOND, items("a")))
    apply_dim_order(moved)
    assert headers(warehouse) == {("o", FIRST, 1, False, "r1"), ("o", SECOND, 1, False, "r2")}


def test_a_batch_that_applies_nothing_makes_no_commit(warehouse: Warehouse) -> None:
    idle = batch(warehouse, "r1", ("o", "stale", FIRST, items("a")))
    apply_fact_sales(idle)
    apply_dim_order(idle)
    assert warehouse.versions([FACT_SALES, DIM_ORDER]) == {"fact_sales": 0, "dim_order": 0}
