"""The tables published to a real PostgreSQL, by the jobs."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl_lib.tables.schemas import DIM_ORDER
from tests.integration.test_orders_job import data_versions, order
from tests.job import Job
from tests.killing import DyingJob
from tests.postgres_server import SYSTEM_USER, PostgresServer, as_user, postgres
from tests.publishing import SUBMIT, Published, PublishingJob, assert_shows_the_tables, new_schema, summary
from tests.tls import certificate_for

LATER = {"updated_at": "2024-06-01T00:00:00Z"}


def incompressible(name: str, size: int) -> str:
    """A text of exactly so many bytes of UTF-8, another one for each name; nearly each letter has three of them."""
    rng = random.Random(name)  # noqa: S311 - test data
    return "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(size // 3)) + "x" * (size % 3)


IDS, TEXTS = ("order_id", "user_id", "sku"), ("currency", "source", "country", "category")
LONGEST = {name: incompressible(name, 1024) for name in IDS} | {name: incompressible(name, 512) for name in TEXTS}
"""As long as the rules let pass. PostgreSQL compresses what it puts into an index, and then takes 2,704 bytes a row:
here 1,040 for an id, and 2,080 for the key of daily_sales."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture
def published(server: PostgresServer) -> Published:
    return new_schema(server)


@pytest.fixture
def publishing(job: Job, published: Published) -> PublishingJob:
    (job.landing / "users.csv").write_text(
        "user_id,email,created_at,country\nu1,u1@example.com,2024-01-01T00:00:00.123456Z,DE\n"
    )
    (job.landing / "products.csv").write_text("sku,name,category,price\nS1,\"one, 'ö'\",A,10.0001\n")
    return PublishingJob(job, published.settings)


@pytest.mark.slow
def test_a_life_of_publishes(
    publishing: PublishingJob, published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    job = publishing.job
    job.land(
        "a.jsonl",
        *(order(name, day, items=3) for day, name in enumerate(("shrinks", "moves", "goes", "stays"), 1)),
        order("nobody's", 5, user_id="", currency=None, amount=None, metadata=None),
        order("to the microsecond", 6, items=2, created_at="2024-05-06T23:59:59.999999Z"),
        long_order(),
        *(long_order(name) for name in (*IDS, "currency", "source")),
    )
    add_long_user_and_product(job)
    assert publishing.run() == 0
    first = publishing.told("postgres")
    assert (first["status"], first["is_full"], first["rows"]["dim_order"]) == ("complete", True, 7)
    assert_shows_the_tables(published, job)
    assert_has_the_longest(published)
    datasets = job.metrics()["datasets"]
    too_long = {name: (counts["rules"]["ids_fit"], counts["rules"]["texts_fit"]) for name, counts in datasets.items()}
    assert too_long == {"orders": (3, 2), "products": (1, 1), "users": (1, 1)}
    assert [counts["outcomes"]["rejected"] for counts in datasets.values()] == [5, 2, 2]
    assert published.ask("SELECT user_id FROM {s}.dim_order WHERE order_id = 'nobody''s'") == [(None,)]

    # Nothing new: nothing is written, in the warehouse or in the sink.
    state, versions = published.ask("SELECT xmin::text, * FROM {s}.publish_state"), data_versions(job)
    capsys.readouterr()
    assert publishing.run() == 0
    assert "Nothing new for postgres" in capsys.readouterr().out
    assert publishing.publish("--json") == 0
    assert summary(capsys.readouterr().out)["publishes"]["postgres"]["status"] == "nothing new"
    assert published.ask("SELECT xmin::text, * FROM {s}.publish_state") == state
    assert len(publishing.entries("publish_id")) == 1

    # A plan tells what would go there, and writes nothing.
    job.land(
        "b.jsonl",
        order("shrinks", 1, items=1, **LATER),
        order("moves", 9, items=2, **LATER),
        order("goes", 3, deleted=True, **LATER),
    )
    assert job.run() == 0
    untouched = published.ask("SELECT xmin::text, * FROM {s}.dim_order ORDER BY order_id")
    assert publishing.publish("--plan") == 0
    assert "Would be published" in capsys.readouterr().out
    planned = publishing.told("postgres")
    assert planned["status"] == "planned"
    assert planned["groups"] == {
        "dim_user": 0,
        "dim_product": 0,
        "dim_order": 3,
        "fact_sales": 3,
        "daily_sales": 4,
    }
    assert planned["rows"] == {"dim_user": 0, "dim_product": 0, "dim_order": 3, "fact_sales": 3, "daily_sales": 3}
    assert planned["dates"]["fact_sales"] == 4
    assert published.ask("SELECT xmin::text, * FROM {s}.dim_order ORDER BY order_id") == untouched
    assert len(publishing.entries("publish_id")) == 1

    # What changed goes there, and only that.
    assert publishing.publish() == 0
    second = publishing.told("postgres")
    assert (second["rows"], second["is_full"], second["previous"]) == (planned["rows"], False, first["publish_id"])
    assert_shows_the_tables(published, job)
    after = {row[1]: row[0] for row in published.ask("SELECT xmin::text, * FROM {s}.dim_order")}
    assert {row[1] for row in untouched if after[row[1]] == row[0]} == {
        "stays",
        "nobody's",
        "to the microsecond",
        LONGEST["order_id"],
    }
    assert published.ask("SELECT count(*) FROM {s}.fact_sales WHERE order_id = 'goes'") == [(0,)]
    assert data_versions(job) != versions
    assert publishing.entries("sink", "status", "is_full", "previous") == [
        ("postgres", "complete", True, None),
        ("postgres", "complete", False, first["publish_id"]),
    ]


def long_order(too_long: str = "") -> dict[str, Any]:
    """An order with the longest ids and texts; the one that is `too_long` has a byte more."""
    texts = {name: f"{text}x" if name == too_long else text for name, text in LONGEST.items()}
    named = {name: texts[name] for name in ("order_id", "user_id", "currency")}
    items = [{"sku": texts["sku"], "qty": 1, "price": 10.00}]
    return {**order("", 7), **named, "metadata": {"source": texts["source"]}, "items": items}


def add_long_user_and_product(job: Job) -> None:
    """The user and the product of `long_order`, and of each one with an id and one with a text of a byte more."""
    user, sku, country, category = (LONGEST[name] for name in ("user_id", "sku", "country", "category"))
    with (job.landing / "users.csv").open("a", encoding="utf-8") as file:
        file.write(f"{user},,2024-01-01,{country}\n{user}x,,2024-01-01,DE\nu3,,2024-01-01,{country}x\n")
    with (job.landing / "products.csv").open("a", encoding="utf-8") as file:
        file.write(f"{sku},long,{category},1\n{sku}x,long,A,1\nS9,long,{category}x,1\n")


def assert_has_the_longest(published: Published) -> None:
    """The longest ids and texts are in the keys with all of their bytes, which PostgreSQL could not compress."""
    keys = {
        "dim_order": ["order_id"],
        "dim_user": ["user_id"],
        "dim_product": ["sku"],
        "daily_sales": ["currency", "country", "category", "source"],
    }
    for table, columns in keys.items():
        for name in columns:
            query = (
                f"SELECT {name}, pg_column_size({name}) FROM {{s}}.{table} ORDER BY octet_length({name}) DESC LIMIT 1"  # noqa: S608
            )
            (text, size), *_ = published.ask(query)
            assert (text, size >= len(text.encode())) == (LONGEST[name], True), name


@pytest.mark.slow
def test_a_sink_that_differs_is_told_and_healed_by_the_next_publish(
    publishing: PublishingJob, published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    job = publishing.job
    job.land("a.jsonl", order("o1", 1, items=2), order("o2", 2))
    assert publishing.run() == 0
    published.do("UPDATE {s}.fact_sales SET line_amount = line_amount + 0.01 WHERE order_id = 'o1' AND line_no = 1")
    published.do("DELETE FROM {s}.daily_sales WHERE order_date = '2024-05-01'")
    job.land("b.jsonl", order("o3", 3))
    assert publishing.run("--json") == 1
    printed = capsys.readouterr()
    told = summary(printed.out)
    assert (told["status"], told["outcomes"]["inserted"]) == ("failed", 1)
    assert told["publishes"]["postgres"]["status"] == "differs"
    for said in (
        "not everything was published; the tables are as they should be, and jobs/publish.py tries again",
        "fact_sales on 2024-05-01 in EUR: the table has line_amount 20.0000, the sink 20.0100",
        "daily_sales: the table has 4 rows, the sink 2",
    ):
        assert said in told["message"]
    # The tables are loaded, and the next publish brings everything although nothing is new.
    assert job.read_keys() == {"o1", "o2", "o3"}
    assert publishing.publish() == 0
    assert publishing.told("postgres")["reason"] == "the sink differed from the tables after its last publish"
    assert_shows_the_tables(published, job)
    assert publishing.publish() == 0
    assert publishing.told("postgres")["status"] == "nothing new"
    statuses = [("complete", True), ("differs", False), ("complete", True)]
    assert publishing.entries("status", "is_full") == statuses


@pytest.mark.slow
def test_a_sink_that_fails_leaves_the_tables_loaded_and_is_tried_again(
    publishing: PublishingJob, published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    job = publishing.job
    job.land("a.jsonl", order("o1"))
    published.do("CREATE SCHEMA {s}")
    published.do("CREATE TABLE {s}.dim_user (user_id int PRIMARY KEY)")
    assert publishing.run() == 1
    told = capsys.readouterr().err
    assert "jobs/publish.py tries again" in told
    assert "dim_user.user_id: integer NOT NULL PRIMARY KEY, expected text NOT NULL PRIMARY KEY" in told
    assert job.read_keys() == {"o1"}
    published.do("DROP TABLE {s}.dim_user")
    assert publishing.publish() == 0
    assert_shows_the_tables(published, job)

    # Somebody else's publish: what was computed on the last one is refused, or brought as a whole.
    published.do("UPDATE {s}.publish_state SET publish_id = 'of-another-warehouse'")
    assert publishing.publish("--plan") == 0
    assert (
        "does not know the publish of-another-warehouse, which the sink shows" in publishing.told("postgres")["reason"]
    )
    assert publishing.publish() == 0
    assert publishing.told("postgres")["previous"] == "of-another-warehouse"
    assert_shows_the_tables(published, job)


@pytest.mark.torture
def test_a_publish_that_is_killed_shows_the_old_or_the_new_and_the_next_one_converges(
    publishing: PublishingJob, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*SUBMIT)
    die_and_converge(publishing, published, "publish_postgres.staged", "publish_postgres.after")


@pytest.mark.torture
def test_likewise_at_its_beginning_and_its_end(
    publishing: PublishingJob, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*SUBMIT)
    die_and_converge(publishing, published, "publish_postgres.before", "reconcile_postgres.after")


def die_and_converge(publishing: PublishingJob, published: Published, *points: str) -> None:
    """Killed before the transaction at the first point, and after it at the second."""
    job = publishing.job
    job.land("a.jsonl", order("o1", items=3), order("o2", 2, items=2))
    assert publishing.run() == 0
    for number, point in enumerate(points):
        later = {"updated_at": f"2024-06-0{number + 1}T00:00:00Z"}
        job.land(f"b{number}.jsonl", order("o1", number + 3, items=1 - number, **later), order(f"new {number}"))
        assert job.run() == 0
        before = published.rows(DIM_ORDER)
        DyingJob(job.spark, job.root).die_at(point, "publish", *publishing.options)
        is_committed = number == 1
        assert (published.rows(DIM_ORDER) == before) is not is_committed
        assert any(name.startswith("stage_") for name in published.tables()) is point.endswith("staged")
        assert publishing.publish() == 0
        # What the sink shows is not what the ledger knows: then all of it is brought, and nothing doubled.
        assert publishing.told("postgres")["is_full"] is is_committed
        assert_shows_the_tables(published, job)
    assert [row[0] for row in publishing.entries("status")] == ["complete"] * 3


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can read."""
    folder = Path(tempfile.mkdtemp(prefix="tls-"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_connection_to_another_machine_is_encrypted_and_its_certificate_checked(
    publishing: PublishingJob, server_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = publishing.job
    host = "127.0.0.2"  # of this machine too, but not one that needs no TLS
    certificate, key = certificate_for(host, server_folder)
    key.chmod(0o600)
    if as_user():
        for path in (server_folder, certificate, key):
            shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
    files = {"ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    job.land("a.jsonl", order("o1"))
    with postgres({"listen_addresses": f"127.0.0.1,{host}", "ssl": "on", "log_connections": "on", **files}) as server:
        published = new_schema(server)
        url = f"publish.postgres.url=jdbc:postgresql://{host}:{server.port}/{server.database}"
        other, _ = certificate_for(host, tmp_path / "other")
        publishing.sinks = [*published.settings, url, f"publish.postgres.ca_file={other}"]
        assert publishing.run() == 1
        assert "certificate verify failed" in capsys.readouterr().err
        publishing.sinks = [*publishing.sinks[:-1], f"publish.postgres.ca_file={certificate}"]
        begun = len(server.log.read_text())
        assert publishing.publish() == 0
        connections = [line for line in server.log.read_text()[begun:].splitlines() if "connection authorized" in line]
        # Ours for the transactions, and those of Spark: two at least for each of five tables.
        assert len(connections) >= 5 + 2 * 5
        assert all("SSL enabled" in line for line in connections)
        assert_shows_the_tables(published, job)
