"""daily_sales: kept equal to its definition by computing the touched dates again, and only those."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch
from etl_lib.reading.values import date_literal
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, SUM

UNKNOWN = "unknown"


def daily_sales(lines: DataFrame, orders: DataFrame, users: DataFrame, products: DataFrame) -> DataFrame:
    """Sum lines to the grain of daily_sales; what is not known of a line is the word `unknown`.

    `orders` counts distinct orders, so an order with two categories counts in both rows. A line without a price
    adds its units and no revenue.
    """
    described = (
        lines.join(orders.select("order_id", "source"), "order_id", "left")
        .join(users.select("user_id", "country"), "user_id", "left")
        .join(products.select("sku", "category"), "sku", "left")
    )
    grain = [_or_unknown(name) for name in DAILY_SALES.key if name != "order_date"]
    sums = described.groupBy("order_date", *grain).agg(
        F.count_distinct("order_id").alias("orders"),
        F.sum(F.col("qty").cast("bigint")).alias("units"),
        F.coalesce(F.sum("line_amount"), F.lit(0)).cast(SUM).alias("revenue"),
    )
    return sums.select(*DAILY_SALES.column_names)


def _or_unknown(name: str) -> Column:
    return F.coalesce(F.nullif(F.col(name), F.lit("")), F.lit(UNKNOWN)).alias(name)


def touched_dates(batch: Batch) -> set[date]:
    """The dates of applied orders, now and before, and those of lines whose user or product was updated by this batch.

    A user or product that is new has no older line: what orders name is in its dimension, inferred at least.
    """
    lines = batch.stage.warehouse.read(FACT_SALES)

    def days_of(dataset: str, key: str) -> DataFrame:
        updated = batch.stage.applied(dataset).where("outcome = 'updated'")
        return lines.join(updated.select(key), key, "left_semi").select("order_date")

    keys = {"users": "user_id", "products": "sku"}
    described_anew = [days_of(*each) for each in keys.items() if not batch.of(each[0]).only_inserts]
    rows = reduce(DataFrame.unionByName, described_anew).distinct().collect() if described_anew else []
    return {*batch.dates, *(row["order_date"] for row in rows)}


def apply_daily_sales(batch: Batch, dates: Collection[date]) -> None:
    """Replace exactly these dates, in one commit; a date without lines is left without rows."""
    if not dates:
        return
    warehouse = batch.stage.warehouse
    on_dates = F.col("order_date").isin(*map(date_literal, dates))
    sums = daily_sales(
        warehouse.read(FACT_SALES).where(on_dates),
        warehouse.read(DIM_ORDER).where(on_dates),
        warehouse.read(DIM_USER),
        warehouse.read(DIM_PRODUCT),
    )
    warehouse.overwrite(DAILY_SALES, sums, on_dates)
