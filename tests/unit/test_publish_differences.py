"""What a publish has to bring: the differences between two versions of real Delta tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.sinks.differences import changes_between, everything
from etl_lib.sinks.sink import Change
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, SALES_TABLES, Table
from etl_lib.tables.warehouse import Warehouse
from tests.frames import frame

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIRST, SECOND, BACK, COMPACTED = range(4)


def day(number: int) -> date:
    return date(2024, 5, number)


def header(order_id: str, on: int, content: int = 1, lines: int = 1, run_id: str = "r1") -> tuple[Any, ...]:
    is_deleted = lines == 0
    facts = (None, Decimal(10), "EUR", "web", None, lines, is_deleted, content, "f", NOON, run_id)
    return (order_id, day(on), NOON, NOON, *facts)


def line(order_id: str, number: int, on: int, run_id: str = "r1") -> tuple[Any, ...]:
    return (order_id, number, day(on), NOON, None, "S1", 1, Decimal(10), Decimal(10), "EUR", NOON, run_id)


def user(user_id: str, country: str | None) -> tuple[Any, ...]:
    return (user_id, None, None, country, False, None, None, None, None, "r1")


def sales(on: int, revenue: int) -> tuple[Any, ...]:
    return (day(on), "EUR", "unknown", "unknown", "web", 1, 1, Decimal(revenue))


@dataclass
class History:
    """The tables, and the versions that four runs left of them."""

    warehouse: Warehouse
    versions: list[dict[str, int]]

    def put(self, table: Table, *rows: tuple[Any, ...]) -> None:
        self.warehouse.overwrite(table, frame(self.warehouse.spark, table.columns, *rows), F.lit(True))

    def note(self) -> None:
        self.versions.append(self.warehouse.versions(SALES_TABLES))

    def changes(self, before: int, now: int, **others: int) -> Mapping[str, Change]:
        found = changes_between(self.warehouse, self.versions[before], self.versions[now], **others)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def history(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> History:
    history = History(Warehouse(spark, str(tmp_path_factory.mktemp("warehouse"))), [])
    history.warehouse.create(SALES_TABLES)
    history.put(DIM_ORDER, header("stays", 1), header("corrected", 1), header("moves", 2), header("goes", 3))
    history.put(FACT_SALES, line("stays", 1, 1), line("corrected", 1, 1), line("moves", 1, 2), line("goes", 1, 3))
    history.put(DIM_USER, user("u1", None), user("u2", "DE"))
    history.put(DAILY_SALES, sales(1, 20), sales(2, 10), sales(3, 10))
    history.note()
    # A correction, another day, a tombstone, and an order that is new.
    history.put(
        DIM_ORDER,
        header("stays", 1),
        header("corrected", 1, content=2, lines=2, run_id="r2"),
        header("moves", 9, content=3, run_id="r2"),
        header("goes", 3, content=4, lines=0, run_id="r2"),
        header("new", 5, content=5, run_id="r2"),
    )
    lines = [line("corrected", number, 1, "r2") for number in (1, 2)]
    history.put(FACT_SALES, line("stays", 1, 1), *lines, line("moves", 1, 9, "r2"), line("new", 1, 5, "r2"))
    history.put(DIM_USER, user("u1", "FR"), user("u2", "DE"))
    history.put(DAILY_SALES, sales(1, 30), sales(9, 10), sales(5, 10))
    history.note()
    for table in (DIM_ORDER, FACT_SALES, DIM_USER, DAILY_SALES):
        version = history.versions[FIRST][table.name]
        spark.sql(f"RESTORE TABLE {history.warehouse.name(table)} TO VERSION AS OF {version}").collect()
    history.note()
    # The same rows in other files.
    for table in (DIM_ORDER, FACT_SALES, DIM_USER):
        rows = history.warehouse.read(table)
        history.warehouse.overwrite(table, rows.repartition(3), F.lit(True))
    history.note()
    return history


def keys(change: Change) -> set[Any]:
    assert change.keys is not None
    return {row[0] for row in change.keys.collect()}


def rows(change: Change) -> list[tuple[Any, ...]]:
    kept = ["order_id", "line_no"] if change.relation.name == FACT_SALES.name else [change.relation.group]
    return sorted(tuple(row) for row in change.rows.select(*kept).collect())


CHANGED = {"corrected", "moves", "goes", "new"}
DAYS = {day(number) for number in (1, 2, 3, 5, 9)}


@pytest.mark.parametrize("most_keys", [100, 1], ids=["held in memory", "computed anew"])
def test_what_changed_are_the_keys_with_their_days_before_and_now_and_their_rows_now(
    history: History, most_keys: int
) -> None:
    found = history.changes(FIRST, SECOND, most_keys=most_keys)
    for name in (DIM_ORDER.name, FACT_SALES.name):
        assert (keys(found[name]), found[name].dates, found[name].groups) == (CHANGED, DAYS, 4)
    assert rows(found[DIM_ORDER.name]) == [("corrected",), ("goes",), ("moves",), ("new",)]
    assert rows(found[FACT_SALES.name]) == [("corrected", 1), ("corrected", 2), ("moves", 1), ("new", 1)]
    daily = found[DAILY_SALES.name]
    assert (keys(daily), daily.dates, daily.groups) == (DAYS, DAYS, 5)
    assert rows(daily) == [(day(1),), (day(5),), (day(9),)]
    users = found[DIM_USER.name]
    assert (keys(users), users.dates, users.groups, rows(users)) == ({"u1"}, None, 1, [("u1",)])


def test_going_back_to_a_version_is_a_change_and_its_result_none(history: History) -> None:
    back = history.changes(SECOND, BACK)
    assert (keys(back[DIM_ORDER.name]), back[DIM_ORDER.name].dates) == (CHANGED, DAYS)
    assert rows(back[FACT_SALES.name]) == [("corrected", 1), ("goes", 1), ("moves", 1)]
    undone = history.changes(FIRST, BACK)
    assert {name: (keys(change), change.dates, change.groups) for name, change in undone.items()} == {
        table.name: (set(), frozenset(), 0) for table in SALES_TABLES
    }


def test_a_table_that_was_only_written_anew_has_no_changes(history: History) -> None:
    assert history.versions[BACK][DIM_ORDER.name] != history.versions[COMPACTED][DIM_ORDER.name]
    found = history.changes(BACK, COMPACTED)
    assert {name: (rows(change), change.groups) for name, change in found.items()} == dict.fromkeys(found, ([], 0))
    assert found[DIM_USER.name].dates == frozenset()


def test_everything_is_every_row_at_those_versions(history: History) -> None:
    found = everything(history.warehouse, history.versions[SECOND])
    assert all(change.keys is None and change.dates is None for change in found.values())
    assert {name: change.rows.count() for name, change in found.items()} == {
        DIM_USER.name: 2,
        DIM_PRODUCT.name: 0,
        DIM_ORDER.name: 5,
        FACT_SALES.name: 5,
        DAILY_SALES.name: 3,
    }


def test_a_version_that_is_not_there_any_more_cannot_be_compared_with(history: History, tmp_path: Path) -> None:
    now = history.versions[SECOND]
    assert changes_between(history.warehouse, {**now, DIM_ORDER.name: 999}, now) is None
    # What a VACUUM does: the log still has the version, its files are gone.
    warehouse = Warehouse(history.warehouse.spark, str(tmp_path))
    emptied = History(warehouse, [])
    warehouse.create(SALES_TABLES)
    emptied.put(DIM_USER, user("u1", None))
    emptied.note()
    for path in (tmp_path / DIM_USER.name).glob("*.parquet"):
        path.unlink()
    emptied.put(DIM_USER, user("u2", None))
    emptied.note()
    assert changes_between(warehouse, *emptied.versions) is None
    assert emptied.changes(SECOND, SECOND)[DIM_USER.name].groups == 0


def test_a_version_with_other_columns_cannot_be_compared_with(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = Warehouse(spark, str(tmp_path))
    columns = "sku STRING NOT NULL, is_inferred BOOLEAN NOT NULL, run_id STRING NOT NULL"
    spark.sql(f"CREATE TABLE {warehouse.name(DIM_PRODUCT)} ({columns}) USING DELTA")
    history = History(warehouse, [])
    warehouse.create([table for table in SALES_TABLES if table is not DIM_PRODUCT])
    history.note()
    warehouse.create([DIM_PRODUCT])
    history.note()
    assert changes_between(warehouse, *history.versions) is None
