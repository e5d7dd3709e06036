"""Applying the orders of a stage: their lines first, their headers last.

`dim_order` is the commit record of an order: after a crash between the two MERGEs the same stage does the same again.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch
from etl_lib.tables.merge import dates_literal, insert_all, inserting, merge, update_all
from etl_lib.tables.schemas import DIM_ORDER, FACT_SALES, LINE_AMOUNT, Table


def order_lines(orders: DataFrame) -> DataFrame:
    """The lines of orders in the columns of fact_sales, and `is_last`: one row a line, numbered from 1.

    An order without lines sends one row with line_no 0, which only deletes.
    """
    no_line = F.array().cast(orders.schema["lines"].dataType)
    lines = F.when(F.col("is_deleted"), no_line).otherwise(F.col("lines"))
    exploded = orders.select("*", F.posexplode_outer(lines).alias("at", "line"))
    return exploded.withColumns(
        {
            "line_no": F.coalesce(F.col("at") + 1, F.lit(0)),
            "sku": F.col("line.sku"),
            "qty": F.col("line.qty"),
            "unit_price": F.col("line.unit_price"),
            "line_amount": (F.col("line.qty") * F.col("line.unit_price")).cast(LINE_AMOUNT),
            "is_last": F.coalesce(F.col("at") + 1, F.lit(0)) == F.col("line_count"),
        }
    ).select(*FACT_SALES.column_names, "is_last")


def apply_fact_sales(batch: Batch) -> None:
    """MERGE the lines: changed ones updated, new ones inserted, and those the new version no longer has deleted."""
    if not batch.of("orders").applied:
        return
    lines = order_lines(batch.stage.applied("orders"))
    same_line = "t.order_id = s.order_id AND (t.line_no = s.line_no OR (s.is_last AND t.line_no > s.line_no))"
    changed = ["WHEN MATCHED AND t.line_no > s.line_no THEN DELETE", update_all(FACT_SALES)]
    _merge_orders(batch, FACT_SALES, lines, same_line, [*changed, insert_all(FACT_SALES, "s.line_no > 0")])


def apply_dim_order(batch: Batch) -> None:
    """MERGE the headers; from here on the orders of this batch count as applied."""
    if not batch.of("orders").applied:
        return
    headers = batch.stage.applied("orders").select(*DIM_ORDER.column_names)
    clauses = [update_all(DIM_ORDER), insert_all(DIM_ORDER)]
    _merge_orders(batch, DIM_ORDER, headers, "t.order_id = s.order_id", clauses)


def _merge_orders(batch: Batch, table: Table, source: DataFrame, same: str, clauses: Sequence[str]) -> None:
    """MERGE by order, with only the dates that the orders have now or had: their old rows are there too."""
    on = f"{same} AND {dates_literal('t.order_date', batch.dates)}"
    needed = inserting(clauses) if batch.of("orders").only_inserts else clauses
    merge(batch.stage.warehouse, table, source, on=on, clauses=needed)
