"""What little data is: to read, to apply, and to hold."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as F

from etl_lib import little
from etl_lib.batch import Batch, OrderCounts
from etl_lib.landing import LandingFile
from etl_lib.little import (
    FEW_DATES,
    FEW_FILE_BYTES,
    FEW_ORDERS,
    FEW_ORDERS_OF_ALL_DATES,
    is_held,
    reads_little,
    size_columns,
    touches_little,
)
from etl_lib.metrics import TableMetrics
from etl_lib.run import Run
from tests.frames import frame
from tests.unit.test_observed import adaptive, ids, run_in_union


def run_into(orders: int | None) -> Run:
    """A run into a table that has so many orders, or that no run has written."""
    left = {} if orders is None else {"dim_order": TableMetrics(0, orders, 0, 1)}
    return cast("Run", SimpleNamespace(left=left))


@pytest.mark.parametrize(
    ("sizes", "orders", "is_little"),
    [
        pytest.param([FEW_FILE_BYTES - 1, 1], FEW_ORDERS, True, id="as much as may be"),
        pytest.param([FEW_FILE_BYTES - 1, 2], FEW_ORDERS, False, id="a byte more"),
        pytest.param([1], FEW_ORDERS + 1, False, id="an order more to compare with"),
        pytest.param([FEW_FILE_BYTES], None, True, id="the first run"),
    ],
)
def test_a_run_reads_little_when_files_and_orders_are_few(
    sizes: list[int], orders: int | None, is_little: bool
) -> None:
    files = {
        dataset: [LandingFile(dataset, size, 0)] for dataset, size in zip(("orders", "users"), sizes, strict=False)
    }
    assert reads_little(run_into(orders), files) == is_little


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
    counts = {name: OrderCounts(outcomes=Counter(updated=number)) for name, number in applied.items()}
    days = {date(2024, 1, 1) + timedelta(day): Counter(updated=1) for day in range(dates)}
    batch = Batch(cast("Any", None), counts, days, {})
    assert touches_little(run_into(orders), batch) == is_little


@pytest.mark.parametrize(
    ("texts", "held"),
    [
        pytest.param([["a"] * 4, ["b"] * 2], True, id="as many rows as may be"),
        pytest.param([["a"] * 4, ["b"] * 3], False, id="a row more"),
        pytest.param([["a" * 9], ["\u00fc" * 3]], True, id="as many bytes as may be"),
        pytest.param([["a" * 9], ["\u00fc" * 4]], False, id="a character more"),
        pytest.param([[None], []], True, id="no text at all"),
        pytest.param([[""] * 7, []], False, id="blank lines are rows too"),
    ],
)
def test_a_batch_of_few_rows_and_bytes_is_held(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, texts: list[list[str | None]], held: bool
) -> None:
    monkeypatch.setattr(little, "FEW_ROWS", 6)
    monkeypatch.setattr(little, "FEW_TEXT_BYTES", 15)
    counted = [Observation() for _ in texts]
    for some, observation in zip(texts, counted, strict=True):
        records = frame(spark, "raw STRING", *((text,) for text in some))
        records.observe(observation, *size_columns()).collect()
    assert is_held(counted) == held


def test_a_batch_of_which_a_part_was_not_observed_is_not_held(spark: SparkSession) -> None:
    read = [Observation(), Observation()]
    with adaptive(spark):
        for rows, observation in zip((0, 1), read, strict=True):
            records = ids(spark, rows).withColumn("raw", F.lit("a"))
            run_in_union(records.observe(observation, *size_columns()))
    assert is_held(read[1:])
    assert not is_held(read)
