"""MERGE as text: the clauses that every table of the lakehouse is merged with, and the dates that prune it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from pyspark.sql import DataFrame

from etl_lib.tables.schemas import Table
from etl_lib.tables.warehouse import Warehouse

MOST_DATES = 300
"""More dates than this prune as a range: a list of thousands costs more to plan than it saves."""

_ABSENT = "WHEN NOT MATCHED AND"


def dates_literal(column: str, dates: Collection[date]) -> str:
    """A condition on `column` with literal dates: open Delta skips files by nothing else."""
    if not dates:
        return "false"
    if len(dates) > MOST_DATES:
        return f"{column} BETWEEN DATE'{min(dates)}' AND DATE'{max(dates)}'"
    literals = ", ".join(f"DATE'{day}'" for day in sorted(dates))
    return f"{column} IN ({literals})"


def merge(warehouse: Warehouse, table: Table, source: DataFrame, *, on: str, clauses: Sequence[str]) -> int | None:
    """Run one MERGE of `source` (alias s, one row a key) into `table` (alias t).

    Gives how many rows it inserted, None where Delta does not say.
    """
    view = f"merge_source_{table.name}"  # two tables may be merged into at the same time
    source.createOrReplaceTempView(view)
    try:
        statement = f"MERGE INTO {warehouse.name(table)} AS t USING {view} AS s ON {on} {' '.join(clauses)}"
        counts = warehouse.commit(table, lambda: warehouse.spark.sql(statement).collect())
    finally:
        warehouse.spark.catalog.dropTempView(view)
    return counts[0].asDict().get("num_inserted_rows") if counts else None


def inserting(clauses: Sequence[str]) -> list[str]:
    """The clauses of `insert_all`, which are enough for a source that changes no row: then Delta rewrites no file."""
    return [clause for clause in clauses if clause.startswith(_ABSENT)]


def update_all(table: Table, condition: str = "true") -> str:
    """When the row is there: every declared column from the source."""
    values = ", ".join(f"t.`{name}` = s.`{name}`" for name in table.column_names)
    return f"WHEN MATCHED AND {condition} THEN UPDATE SET {values}"


def insert_all(table: Table, condition: str = "true") -> str:
    """When the row is absent: every declared column from the source."""
    names = ", ".join(f"`{name}`" for name in table.column_names)
    values = ", ".join(f"s.`{name}`" for name in table.column_names)
    return f"{_ABSENT} {condition} THEN INSERT ({names}) VALUES ({values})"  # noqa: S608 - declared names
