"""Holding what a sink shows against the tables that it was published from: rows, and sums a day and currency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cached_property

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

    def differences(self, sink: Sink) -> list[str]:
        """Where the sink says something else, a sentence each; none when it shows what the tables say."""
        rows, sums = self._rows_and_sums
        return [*row_differences(rows, sink.row_counts()), *sum_differences(sums, sums_of(sink.sales_sums()))]

    @cached_property
    def _rows_and_sums(self) -> tuple[Mapping[str, int], Sums]:
        tables = {table.name: self._warehouse.read(table, self._versions) for table in SALES_TABLES}
        sums = (
            tables[FACT_SALES.name]
            .groupBy("order_date", "currency")
            .agg(
                F.count("*").alias("row_count"), F.sum("qty").alias("units"), F.sum("line_amount").alias("line_amount")
            )
        )
        answers = concurrently(sums=sums.collect, **{each.name: tables[each.name].count for each in RELATIONS})
        return {each.name: answers[each.name] for each in RELATIONS}, sums_of(answers["sums"])


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
    differences = []
    for day, currency in sorted(tables.keys() | sink.keys(), key=lambda each: (each[0], each[1] or "")):
        has, shows = (side.get((day, currency), (0, 0, Decimal(0))) for side in (tables, sink))
        unequal = [
            f"{measure} {_number(ours)}, the sink {_number(theirs)}"
            for measure, ours, theirs in zip(MEASURES, has, shows, strict=True)
            if ours != theirs
        ]
        if unequal:
            where = f"{FACT_SALES.name} on {day} in {currency or 'no currency'}"
            differences.append(f"{where}: the table has {'; '.join(unequal)}")
    return differences


def _number(number: int | Decimal | None) -> str:
    return "none" if number is None else f"{number:,}"
