"""Whether a publish can build on what a sink shows, or has to bring everything."""

from __future__ import annotations

from functools import partial

from pyspark.sql import functions as F

from etl_lib.process.concurrently import together
from etl_lib.sinks.changes import Shown, Sink
from etl_lib.tables.ledger import DIFFERS, FAILED, publish_of
from etl_lib.tables.schemas import ETL_PUBLISHES, SALES_TABLES, Table
from etl_lib.tables.warehouse import Warehouse


def why_everything(warehouse: Warehouse, sink: Sink, shown: Shown | None) -> str | None:
    """Why everything has to be published; None when what changed since then is enough.

    Only a publish that the ledger of this warehouse knows as a complete one counts: the versions that a sink names may
    be those of another warehouse, or of tables that have been made anew.
    """
    if shown is None:
        return "the sink shows no publish yet"
    is_kept = bool(warehouse.present([ETL_PUBLISHES]))
    entry = publish_of(warehouse, sink.name, sink.address, shown.publish_id) if is_kept else None
    if entry is None or entry["status"] == FAILED or dict(entry["versions"]) != dict(shown.versions):
        return f"the ledger does not know the publish {shown.publish_id}, which the sink shows, as a complete one"
    if entry["status"] == DIFFERS:
        return "the sink differed from the tables after its last publish"
    if shown.versions.keys() != {table.name for table in SALES_TABLES}:
        return "the sink shows other tables"
    if remade := _made_since(warehouse, entry["started_micros"]):
        return f"made anew since its last publish: {', '.join(remade)}"
    return None


def _made_since(warehouse: Warehouse, micros: int) -> list[str]:
    """The tables that were made later than this: their versions are not those that a sink shows."""

    def made(table: Table) -> int:
        detail = warehouse.spark.sql(f"DESCRIBE DETAIL {warehouse.name(table)}")
        return int(detail.select(F.unix_micros("createdAt")).collect()[0][0])

    found = together(**{table.name: partial(made, table) for table in SALES_TABLES})
    return [name for name, at in found.items() if at > micros]
