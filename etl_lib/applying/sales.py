"""What a run tells of the sales that it changed: the latest days, and the countries and products that sold the most."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from etl_lib.applying.daily_sales import UNKNOWN
from etl_lib.deciding.counts import Batch
from etl_lib.run.metric_parts import SalesMetrics
from etl_lib.tables.merge import dates_literal
from etl_lib.tables.schemas import DAILY_SALES

MOST_DAYS = 60
MOST_NAMES = 10
PARTS = {"days": "date", "countries": "country", "products": "sku"}
"""What is told, and by what."""


def tell_sales(batch: Batch, dates: Collection[date]) -> SalesMetrics | None:
    """Revenue and units by day and by country on the latest of the dates that the batch has touched, and by product
    of its own orders, always by currency; None for a batch that touched none. One query.
    """
    if not dates:
        return None
    latest = sorted(dates)[-MOST_DAYS:]
    sales = batch.stage.warehouse.read(DAILY_SALES).where(dates_literal("order_date", latest))
    lines = batch.stage.applied("orders").where("NOT is_deleted").select("currency", F.inline("lines"))
    amount = (F.col("qty") * F.col("unit_price")).cast("decimal(29,4)")
    currency = F.coalesce(F.nullif("currency", F.lit("")), F.lit(UNKNOWN)).alias("currency")
    sold = lines.select(currency, "sku", F.col("qty").cast("bigint").alias("units"), amount.alias("revenue"))
    sums = (F.sum(column).alias(column) for column in ("units", "revenue"))
    by = sales.groupingSets([["order_date", "currency"], ["country", "currency"]], "order_date", "country", "currency")
    summed = by.agg(*sums).withColumn("part", F.when(F.col("country").isNull(), "days").otherwise("countries"))
    name = F.coalesce(F.col("order_date").cast("string"), "country").alias("name")
    parts = [
        summed.select("part", name, "currency", "units", "revenue"),
        sold.groupBy("sku", "currency")
        .agg(F.sum("units").alias("units"), F.sum("revenue").alias("revenue"))
        .select(F.lit("products").alias("part"), F.col("sku").alias("name"), "currency", "units", "revenue"),
    ]
    place = F.row_number().over(Window.partitionBy("part", "currency").orderBy(F.desc("revenue"), "name"))
    ranked = reduce(DataFrame.unionByName, parts).withColumn("place", place)
    rows = ranked.where((F.col("part") == "days") | (F.col("place") <= MOST_NAMES)).collect()
    rows.sort(key=lambda row: (row["currency"], row["name"] if row["part"] == "days" else f"{row['place']:09}"))
    return SalesMetrics(**{part: [_told(row) for row in rows if row["part"] == part] for part in PARTS})


def _told(row: Row) -> dict[str, str | int]:
    revenue = "0" if row["revenue"] is None else f"{row['revenue']:f}"
    return {PARTS[row["part"]]: row["name"], "currency": row["currency"], "units": row["units"], "revenue": revenue}
