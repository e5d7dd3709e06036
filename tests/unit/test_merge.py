"""MERGE as text: the clauses, and the dates that prune it; and what Delta tells of one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from etl_lib.tables.merge import dates_literal, insert_all, merge, update_all
from etl_lib.tables.schemas import Table
from etl_lib.tables.warehouse import Warehouse
from tests.frames import frame

PAIR = Table(name="pair", grain="one pair", columns="a STRING, `b` INT", key=("a",))
FIRST = date(2024, 1, 1)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(at) for at in range(count)]


@pytest.mark.parametrize(
    ("dates", "condition"),
    [
        pytest.param([], "false", id="no date finds nothing"),
        pytest.param([FIRST], "t.d IN (DATE'2024-01-01')", id="one date"),
        pytest.param(
            {date(2024, 5, 2), date(2023, 12, 31), date(2024, 5, 1)},
            "t.d IN (DATE'2023-12-31', DATE'2024-05-01', DATE'2024-05-02')",
            id="dates in their order",
        ),
        pytest.param(days(301)[::-1], "t.d BETWEEN DATE'2024-01-01' AND DATE'2024-10-27'", id="many dates as a range"),
        pytest.param(
            days(300),
            "t.d IN (" + ", ".join(f"DATE'{day}'" for day in days(300)) + ")",
            id="as many dates as a list may have",
        ),
    ],
)
def test_dates_become_literals_in_one_order(dates: Collection[date], condition: str) -> None:
    assert dates_literal("t.d", dates) == condition


@pytest.mark.usefixtures("spark")
def test_an_update_sets_every_declared_column() -> None:
    assert update_all(PAIR) == "WHEN MATCHED AND true THEN UPDATE SET t.`a` = s.`a`, t.`b` = s.`b`"
    assert update_all(PAIR, "s.b > 0").startswith("WHEN MATCHED AND s.b > 0 THEN UPDATE")


@pytest.mark.usefixtures("spark")
def test_an_insert_gives_every_declared_column() -> None:
    assert insert_all(PAIR) == "WHEN NOT MATCHED AND true THEN INSERT (`a`, `b`) VALUES (s.`a`, s.`b`)"
    assert insert_all(PAIR, "s.b > 0").startswith("WHEN NOT MATCHED AND s.b > 0 THEN INSERT")


@pytest.mark.classic
@pytest.mark.parametrize("has_vectors", [True, False])
def test_what_a_merge_has_done_is_told_and_one_that_changes_nothing_is_no_commit(
    spark: SparkSession, tmp_path: Path, *, has_vectors: bool
) -> None:
    """But without deletion vectors it is one, where a row matches and no clause applies."""
    warehouse, table = Warehouse(spark, str(tmp_path)), replace(PAIR, changes_in_place=has_vectors)
    warehouse.create([table])

    def merged(**rows: int) -> tuple[int | None, int | None, int]:
        clauses = ["WHEN MATCHED AND s.b = 0 THEN DELETE", update_all(table, "t.b <> s.b"), insert_all(table)]
        source = frame(spark, "a STRING, b INT", *rows.items())
        before = warehouse.version(table)
        inserted = merge(warehouse, table, source, on="t.a = s.a", clauses=clauses)
        after = warehouse.version(table)
        return inserted, warehouse.rows_added(table, before, after), after

    assert merged(x=1, y=2) == (2, 2, 1)
    assert merged(x=0, y=3, z=1, v=1) == (2, 1, 2)
    assert merged(y=3) == (0, 0, 2 if has_vectors else 3)
