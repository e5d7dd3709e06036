"""The orders with DuckDB and delta-rs: read, keep the latest version, write the touched days anew.

    python bench/orders_duckdb.py INPUT TABLES

INPUT is a folder of JSON Lines; fact_sales and dim_order are in TABLES. It trusts its input: there is no validation and
no quarantine, so that one bad line ends it; there is no ledger, and neither users, products nor sales by day. It runs
on one machine and shares no line with the job.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote

import duckdb
from deltalake import DeltaTable, write_deltalake

READ = """
CREATE TEMP TABLE latest AS
SELECT *, coalesce(updated_at, created_at) AS version_at, created_at::DATE AS order_date
FROM read_json(?, format = 'newline_delimited', columns = {
  order_id: 'VARCHAR', user_id: 'VARCHAR', amount: 'DECIMAL(18, 4)', currency: 'VARCHAR',
  created_at: 'TIMESTAMPTZ', updated_at: 'TIMESTAMPTZ',
  items: 'STRUCT(sku VARCHAR, qty INTEGER, price DECIMAL(18, 4))[]', metadata: 'STRUCT(source VARCHAR, promo VARCHAR)'
})
QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY version_at DESC) = 1
"""
LINES = """
SELECT
  order_id, line_no::INTEGER AS line_no, order_date, created_at, user_id, item.sku, item.qty,
  item.price AS unit_price, (item.qty * item.price)::DECIMAL(29, 4) AS line_amount, currency, version_at
FROM (SELECT *, unnest(items) AS item, generate_subscripts(items, 1) AS line_no FROM {orders})
"""
HEADERS = """
SELECT
  order_id, order_date, created_at, version_at, user_id, amount, currency, metadata.source, metadata.promo,
  len(items)::INTEGER AS line_count
FROM {orders}
"""
ROWS = {"fact_sales": LINES, "dim_order": HEADERS}
NEWER = """
CREATE TEMP TABLE newer AS
SELECT latest.* FROM latest LEFT JOIN dim_order USING (order_id)
WHERE dim_order.version_at IS NULL OR latest.version_at > dim_order.version_at
"""
REPLACED = "SELECT * FROM {name} ANTI JOIN newer USING (order_id) UNION ALL BY NAME {rows}"


def main(folder: Path, tables: Path) -> None:
    """Load one batch."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(READ, [str(folder / "*.jsonl")])
        if not DeltaTable.is_deltatable(str(tables / "dim_order")):
            for name, rows in ROWS.items():
                found = connection.sql(rows.format(orders="latest"))
                write_deltalake(tables / name, found, partition_by=["order_date"])
            return
        dates = [str(day) for (day,) in connection.execute("SELECT DISTINCT order_date FROM latest").fetchall()]
        where = f"order_date IN ({', '.join(repr(day) for day in dates)})"
        for name in ROWS:
            uris = DeltaTable(tables / name).file_uris(file_pruning_predicate=where)
            files = [unquote(uri) for uri in uris]  # delta-rs writes a space as %20, even without a scheme
            connection.read_parquet(files, hive_partitioning=True).create_view(name)
        connection.execute(NEWER)
        if connection.execute("SELECT count(*) FROM newer").fetchall() == [(0,)]:
            return
        for name, rows in ROWS.items():
            found = connection.sql(REPLACED.format(name=name, rows=rows.format(orders="newer")))
            write_deltalake(tables / name, found, mode="overwrite", predicate=where)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
