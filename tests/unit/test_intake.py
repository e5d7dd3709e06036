"""Whether what a batch touches is little: few dates, or few orders at all."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from etl_lib.batch import Batch, OrderCounts
from etl_lib.intake import FEW_DATES, FEW_ORDERS_OF_ALL_DATES, touches_little


@pytest.mark.parametrize(
    ("orders", "dates", "applied", "is_little"),
    [
        pytest.param(FEW_ORDERS_OF_ALL_DATES, 999, {"users": 1}, True, id="few orders"),
        pytest.param(FEW_ORDERS_OF_ALL_DATES + 1, FEW_DATES, {"orders": 1}, True, id="few dates of many orders"),
        pytest.param(FEW_ORDERS_OF_ALL_DATES + 1, FEW_DATES + 1, {"orders": 1}, False, id="many dates of many orders"),
        pytest.param(FEW_ORDERS_OF_ALL_DATES + 1, 0, {"users": 1}, False, id="a user of many orders"),
        pytest.param(FEW_ORDERS_OF_ALL_DATES + 1, 0, {"products": 1}, False, id="a product of many orders"),
        pytest.param(None, 999, {"orders": 1}, True, id="the first run"),
    ],
)
def test_a_batch_touches_little_when_few_lines_are_summed_anew(
    orders: int | None, dates: int, applied: dict[str, int], is_little: bool
) -> None:
    left = {} if orders is None else {"dim_order": {"rows_after": orders}}
    counts = {name: OrderCounts(outcomes=Counter(updated=number)) for name, number in applied.items()}
    days = {date(2024, 1, 1) + timedelta(day): Counter(updated=1) for day in range(dates)}
    batch = Batch(cast("Any", None), counts, days, {})
    assert touches_little(cast("Any", SimpleNamespace(left=left)), batch) == is_little
