"""The enriched wide table: each sale with what analysts would otherwise join to it.

The e-mail address of the user stays out: no question about sales needs it, and a published file is copied on and on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.sinks.relations import relation
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, LINE_AMOUNT, MONEY, Table

SALES_WIDE = Table(
    name="sales_wide",
    grain="one line of the current version of an order, with the attributes of its order, user and product",
    key=("order_id", "line_no"),
    partition=("order_date",),
    columns=f"""
        order_id STRING NOT NULL, line_no INT NOT NULL, order_date DATE NOT NULL, created_at TIMESTAMP NOT NULL,
        source STRING, promo STRING, user_id STRING, country STRING, user_created_at TIMESTAMP, sku STRING NOT NULL,
        product_name STRING, category STRING, list_price {MONEY}, qty INT NOT NULL, unit_price {MONEY},
        line_amount {LINE_AMOUNT}, currency STRING, version_at TIMESTAMP NOT NULL, run_id STRING NOT NULL""",
)

WIDE = relation(SALES_WIDE, group="order_date")
"""What is written of it, like any published table."""


def on_dates(dates: frozenset[date] | None) -> Column:
    """Whether order_date is one of these; None for all. Literals: by nothing else does Delta skip files."""
    if not dates:
        return F.lit(dates is None)
    # One text: thousands of literals one by one would each be a call into the virtual machine.
    literals = ", ".join(f"DATE'{day}'" for day in sorted(dates))
    return F.expr(f"order_date IN ({literals})")


def sales_wide(snapshots: Mapping[str, DataFrame], dates: frozenset[date] | None) -> DataFrame:
    """The wide lines of some dates (None: of all), as many as fact_sales has there, from the tables by name."""
    orders = snapshots[DIM_ORDER.name].where(on_dates(dates)).select("order_id", "source", "promo")
    users = snapshots[DIM_USER.name].select("user_id", "country", F.col("created_at").alias("user_created_at"))
    products = snapshots[DIM_PRODUCT.name].select(
        "sku", F.col("name").alias("product_name"), "category", F.col("price").alias("list_price")
    )
    lines = snapshots[FACT_SALES.name].where(on_dates(dates))
    joined = lines.join(orders, "order_id", "left").join(users, "user_id", "left").join(products, "sku", "left")
    return joined.select(SALES_WIDE.column_names)


def dates_of(lines: DataFrame, keys: DataFrame, column: str) -> frozenset[date]:
    """The dates of the lines of fact_sales that have one of these keys (one row a value of `column`)."""
    found = lines.join(keys, column, "left_semi").select("order_date").distinct().collect()
    return frozenset(row["order_date"] for row in found)
