"""Holding a sink against the tables: what counts as a difference, and how it is told."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from etl_lib.sinks.reconciliation import row_differences, sum_differences, sums_of

DAY = date(2024, 5, 1)
TABLES = sums_of([(DAY, "EUR", 3, 4, Decimal("1234.5000")), (DAY, None, 1, 1, None)])


def test_one_form_for_what_tables_databases_and_the_data_api_say() -> None:
    api = sums_of([("2024-05-01", "EUR", 3, "4", "1234.5000"), ("2024-05-01", None, 1, 1, None)])
    database = sums_of([(DAY, "EUR", 3, Decimal(4), Decimal("1234.5")), (DAY, None, 1, 1, None)])
    assert sum_differences(TABLES, api) == sum_differences(TABLES, database) == []


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        (
            [(DAY, "EUR", 3, 4, Decimal("1234.5001")), (DAY, None, 1, 1, None)],
            ["fact_sales on 2024-05-01 in EUR: the table has line_amount 1,234.5000, the sink 1,234.5001"],
        ),
        (
            [(DAY, "EUR", 2, 5, Decimal("1234.5")), (DAY, None, 1, 1, Decimal(0))],
            [
                "fact_sales on 2024-05-01 in no currency: the table has line_amount none, the sink 0",
                "fact_sales on 2024-05-01 in EUR: the table has rows 3, the sink 2; units 4, the sink 5",
            ],
        ),
        (
            [
                (DAY, "EUR", 3, 4, Decimal("1234.5")),
                (DAY, None, 1, 1, None),
                (date(2024, 6, 1), "USD", 1, 1, Decimal(0)),
            ],
            ["fact_sales on 2024-06-01 in USD: the table has rows 0, the sink 1; units 0, the sink 1"],
        ),
    ],
    ids=["a hundredth of a cent", "rows, and no price is not zero", "a day too many"],
)
def test_every_day_and_currency_that_differs_is_told_with_both_numbers(
    sink: list[tuple[object, ...]], told: list[str]
) -> None:
    assert sum_differences(TABLES, sums_of(sink)) == told


def test_rows_are_counted_in_every_table() -> None:
    assert row_differences({"a": 1, "b": 2000}, {"a": 1, "b": 1999}) == ["b: the table has 2,000 rows, the sink 1,999"]
    assert row_differences({"a": 0, "b": 1}, {}) == ["b: the table has 1 rows, the sink 0"]
