"""The orders as a good engineer would load them by hand: plain Spark and Delta, tuned for this machine.

    ./spark-submit.sh bench/orders_plain.py INPUT TABLES

INPUT is a folder of JSON Lines; fact_sales and dim_order are in TABLES. Read with a schema, the latest version of each
order by `row_number`, its items by `posexplode`, both tables partitioned by date and merged into with the batch's dates
as literals. The first load writes instead of merging, one file a date.

It trusts its input: a line that is no JSON becomes an order of NULLs, a wrong type a NULL, two versions that tie are
decided by chance, an older version that comes late adds the lines that the newer one no longer has, and a crash
between two statements leaves orders with the lines of another version. There is no quarantine, no ledger and no
account, and neither users, products nor sales by day. It shares no line with the job.
"""

from __future__ import annotations

import sys

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

ORDER = """
    order_id STRING, user_id STRING, amount DECIMAL(18,4), currency STRING, created_at TIMESTAMP, updated_at TIMESTAMP,
    items ARRAY<STRUCT<sku: STRING, qty: INT, price: DECIMAL(18,4)>>, metadata STRUCT<source: STRING, promo: STRING>"""


def latest_versions(orders: DataFrame) -> DataFrame:
    """One row an order: of all its versions in the batch the last."""
    by_version = Window.partitionBy("order_id").orderBy(F.desc("version_at"))
    return (
        orders.withColumn("version_at", F.coalesce("updated_at", "created_at"))
        .withColumn("order_date", F.to_date("created_at"))
        .withColumn("at", F.row_number().over(by_version))
        .where("at = 1")
    )


def lines_of(orders: DataFrame) -> DataFrame:
    """One row a line."""
    exploded = orders.select("*", F.posexplode("items").alias("at_item", "item"))
    return exploded.select(
        "order_id",
        (F.col("at_item") + 1).alias("line_no"),
        "order_date",
        "created_at",
        "user_id",
        "item.sku",
        "item.qty",
        F.col("item.price").alias("unit_price"),
        (F.col("item.qty") * F.col("item.price")).cast("DECIMAL(29,4)").alias("line_amount"),
        "currency",
        "version_at",
    )


def headers_of(orders: DataFrame) -> DataFrame:
    """One row an order."""
    columns = ("order_id", "order_date", "created_at", "version_at", "user_id", "amount", "currency")
    lines = F.size("items").alias("line_count")
    return orders.select(*columns, "metadata.source", "metadata.promo", lines)


def write_first(rows: DataFrame, path: str) -> None:
    """Make a table."""
    rows.repartition("order_date").write.format("delta").partitionBy("order_date").save(path)


def merge_into(table: DeltaTable, rows: DataFrame, key: str, dates: str) -> None:
    """Update what is older, insert what is new."""
    merge = table.alias("t").merge(rows.alias("s"), f"{key} AND t.order_date IN ({dates})")
    merge.whenMatchedUpdateAll("s.version_at > t.version_at").whenNotMatchedInsertAll().execute()


def main(folder: str, tables: str) -> None:
    """Load one batch."""
    spark = SparkSession.builder.getOrCreate()
    fact_sales, dim_order = f"{tables}/fact_sales", f"{tables}/dim_order"
    orders = latest_versions(spark.read.schema(ORDER).json(folder)).persist()
    lines, headers = lines_of(orders), headers_of(orders)
    if not DeltaTable.isDeltaTable(spark, dim_order):
        write_first(lines, fact_sales)
        write_first(headers, dim_order)
        return
    days = sorted(row["order_date"] for row in orders.select("order_date").distinct().collect())
    dates = ", ".join(f"DATE'{day}'" for day in days)
    facts = DeltaTable.forPath(spark, fact_sales)
    surplus = f"t.order_id = s.order_id AND t.line_no > s.line_count AND t.order_date IN ({dates})"
    facts.alias("t").merge(headers.alias("s"), surplus).whenMatchedDelete("s.version_at > t.version_at").execute()
    merge_into(facts, lines, "t.order_id = s.order_id AND t.line_no = s.line_no", dates)
    merge_into(DeltaTable.forPath(spark, dim_order), headers, "t.order_id = s.order_id", dates)


if __name__ == "__main__":
    main(*sys.argv[1:])
