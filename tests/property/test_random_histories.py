"""Random histories of orders through the real job give the tables that the oracle gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import Phase, given, settings
from pyspark.sql import functions as F

from etl_lib.schemas import DAILY_SALES, DIM_ORDER, FACT_SALES, QUARANTINE, Table
from tests import oracle
from tests.histories import PRODUCTS, USERS, DroppedFile, History, histories, write_file, write_products, write_users
from tests.job import Job

MANY = 60
"""Histories in one example: their orders are told apart by a prefix, so that one run of the job serves them all."""


def drawn_histories() -> list[History]:
    """Random histories, others on every run: a failure names the order, and its prefix the history printed with it."""
    drawn: list[History] = []

    @settings(max_examples=MANY, deadline=None, database=None, phases=[Phase.generate])
    @given(histories())
    def draw(history: History) -> None:
        drawn.append(history)

    draw()
    return drawn


def test_tables_equal_those_of_the_oracle(job: Job) -> None:
    write_users(job.landing / "users.csv")
    write_products(job.landing / "products.csv")
    expected = oracle.Warehouse()
    histories_drawn = drawn_histories()
    for number, history in enumerate(histories_drawn):
        print(f"h{number}: {history}")  # noqa: T201 - shown when the test fails
    for batch in _batches(histories_drawn):
        result = expected.load(_landed(job, batch))
        assert job.run() == 0
        metrics = job.metrics()
        assert metrics["outcomes"] == dict(result.outcomes)
        assert metrics["conflicts"] == len(result.conflicts)
        assert metrics["conflict_orders"] == sorted(result.conflicts)[:20]
        _assert_tables(job, expected)


def _batches(many: list[History]) -> Iterator[list[DroppedFile]]:
    """The first batches of all histories together, then the second ones, and so on."""
    for number in range(max(map(len, many))):
        batch = [
            replace(
                file,
                name=f"h{index}_{file.name}",
                records=tuple(text.replace('"order_id": "o', f'"order_id": "h{index}-o') for text in file.records),
            )
            for index, history in enumerate(many)
            if number < len(history)
            for file in history[number]
        ]
        if batch:
            yield batch


def _landed(job: Job, batch: list[DroppedFile]) -> list[oracle.LandedFile]:
    return [file.landed(f"file:{write_file(job.landing / 'orders', file)}") for file in batch]


def _assert_tables(job: Job, expected: oracle.Warehouse) -> None:
    assert _rows(job, FACT_SALES) == {key: _plain(row) for key, row in expected.fact_sales.items()}
    assert _rows(job, DIM_ORDER) == {(key,): _plain(row) for key, row in expected.dim_order.items()}
    measures = {key: _plain(row) for key, row in expected.daily_sales(USERS, PRODUCTS).items()}
    assert _rows(job, DAILY_SALES) == measures
    entries = job.read(QUARANTINE).select("source_file", "raw").collect()
    assert {(row["source_file"], row["raw"]) for row in entries} == set(expected.quarantine)
    assert len(entries) == len(expected.quarantine)


UNCOMPARED = {"run_id", "content_hash", "source_file", "source_modified_at"}


def _rows(job: Job, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The table by its key, times as microseconds; a key that stands twice fails."""
    frame = job.read(table).drop(*UNCOMPARED)
    times = {name: F.unix_micros(name) for name, kind in frame.dtypes if kind == "timestamp"}
    rows = [row.asDict() for row in frame.withColumns(times).collect()]
    found = {tuple(row[name] for name in table.key): row for row in rows}
    assert len(found) == len(rows), f"{table.name}: a key stands twice"
    if table is DAILY_SALES:
        return {key: {name: row[name] for name in row if name not in table.key} for key, row in found.items()}
    return found


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the oracle with times as microseconds and money with the scale of the tables."""

    def value(found: Any) -> Any:
        if isinstance(found, datetime):
            since = found - datetime(1970, 1, 1, tzinfo=UTC)
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return found.quantize(Decimal("0.0001")) if isinstance(found, Decimal) else found

    return {name: value(found) for name, found in row.items()}
