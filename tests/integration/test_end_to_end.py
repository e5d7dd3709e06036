"""From an API and a PostgreSQL in to PostgreSQL and Parquet files out, twice, with a crash in between: to the cent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DIM_USER, ETL_PUBLISHES, FACT_SALES, SALES_TABLES
from tests.integration.test_orders_job import order
from tests.integration.test_pulls import execute
from tests.job import Job, PullingJob
from tests.killing import DyingJob
from tests.orders_api import OrdersApi
from tests.postgres_server import PostgresServer, postgres
from tests.publishing import SUBMIT, Published, assert_shows_the_tables, new_schema

pytestmark = pytest.mark.slow

TOKEN = "shop-token-5b1e"  # noqa: S105
LATER = {"updated_at": "2024-06-01T00:00:00Z"}
SHOP = (
    """CREATE TABLE orders (
         order_id text PRIMARY KEY, user_id text, amount numeric(12,4), currency text, created_at timestamptz NOT NULL,
         changed timestamptz, deleted boolean, source text)""",
    "CREATE TABLE lines (order_id text, line_no int, sku text, qty int, price numeric(12,4))",
    "CREATE TABLE customers (user_id text, email text, created_at timestamptz, country text)",
    "CREATE TABLE goods (sku text, name text, category text, price numeric(12,4))",
    """INSERT INTO orders
         SELECT 'shop ' || n, 'u' || n % 2, NULL, CASE n % 2 WHEN 0 THEN 'USD' ELSE 'EUR' END,
           timestamptz '2024-05-01 00:00:00.000001Z' + n * interval '7 h', timestamptz '2024-05-20Z', false, 'shop'
         FROM generate_series(1, 12) n""",
    """INSERT INTO lines
         SELECT 'shop ' || n, l, 'S' || l, l, 0.0007 + n FROM generate_series(1, 12) n, generate_series(1, 3) l""",
    """INSERT INTO customers VALUES
         ('u0', 'u0@example.com', '2024-01-31 10:00:00.123456Z', 'DE'), ('u1', NULL, NULL, 'AT')""",
    "INSERT INTO goods VALUES ('S1', 'one', 'A', 9.9999), ('S2', 'two', 'B', NULL)",
)


@dataclass
class World:
    """Two configurations over one warehouse: each pulls from a source of its own, both publish to the same sinks."""

    job: Job
    api: OrdersApi
    shop: PostgresServer
    published: Published

    @property
    def parquet(self) -> Path:
        return self.job.root / "published"

    @property
    def sinks(self) -> list[str]:
        postgres, *place = self.published.settings
        assert postgres == "sinks=[postgres]"
        return ["sinks=[postgres, parquet]", *place, f"publish.parquet.path={self.parquet}"]

    def from_api(self) -> PullingJob:
        paging = ("url=" + self.api.url("/pages"), "paging=page", "page_parameter=page", "since_parameter=since")
        source = ["sources.orders=api", *(f"sources.api.{name}" for name in (*paging, "token=${SHOP_TOKEN}"))]
        return PullingJob(self.job, [*source, *self.sinks])

    def from_shop(self) -> PullingJob:
        where = f"url=jdbc:postgresql://{self.shop.host}:{self.shop.port}/{self.shop.database}"
        orders = ("orders.table=orders", "orders.changed_at=changed", "orders.columns.updated_at=changed")
        tables = (*orders, "orders.items.table=lines", "users.table=customers", "products.table=goods")
        settings = (where, f"user={self.shop.user}", "password=${PUBLISH_PASSWORD}", *tables)
        return PullingJob(
            self.job, ["sources.orders=jdbc", *(f"sources.jdbc.{name}" for name in settings), *self.sinks]
        )

    @property
    def statuses(self) -> dict[str, Any]:
        """Of the last run's publishes, by sink."""
        return {name: each["status"] for name, each in self.job.metrics()["publishes"].items()}

    def read_parquet(self, name: str) -> pa.Table:
        """The rows of the files that the manifest lists."""
        manifest = json.loads((self.parquet / "_manifest.json").read_text())
        files = [self.parquet / file["path"] for file in manifest["tables"][name]["files"]]
        return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


@pytest.fixture
def world(job: Job, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    monkeypatch.setenv(*SUBMIT)
    orders = [json.dumps(order(f"api {n}", n, items=n, user_id=f"u{n}")) for n in range(1, 6)]
    with postgres() as server, OrdersApi(orders) as api:
        api.authorization = f"Bearer {TOKEN}"
        execute(server, *SHOP)
        yield World(job, api, server, new_schema(server))


def assert_everywhere_the_same(world: World) -> None:
    """PostgreSQL and the Parquet files show the tables, row by row."""
    assert_shows_the_tables(world.published, world.job)
    for table in SALES_TABLES:
        frame = world.job.read(table).select(*table.column_names)
        texts = [F.col(name).cast("string").alias(name) for name in table.column_names]
        shown = world.read_parquet(table.name).select(table.column_names).to_pylist()
        again = world.job.spark.createDataFrame([tuple(row.values()) for row in shown], table.schema)
        expected = sorted(map(tuple, frame.select(*texts).collect()), key=repr)
        assert sorted(map(tuple, again.select(*texts).collect()), key=repr) == expected, table.name
    assert world.read_parquet("sales_wide").num_rows == world.job.read(FACT_SALES).count()


def sums(world: World) -> dict[str, Decimal]:
    """What was sold in all, by currency, as analysts ask it of PostgreSQL."""
    return dict(world.published.ask("SELECT currency, sum(line_amount) FROM {s}.fact_sales GROUP BY currency"))


def test_two_sources_two_sinks_two_runs_a_correction_a_deletion_and_a_crash(world: World) -> None:
    job, api, shop = world.job, world.from_api(), world.from_shop()
    assert (api.run(), shop.run()) == (0, 0)
    # n items at 10.00 each of the API; 1 + 2 + 3 units of each order of the shop, at its number and 0.0007.
    of_shop = {
        "EUR": sum(6 * (n + Decimal("0.0007")) for n in range(1, 13, 2)),
        "USD": sum(6 * (n + Decimal("0.0007")) for n in range(2, 13, 2)),
    }
    assert sums(world) == {"EUR": of_shop["EUR"] + 150, "USD": of_shop["USD"]}
    assert {row["country"] for row in job.read(DIM_USER).collect()} == {"DE", "AT", None}
    assert_everywhere_the_same(world)

    # Both again: all is known, and nothing is published.
    state = world.published.ask("SELECT xmin::text, * FROM {s}.publish_state")
    manifest = (world.parquet / "_manifest.json").read_bytes()
    for again in (api, shop):
        assert again.run() == 0
        assert world.statuses == {"postgres": "nothing new", "parquet": "nothing new"}
    assert world.published.ask("SELECT xmin::text, * FROM {s}.publish_state") == state
    assert (world.parquet / "_manifest.json").read_bytes() == manifest

    # A correction in the API, a deletion and a dropped line in the shop; the process dies with one sink half filled.
    world.api.orders = [json.dumps(order("api 5", 9, items=1, user_id="u9", **LATER))]
    execute(
        world.shop,
        "UPDATE orders SET deleted = true, changed = '2024-06-01Z' WHERE order_id = 'shop 2'",
        "UPDATE orders SET changed = '2024-06-01Z' WHERE order_id = 'shop 3'",
        "DELETE FROM lines WHERE order_id = 'shop 3' AND line_no = 3",
    )
    before = sums(world)
    DyingJob(job.spark, job.root).die_at("publish_postgres.staged", "orders", *api.options)
    assert sums(world) == before
    assert shop.run() == 0
    assert world.statuses == {"postgres": "complete", "parquet": "complete"}
    assert sums(world) == {
        "EUR": of_shop["EUR"] + 110 - 3 * Decimal("3.0007"),
        "USD": of_shop["USD"] - 6 * Decimal("2.0007"),
    }
    assert world.published.ask("SELECT is_deleted, line_count FROM {s}.dim_order WHERE order_id = 'shop 2'") == [
        (True, 0)
    ]
    assert_everywhere_the_same(world)
    assert api.run() == 0
    assert world.statuses == {"postgres": "nothing new", "parquet": "nothing new"}
    # Each publish was held against the tables, and none differed.
    assert {row["status"] for row in job.read(ETL_PUBLISHES).collect()} == {"complete"}
