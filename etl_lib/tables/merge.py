"""MERGE as text: the clauses that every table of the lakehouse is merged with, and the dates that prune it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

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


def merge(
    warehouse: Warehouse,
    table: Table,
    source: DataFrame,
    *,
    on: str,
    clauses: Sequence[str],
) -> int | None:
    """Run one MERGE of `source` (alias s, one row a key) into `table` (alias t); gives how many rows it inserted, None
    where Delta does not say.
    """
    told: dict[str, Any] = {}

    def write() -> int | None:
        found = warehouse.spark.sql(statement).collect()
        told.update(found[0].asDict() if found else {})
        inserted, deleted = told.get("num_inserted_rows"), told.get("num_deleted_rows")
        return None if inserted is None or deleted is None else inserted - deleted

    view = f"merge_source_{table.name}"  # two tables may be merged into at the same time
    source.createOrReplaceTempView(view)
    try:
        statement = f"MERGE INTO {warehouse.name(table)} AS t USING {view} AS s ON {on} {' '.join(clauses)}"
        warehouse.commit(table, write)
    finally:
        warehouse.spark.catalog.dropTempView(view)
    if told.get("num_affected_rows") == 0:
        warehouse.commits[table.name] -= 1  # of nothing Delta makes no commit where it has deletion vectors
    return told.get("num_inserted_rows")


def inserting(clauses: Sequence[str]) -> list[str]:
    """Those of `insert_all`: all that a source needs which changes nothing that is there.

    Without the others Delta rewrites no file, and an insert stays idempotent.
    """
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
