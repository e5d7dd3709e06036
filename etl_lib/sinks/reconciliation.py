"""Holding what a sink shows against the tables that it was published from: rows, and sums a day and currency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pyspark.sql import functions as F

from etl_lib.process.concurrently import concurrently
from etl_lib.sinks.relations import RELATIONS
from etl_lib.sinks.sink import Sink
from etl_lib.tables.schemas import FACT_SALES, SALES_TABLES
from etl_lib.tables.warehouse import Warehouse

MEASURES = ("rows", "units", "line_amount")

Sums = Mapping[tuple[str, str | None], tuple[int, int, Decimal | None]]
"""MEASURES by order_date (ISO 8601) and currency."""


class Books:
    """What the tables say at some versions; asked once for all sinks."""

    def __init__(self, warehouse: Warehouse, versions: Mapping[str, int]) -> None:
        """Nothing is asked yet."""
        self._warehouse = warehouse
        self._versions = versions
        self._found: tuple[Mapping[str, int], Sums] | None = None

    def differences(self, sink: Sink) -> list[str]:
        """Where the sink says something else, a sentence each; none when it shows what the tables say."""
        rows, sums = self._tables_say()
        return [*row_differences(rows, sink.row_counts()), *sum_differences(sums, sums_of(sink.sales_sums()))]

    def _tables_say(self) -> tuple[Mapping[str, int], Sums]:
        if self._found is None:
            counts = concurrently(sums=self._sum, **{one.name: self._counting(one.name) for one in RELATIONS})
            sums = counts.pop("sums")
            self._found = counts, sums
        return self._found

    def _counting(self, name: str) -> Any:
        table = next(table for table in SALES_TABLES if table.name == name)
        return lambda: self._warehouse.read(table, self._versions).count()

    def _sum(self) -> Sums:
        lines = self._warehouse.read(FACT_SALES, self._versions)
        return sums_of(
            lines.groupBy("order_date", "currency")
            .agg(
                F.count("*").alias("row_count"),
                F.sum(F.col("qty").cast("bigint")).alias("units"),
                F.sum("line_amount").alias("line_amount"),
            )
            .collect()
        )


def sums_of(rows: Iterable[tuple[object, ...]]) -> Sums:
    """What tables and sinks say, in one form: Redshift's Data API has texts for dates and decimals."""
    return {
        (str(day)[:10], None if currency is None else str(currency)): (
            int(str(lines)),
            int(str(units)),
            None if amount is None else Decimal(str(amount)),
        )
        for day, currency, lines, units, amount in rows
    }


def row_differences(tables: Mapping[str, int], sink: Mapping[str, int]) -> list[str]:
    """The relations of which a sink has more or fewer rows, a sentence each."""
    return [
        f"{name}: the table has {rows:,} rows, the sink {sink.get(name, 0):,}"
        for name, rows in tables.items()
        if sink.get(name, 0) != rows
    ]


def sum_differences(tables: Sums, sink: Sums) -> list[str]:
    """The days and currencies of which a sink has other sums, a sentence each with both numbers."""
    found = []
    for day, currency in sorted(tables.keys() | sink.keys(), key=lambda each: (each[0], each[1] or "")):
        has, shows = (side.get((day, currency), (0, 0, Decimal(0))) for side in (tables, sink))
        told = [
            f"{measure} {_told(ours)}, the sink {_told(theirs)}"
            for measure, ours, theirs in zip(MEASURES, has, shows, strict=True)
            if ours != theirs
        ]
        if told:
            found.append(f"{FACT_SALES.name} on {day} in {currency or 'no currency'}: the table has {'; '.join(told)}")
    return found


def _told(number: int | Decimal | None) -> str:
    return "none" if number is None else f"{number:,}"
