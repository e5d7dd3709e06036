"""How a run opens its warehouse: the tables made, or held against what is declared, and one look at the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from etl_lib import RELEASE
from etl_lib.process.errors import SchemaError
from etl_lib.tables.ledger import Ledger, look_at
from etl_lib.tables.schemas import ETL_RUNS, VIEWS, Table
from etl_lib.tables.warehouse import Warehouse, differences


def open_tables(warehouse: Warehouse, tables: Sequence[Table]) -> Ledger:
    """Make the tables that are absent, and give what the ledger says.

    SchemaError for tables that differ from their declared columns, and for the warehouse of another release. A table
    that is still as the ledger has it, by the same declarations, is not asked.
    """
    columns = warehouse.columns(ETL_RUNS)
    if columns is None:
        warehouse.create(tables)
        if warehouse.is_catalog and ETL_RUNS in tables:
            for view in VIEWS:
                warehouse.create_view(view)
        return Ledger()
    if "release" not in columns.names:
        raise _of_another_release(warehouse, "an earlier state of this project")
    if differences(ETL_RUNS.schema, columns):
        warehouse.create(dict.fromkeys((ETL_RUNS, *tables)))  # tells them with all others
    ledger = look_at(warehouse)
    if others := sorted(ledger.releases - {RELEASE}):
        raise _of_another_release(warehouse, f"release {', '.join(others)}")
    found = warehouse.versions_on_disk(tables)
    unmoved = {name for name, left in ledger.tables.items() if found.get(name) == left.version}
    warehouse.create(table for table in tables if table is not ETL_RUNS and table.name not in unmoved)
    return ledger


def _of_another_release(warehouse: Warehouse, writer: str) -> SchemaError:
    return SchemaError(
        f"{warehouse.location} was written by {writer}, and this is release {RELEASE}: work on it with that one, or "
        "set warehouse to a new place and load the landing files into that"
    )
