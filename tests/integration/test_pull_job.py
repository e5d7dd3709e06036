"""The pull job alone: what lands, what it tells, and what the ledger of pulls says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pyspark.sql import SparkSession

from tests.derby_shop import DRIVER, Shop
from tests.integration.test_orders_job import order
from tests.job import Job, PullingJob
from tests.orders_api import OrdersApi, body, status

TOKEN = "canary-token-8f2c1"  # noqa: S105


@pytest.fixture
def pulling(job: Job, monkeypatch: pytest.MonkeyPatch) -> Callable[[OrdersApi], PullingJob]:
    """The jobs with an API as source."""
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)

    def of(api: OrdersApi) -> PullingJob:
        api.authorization = f"Bearer {TOKEN}"
        paging = ("paging=page", "page_parameter=page", "since_parameter=since", "retries=0", "token=${SHOP_TOKEN}")
        settings = [f"sources.api.{setting}" for setting in ("url=" + api.url("/pages?shop=7"), *paging)]
        return PullingJob(job, ["sources.orders=api", *settings])

    return of


def test_pages_land_and_the_next_pull_asks_for_what_changed_since(
    pulling: Callable[[OrdersApi], PullingJob], capsys: pytest.CaptureFixture[str]
) -> None:
    with OrdersApi([json.dumps(order(f"o{n}")) for n in range(5)]) as api:
        job = pulling(api)
        api.faults[2] = [body(b"[{"), status(503, f"not with {TOKEN}")]
        assert job.pull() == 0
        told = capsys.readouterr().out
        assert "Malformed pages: 1, each a record that loading puts into quarantine" in told
        assert [path.name for path in job.landed("orders")] == [f"page-0000{n}.jsonl" for n in (1, 2, 3)]

        assert job.pull("--json") == 1
        told = capsys.readouterr()
        assert json.loads(told.out)["status"] == "failed"
        assert TOKEN not in told.out + told.err
        assert len(job.pulls("status")) == 1

        assert job.pull("--json") == 0
        found = json.loads(capsys.readouterr().out)["pulls"]["orders"]
        assert (found["pages"], found["records"], found["resumed"]) == (4, 5, True)
        # Not only the first page was asked with it: a pull keeps its window.
        assert {seen.query.get("since", "")[:2] for seen in api.seen} == {"", "20"}
        assert {seen.query["shop"] for seen in api.seen} == {"7"}
        [first, second] = job.pulls("status", "records", "malformed_pages", "since", "until", "address")
        assert (first[:4], second[:3]) == (("complete", 4, 1, None), ("complete", 5, 0))
        assert second[3] == first[4]
        assert first[5] == second[5] == api.url("/pages")


def test_tables_of_a_database_land_and_only_what_changed_since_then(
    spark: SparkSession, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(spark)
    for number in range(6):
        shop.order(number, f"2024-06-0{number + 1} 00:00:00", items="'[]'")
    shop.execute("""INSERT INTO "customers" VALUES ('u1', 'a@b', NULL, NULL)""")
    monkeypatch.setenv("SHOP_PASSWORD", "canary-password")
    settings = (f"url={shop.name}", "user=APP", "password=${SHOP_PASSWORD}", f"driver={DRIVER}", "overlap_s=0")
    orders = ("orders.table=orders", "orders.changed_at=changed", "orders.items.column=items", "users.table=customers")
    pulling = PullingJob(job, ["sources.orders=jdbc", *(f"sources.jdbc.{name}" for name in (*settings, *orders))])
    assert pulling.pull() == 0
    shop.order(7, "2024-06-09 00:00:00", items="'[]'")
    assert pulling.pull() == 0
    assert pulling.pulls("dataset", "records") == [("users", 1), ("orders", 6), ("users", 1), ("orders", 2)]
    landed = "".join(path.read_text() for path in pulling.landed("orders"))
    assert sorted(json.loads(line)["order_id"] for line in landed.splitlines()) == [*"01234557"]


def test_a_secret_in_the_reason_of_the_database_is_neither_told_nor_kept(
    spark: SparkSession, job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "canary_password")
    settings = (f"url={Shop(spark).name}", "user=APP", "password=${SHOP_PASSWORD}", f"driver={DRIVER}")
    # The name of the table is what its error tells.
    orders = ("orders.table=canary_password", "orders.items.column=items")
    pulling = PullingJob(job, ["sources.orders=jdbc", *(f"sources.jdbc.{name}" for name in (*settings, *orders))])
    assert pulling.pull("--json") == 1
    told = capsys.readouterr()
    assert "the table *** cannot be read" in job.metrics()["message"]
    assert "canary_password" not in told.out + told.err + (job.output / "metrics.json").read_text()


def test_without_a_source_there_is_nothing_to_pull(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert PullingJob(job, []).pull() == 2
    assert "sources.orders: files are there already" in capsys.readouterr().err
    assert PullingJob(job, ["sources.orders=api"]).pull() == 2
    assert "orders: api needs sources.api" in capsys.readouterr().err
