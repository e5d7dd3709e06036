"""How few data must be for what a small run does differently."""

from __future__ import annotations

import pytest

from etl_lib.process.tuning import (
    DATES,
    INTERPRETED,
    NEW_BYTES,
    ORDERS,
    ORDERS_OF_ALL_DATES,
    STAGE_BYTES,
    STAGE_ROWS,
    is_read_once,
    settings_to_apply,
    settings_to_stage,
)


@pytest.mark.parametrize(
    ("new_bytes", "orders", "few"),
    [
        pytest.param(NEW_BYTES, ORDERS, True, id="as many as may be"),
        pytest.param(NEW_BYTES + 1, 0, False, id="a byte more"),
        pytest.param(1, ORDERS + 1, False, id="an order more to compare with"),
    ],
)
def test_a_run_reads_few_data_when_both_files_and_orders_are_few(new_bytes: int, orders: int, few: bool) -> None:
    assert settings_to_stage(new_bytes=new_bytes, orders=orders) == (INTERPRETED if few else {})
    if not few:
        assert settings_to_apply(new_bytes=new_bytes, orders=orders, dates=0, has_members=False) == {}


@pytest.mark.parametrize(
    ("dates", "has_members", "orders", "few"),
    [
        pytest.param(999, True, ORDERS_OF_ALL_DATES, True, id="few orders"),
        pytest.param(DATES, False, ORDERS_OF_ALL_DATES + 1, True, id="few dates of many orders"),
        pytest.param(DATES + 1, False, ORDERS_OF_ALL_DATES + 1, False, id="many dates of many orders"),
        pytest.param(0, True, ORDERS_OF_ALL_DATES + 1, False, id="a user of many orders"),
    ],
)
def test_few_lines_are_summed_anew_of_few_dates_or_of_few_orders(
    dates: int, has_members: bool, orders: int, few: bool
) -> None:
    settings = settings_to_apply(new_bytes=NEW_BYTES, orders=orders, dates=dates, has_members=has_members)
    assert settings == (INTERPRETED if few else {})


@pytest.mark.parametrize(
    ("rows", "text_bytes", "is_once"),
    [
        pytest.param(STAGE_ROWS, STAGE_BYTES, True, id="as many as may be"),
        pytest.param(STAGE_ROWS + 1, 0, False, id="a row more"),
        pytest.param(0, STAGE_BYTES + 1, False, id="a byte more"),
    ],
)
def test_a_stage_is_read_once_when_both_its_rows_and_its_text_are_few(
    rows: int, text_bytes: int, is_once: bool
) -> None:
    assert is_read_once((rows, text_bytes)) == is_once
