"""The orders with Polars and delta-rs: read, keep the latest version, write the touched days anew.

    python bench/orders_polars.py INPUT TABLES

INPUT is a folder of JSON Lines; fact_sales and dim_order are in TABLES. It trusts its input: there is no validation and
no quarantine, so that one bad line ends it; there is no ledger, and neither users, products nor sales by day. It runs
on one machine and shares no line with the job.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, write_deltalake

MONEY = pl.Decimal(18, 4)
ORDER = pl.Schema(
    {
        "order_id": pl.String,
        "user_id": pl.String,
        "amount": pl.Float64,
        "currency": pl.String,
        "created_at": pl.String,
        "updated_at": pl.String,
        "items": pl.List(pl.Struct({"sku": pl.String, "qty": pl.Int32, "price": pl.Float64})),
        "metadata": pl.Struct({"source": pl.String, "promo": pl.String}),
    }
)
LINE = ["order_id", "line_no", "order_date", "created_at", "user_id"]
LINE += ["sku", "qty", "unit_price", "line_amount", "currency", "version_at"]
HEADER = ["order_id", "order_date", "created_at", "version_at", "user_id", "amount", "currency"]
HEADER += ["source", "promo", "line_count"]


def latest_versions(folder: Path) -> pl.DataFrame:
    """One row an order: of all its versions in the batch the last."""
    time = pl.col("created_at", "updated_at").str.to_datetime(time_unit="us", time_zone="UTC")
    orders = pl.scan_ndjson(folder / "*.jsonl", schema=ORDER).with_columns(time, pl.col("amount").cast(MONEY))
    dated = orders.with_columns(
        version_at=pl.coalesce("updated_at", "created_at"), order_date=pl.col("created_at").dt.date()
    )
    last = pl.all().sort_by("version_at").last()
    return dated.group_by("order_id").agg(last).collect(engine="streaming")


def lines_of(orders: pl.LazyFrame) -> pl.LazyFrame:
    """One row a line."""
    numbered = orders.with_columns(line_no=pl.int_ranges(1, pl.col("items").list.len() + 1, dtype=pl.Int32))
    exploded = numbered.explode("items", "line_no").unnest("items").rename({"price": "unit_price"})
    priced = exploded.with_columns(pl.col("unit_price").cast(MONEY))
    amount = (pl.col("qty").cast(pl.Decimal(10, 0)) * pl.col("unit_price")).cast(pl.Decimal(29, 4))
    return priced.with_columns(line_amount=amount).select(LINE)


def headers_of(orders: pl.LazyFrame) -> pl.LazyFrame:
    """One row an order."""
    counted = orders.with_columns(line_count=pl.col("items").list.len().cast(pl.Int32))
    return counted.unnest("metadata").select(HEADER)


ROWS = {"fact_sales": lines_of, "dim_order": headers_of}


def main(folder: Path, tables: Path) -> None:
    """Load one batch."""
    latest = latest_versions(folder)
    if not DeltaTable.is_deltatable(str(tables / "dim_order")):
        for name, rows in ROWS.items():
            found = rows(latest.lazy()).collect(engine="streaming")
            write_deltalake(tables / name, found, partition_by=["order_date"])
        return
    dates = [str(day) for day in latest["order_date"].unique()]
    where = f"order_date IN ({', '.join(repr(day) for day in dates)})"
    there = {}
    for name in ROWS:
        uris = DeltaTable(tables / name).file_uris(file_pruning_predicate=where)
        files = [unquote(uri) for uri in uris]  # delta-rs writes a space as %20, even without a scheme
        there[name] = pl.scan_parquet(files, hive_partitioning=True)
    versions = there["dim_order"].select("order_id", there_at="version_at").collect(engine="streaming")
    compared = latest.join(versions, on="order_id", how="left")
    newer = compared.filter(pl.col("there_at").is_null() | (pl.col("version_at") > pl.col("there_at")))
    if newer.is_empty():
        return
    for name, rows in ROWS.items():
        kept = there[name].join(newer.lazy().select("order_id"), on="order_id", how="anti")
        added = rows(newer.lazy())
        columns = added.collect_schema().names()
        found = pl.concat([kept.select(columns), added], how="vertical").collect(engine="streaming")
        write_deltalake(tables / name, found, mode="overwrite", predicate=where)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
