"""Orders pulled from an HTTP API and from a PostgreSQL, through landing files into the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DIM_ORDER, DIM_USER, FACT_SALES, QUARANTINE
from tests.integration.test_orders_job import data_versions, lines_of, order
from tests.job import Job, PullingJob
from tests.orders_api import OrdersApi, body, status
from tests.postgres_server import PostgresServer, postgres

pytestmark = pytest.mark.slow

TOKEN = "canary-token-8f2c1"  # noqa: S105


@pytest.fixture
def api() -> Iterator[OrdersApi]:
    with OrdersApi([json.dumps(order(f"o{n}", items=2)) for n in range(5)]) as server:
        server.authorization = f"Bearer {TOKEN}"
        yield server


@pytest.fixture
def pulling(job: Job, api: OrdersApi, monkeypatch: pytest.MonkeyPatch) -> PullingJob:
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    settings = ("url=" + api.url("/pages"), "paging=page", "page_parameter=page", "token=${SHOP_TOKEN}")
    retrying = ("since_parameter=since", "retries=1", "longest_wait_s=0")
    api_settings = [f"sources.api.{setting}" for setting in (*settings, *retrying)]
    return PullingJob(job, ["sources.orders=api", *api_settings])


def test_orders_of_an_api_are_pulled_loaded_and_asked_for_since_then(
    pulling: PullingJob, api: OrdersApi, capsys: pytest.CaptureFixture[str]
) -> None:
    job = pulling.job
    api.faults[2] = [body(b'[{"order_id": "o2", "items": [')]
    assert pulling.run() == 0
    assert job.metrics()["outcomes"]["inserted"] == 3
    assert job.metrics()["pulls"]["orders"]["malformed_pages"] == 1
    assert [row["reasons"][0]["rule"] for row in job.read(QUARANTINE).collect()] == ["malformed_json"]
    assert "since" not in api.seen[-1].query
    assert lines_of(job, "o4")[0][2] == "S1"
    before = data_versions(job)

    # The server is whole again, and knows nothing of `since`: it answers with all it has.
    assert pulling.run() == 0
    assert "since" in api.seen[-1].query
    outcomes = job.metrics()["outcomes"]
    assert (outcomes["inserted"], outcomes["unchanged"], outcomes["rejected"]) == (2, 3, 0)
    moved = data_versions(job)
    assert moved != before

    assert pulling.run() == 0
    assert job.metrics()["outcomes"]["unchanged"] == 5
    assert data_versions(job) == moved
    assert [row[0] for row in pulling.pulls("status")] == ["complete"] * 3
    told = capsys.readouterr()
    assert TOKEN not in told.out + told.err + "".join(path.read_text() for path in pulling.landed("orders"))


def test_a_pull_that_was_cut_off_changes_no_table_and_goes_on_at_its_page(
    pulling: PullingJob, api: OrdersApi, capsys: pytest.CaptureFixture[str]
) -> None:
    job = pulling.job
    api.faults[2] = [status(503, f"no {TOKEN} today")] * 2
    assert pulling.run() == 1
    assert TOKEN not in capsys.readouterr().err
    assert job.read(DIM_ORDER).count() == 0
    assert [path.name for path in pulling.landed("orders")] == ["page-00001.jsonl"]

    asked = len(api.seen)
    assert pulling.pull() == 0
    assert api.asked()[asked:] == ["2", "3", "4"]
    assert job.metrics()["pulls"]["orders"]["resumed"] is True
    assert [path.name for path in pulling.landed("orders")] == [f"page-0000{n}.jsonl" for n in (1, 2, 3)]
    assert job.read(DIM_ORDER).count() == 0

    api.orders = [json.dumps(order("o1", items=1, updated_at="2024-06-01T00:00:00Z"))]
    assert pulling.run() == 0
    assert job.read(DIM_ORDER).count() == 5
    assert (len(lines_of(job, "o0")), len(lines_of(job, "o1"))) == (2, 1)
    assert job.metrics()["outcomes"]["superseded"] == 1


@pytest.fixture
def shop(job: Job, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PostgresServer, PullingJob]]:
    with postgres() as server:
        monkeypatch.setenv("SHOP_PASSWORD", server.password)
        execute(
            server,
            """CREATE TABLE orders (
                 order_id text PRIMARY KEY, user_id text, amount numeric(12,2), currency text,
                 created_at timestamptz NOT NULL, changed timestamptz, deleted boolean, source text)""",
            "CREATE TABLE lines (order_id text, line_no int, sku text, qty int, price numeric(12,2))",
            "CREATE TABLE customers (user_id text, email text, created_at date, country text, note text)",
        )
        settings = (
            f"url=jdbc:postgresql://{server.host}:{server.port}/{server.database}",
            f"user={server.user}",
            "password=${SHOP_PASSWORD}",
            "orders.table=public.orders",
            "orders.changed_at=changed",
            "orders.columns.updated_at=changed",
            "orders.items.table=lines",
            "users.table=customers",
        )
        yield server, PullingJob(job, ["sources.orders=jdbc", *(f"sources.jdbc.{setting}" for setting in settings)])


def execute(server: PostgresServer, *statements: str) -> None:
    with server.connect() as connection:
        for statement in statements:
            connection.cursor().execute(statement)
        connection.commit()


def test_orders_of_a_database_are_pulled_with_their_lines_and_users_and_then_only_what_changed(
    shop: tuple[PostgresServer, PullingJob], capsys: pytest.CaptureFixture[str]
) -> None:
    server, pulling = shop
    job = pulling.job
    execute(
        server,
        """INSERT INTO orders
             SELECT 'o' || n, 'u' || n % 3, 24.68, 'EUR', timestamptz '2024-05-01 00:30+02' + n * interval '1 h',
               timestamptz '2024-05-02 00:00Z' + n * interval '1 h', false, 'web'
             FROM generate_series(1, 40) n""",
        """INSERT INTO lines
             SELECT 'o' || n, l, 'S' || l, l, 12.34 FROM generate_series(1, 40) n, generate_series(1, 2) l""",
        """INSERT INTO customers VALUES
             ('u0', 'a"b@example.com', '2024-01-31', 'DE'),
             ('u1', E'two\\nlines, and a comma', '2024-01-31', 'FR')""",
        # A row without a time of change is in every pull.
        "INSERT INTO orders VALUES ('without', 'u1', 12.34, 'EUR', '2024-05-03T00:00Z', NULL, false, NULL)",
    )
    assert pulling.run() == 0
    assert job.metrics()["outcomes"]["inserted"] == 41
    assert lines_of(job, "o2")[0][0].isoformat() == "2024-05-01"
    assert [line[2] for line in lines_of(job, "o40")] == ["S1", "S2"]
    amounts = job.read(FACT_SALES).agg(F.sum("line_amount").cast("string")).collect()
    assert amounts[0][0] == str(40 * 3 * 1234 // 100) + f".{40 * 3 * 1234 % 100:02}00"
    emails = {row["user_id"]: row["email"] for row in job.read(DIM_USER).where("NOT is_inferred").collect()}
    assert emails == {"u0": 'a"b@example.com', "u1": "two\nlines, and a comma"}
    before = data_versions(job)

    assert pulling.run() == 0
    assert job.metrics()["outcomes"]["unchanged"] == 2
    assert data_versions(job) == before

    execute(
        server,
        "UPDATE orders SET changed = '2024-06-01T00:00Z', deleted = true WHERE order_id = 'o7'",
        "UPDATE orders SET changed = '2024-06-01T00:00Z' WHERE order_id = 'o8'",
        "DELETE FROM lines WHERE order_id = 'o8' AND line_no = 2",
    )
    assert pulling.run() == 0
    assert job.metrics()["outcomes"]["updated"] == 2
    assert (lines_of(job, "o7"), len(lines_of(job, "o8"))) == ([], 1)
    assert job.metrics()["pulls"]["orders"]["records"] == 4
    assert [row[0] for row in pulling.pulls("status")] == ["complete"] * 6
    told = capsys.readouterr()
    assert server.password not in told.out + told.err


def test_what_is_no_value_is_rejected_by_its_rule_and_stops_no_other_row(
    shop: tuple[PostgresServer, PullingJob],
) -> None:
    server, pulling = shop
    job = pulling.job
    common = "1.5, '2024-05-01T10:00Z', '2024-05-02T00:00Z'"
    execute(
        server,
        # As such columns are usually declared: without a precision, and a flag that is a number.
        "ALTER TABLE orders ALTER amount TYPE numeric, ALTER deleted TYPE numeric USING deleted::int",
        "ALTER TABLE lines ALTER price TYPE numeric, ALTER qty TYPE numeric, ALTER line_no TYPE numeric",
        f"""INSERT INTO orders (order_id, amount, created_at, changed, deleted) VALUES
             ('good', {common}, 0), ('gone', {common}, 1), ('price-nan', {common}, 0), ('flag-two', {common}, 2),
             ('unchanged', 1.5, '2024-05-01T10:00Z', NULL, NULL),
             ('amount-nan', 'NaN', '2024-05-01T10:00Z', '2024-04-02', 0),
             ('amount-infinite', '-Infinity', '2024-05-01T10:00Z', '2024-04-03', 0),
             ('amount-fine', 1.00001, '2024-05-01T10:00Z', '2024-04-04', 0),
             ('created-infinite', 1.5, 'infinity', '2024-04-05', 0),
             ('created-bc', 1.5, '0044-03-15 BC', '2024-04-06', 0),
             ('changed-infinite', 1.5, '2024-05-01T10:00Z', 'infinity', 0),
             ('changed-before-all', 1.5, '2024-05-01T10:00Z', '-infinity', 0),
             ('changed-bc', 1.5, '2024-05-01T10:00Z', '0044-03-15 BC', 0)""",  # noqa: S608 - no text of others
        """INSERT INTO lines VALUES
             ('good', 10, 'S10', 1, 0.3), ('good', 9, 'S9', 2, 0.6000000), ('good', 'NaN', 'last', 1, 0),
             ('price-nan', 1, 'S1', 1, 'NaN')""",
    )
    assert pulling.run() == 0
    assert ("orders", '{"changed_at": "2024-05-02T00:00:00+00:00"}') in pulling.pulls("dataset", "checkpoint")
    assert job.read_keys() == {"good", "gone", "unchanged"}
    rows = job.read(DIM_ORDER).select("order_id", F.col("amount").cast("string"), "is_deleted")
    assert {row[0]: row[1:] for row in rows.collect()} == {
        "good": ("1.5000", False),
        "gone": ("1.5000", True),
        "unchanged": ("1.5000", False),
    }
    assert [line[2] for line in lines_of(job, "good")] == ["S9", "S10", "last"]
    assert broken_rules(job) == {
        "amount-nan": ["amount_is_exact"],
        "amount-infinite": ["amount_is_exact"],
        "amount-fine": ["amount_is_exact"],
        "price-nan": ["item_price_is_exact"],
        "flag-two": ["wrong_type"],
        "created-infinite": ["created_at_is_time"],
        "created-bc": ["created_at_is_time"],
        "changed-infinite": ["updated_at_is_time"],
        "changed-before-all": ["updated_at_is_time"],
        "changed-bc": ["updated_at_is_time"],
    }

    # At the instant of the checkpoint, with a smaller key than any other.
    execute(server, f"INSERT INTO orders (order_id, amount, created_at, changed) VALUES ('a', {common})")  # noqa: S608
    assert pulling.run("--set", "sources.jdbc.overlap_s=0") == 0
    outcomes = job.metrics()["outcomes"]
    assert (outcomes["inserted"], outcomes["unchanged"]) == (1, 3)
    assert job.metrics()["pulls"]["orders"]["records"] == 9


def broken_rules(job: Job) -> dict[str, list[str]]:
    rows = job.read(QUARANTINE).select("raw", "reasons.rule").collect()
    return {json.loads(row["raw"])["order_id"]: row["rule"] for row in rows}


def test_a_database_whose_columns_differ_is_refused_before_anything_lands(
    shop: tuple[PostgresServer, PullingJob], capsys: pytest.CaptureFixture[str]
) -> None:
    server, pulling = shop
    execute(server, "ALTER TABLE orders DROP COLUMN created_at", "ALTER TABLE orders ALTER amount TYPE date USING NULL")
    execute(server, "ALTER TABLE lines RENAME price TO cost", "DROP TABLE customers")
    assert pulling.pull() == 1
    told = capsys.readouterr().err
    assert "the table customers cannot be read" in told
    assert pulling.pull("--set", "sources.jdbc.users=") == 1
    told = capsys.readouterr().err
    for problem in (
        "orders.created_at: missing",
        "orders.amount: expected a number, found date",
        "lines.price: missing",
    ):
        assert problem in told
    assert pulling.landed("orders") == []
