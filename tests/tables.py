"""The tables of a warehouse, exactly those of the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import functions as F

from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, FACT_SALES, QUARANTINE, Table
from tests import oracle
from tests.job import Job


def assert_tables(
    job: Job, expected: oracle.Warehouse, users: Mapping[str, str | None], products: Mapping[str, str | None]
) -> None:
    """Lines, headers, daily sales and quarantine equal those of the oracle."""
    assert_data_tables(job, expected, users, products)
    entries = job.read(QUARANTINE).select("source_file", "raw").collect()
    assert {(row["source_file"], row["raw"]) for row in entries} == set(expected.quarantine)
    assert len(entries) == len(expected.quarantine)


def assert_data_tables(
    job: Job, expected: oracle.Warehouse, users: Mapping[str, str | None], products: Mapping[str, str | None]
) -> None:
    """Lines, headers and daily sales equal those of the oracle."""
    assert _rows(job, FACT_SALES) == {key: _plain(row) for key, row in expected.fact_sales.items()}
    assert _rows(job, DIM_ORDER) == {(key,): _plain(row) for key, row in expected.dim_order.items()}
    measures = {key: _plain(row) for key, row in expected.daily_sales(users, products).items()}
    assert _rows(job, DAILY_SALES) == measures


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
