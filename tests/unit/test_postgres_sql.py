"""What a publish does, in a real PostgreSQL: with the SQL for PostgreSQL, and with that for Redshift.

Of the Redshift statements the clauses that PostgreSQL does not know are cut off (`DISTKEY`, `SORTKEY`, `BACKUP NO`),
and so are the keys, which Redshift does not enforce. Not run here: COPY. All others run as they are.
"""

# ruff: noqa: S608 - the tests write SQL of their own

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from threading import Event
from typing import Any

import pytest
from pg8000 import dbapi

from etl_lib.process.errors import SchemaError
from etl_lib.sinks.relations import RELATIONS
from etl_lib.sinks.sink import PublishRefusedError, SinkError
from etl_lib.sinks.sql.postgres import PostgresConnection, PostgresSql
from etl_lib.sinks.sql.publish_sql import PublishSql
from etl_lib.sinks.sql.redshift import RedshiftSql
from etl_lib.sinks.sql.schema_sql import Statement
from etl_lib.tables.publishes import Publish
from tests.postgres_server import PostgresServer, postgres

pytestmark = pytest.mark.slow  # needs PostgreSQL

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]

DAY, NEXT_DAY = date(2026, 3, 1), date(2026, 3, 2)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SCHEMAS = count()
ONLY_IN_REDSHIFT = re.compile(
    r"\n(DISTKEY|DISTSTYLE|COMPOUND SORTKEY|BACKUP)[^\n]*|,\n  (PRIMARY|FOREIGN) KEY [^\n]*?(?=,?\n)"
)


def user(user_id: str, **others: Any) -> Row:
    return {"user_id": user_id, "is_inferred": False, "run_id": "r", **others}


def product(sku: str, **others: Any) -> Row:
    return {"sku": sku, "is_inferred": False, "run_id": "r", **others}


def order(order_id: str, lines: int = 1, day: date = DAY, **others: Any) -> Row:
    times = dict.fromkeys(("created_at", "version_at", "source_modified_at"), NOON)
    texts = {"source_file": "f", "run_id": "r", "user_id": "u1", "content_hash": 1, "is_deleted": False}
    return {"order_id": order_id, "order_date": day, "line_count": lines, **times, **texts, **others}


def lines(order_id: str, amounts: Sequence[str], day: date = DAY, **others: Any) -> list[Row]:
    known = {"created_at": NOON, "version_at": NOON, "sku": "s1", "qty": 1, "currency": "EUR", "run_id": "r"}
    return [
        {"order_id": order_id, "line_no": number, "order_date": day, "line_amount": Decimal(amount), **known, **others}
        for number, amount in enumerate(amounts, 1)
    ]


def sales(day: date, revenue: str, **others: Any) -> Row:
    known = {"currency": "EUR", "country": "AT", "category": "toys", "source": "web", "orders": 1, "units": 1}
    return {"order_date": day, "revenue": Decimal(revenue), **known, **others}


USERS_AND_PRODUCTS: Tables = {"dim_user": [user("u1")], "dim_product": [product("s1")]}
TWO_ORDERS: Tables = {
    **USERS_AND_PRODUCTS,
    "dim_order": [order("o1", 2), order("o2", 1)],
    "fact_sales": [*lines("o1", ["1.00", "2.00"]), *lines("o2", ["4.00"])],
    "daily_sales": [sales(DAY, "7.00")],
}


def execute(connection: dbapi.Connection, statements: Sequence[Statement]) -> None:
    PostgresConnection(connection).transact(statements)


def query(connection: dbapi.Connection, statement: Statement) -> list[tuple[Any, ...]]:
    return PostgresConnection(connection).query(statement)


@dataclass
class Sink:
    """A schema in the server, to which publishes are made by the statements of one dialect."""

    sql: PublishSql
    server: PostgresServer
    connection: dbapi.Connection
    last: str | None = None
    published_at: datetime = field(default=NOON)

    def portable(self, statements: Sequence[Statement]) -> Sequence[Statement]:
        if isinstance(self.sql, PostgresSql):
            return statements
        return [Statement(each.purpose, ONLY_IN_REDSHIFT.sub("", each.sql), each.is_check) for each in statements]

    def create(self) -> None:
        execute(self.connection, self.portable(self.sql.create()))

    def stage(self, publish_id: str, tables: Tables, gone: Mapping[str, Sequence[Any]]) -> None:
        """Stage rows, their groups as changed, and `gone`: groups that changed without any row left."""
        execute(self.connection, self.portable(self.sql.staging(publish_id)))
        names = self.sql
        for relation in RELATIONS:
            rows = tables.get(relation.name, ())
            self.insert(names.rows(publish_id, relation), rows)
            keys = sorted({row[relation.group] for row in rows} | set(gone.get(relation.name, ())))
            self.insert(names.keys(publish_id, relation), [{relation.group: key} for key in keys])
        self.connection.commit()

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        cursor = self.connection.cursor()
        for row in rows:
            values = [self.staged(value) for value in row.values()]
            marks = ", ".join("%s" for _ in row)
            cursor.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", values)

    def staged(self, value: Any) -> Any:
        """As COPY reads it from Parquet: times without a zone."""
        is_naive = isinstance(value, datetime) and isinstance(self.sql, RedshiftSql)
        return value.replace(tzinfo=None) if is_naive else value

    def statements(self, publish_id: str, previous: str | None, *, is_full: bool = False) -> list[Statement]:
        return self.sql.apply(Publish(publish_id, previous, {"fact_sales": 1}, self.published_at, is_full))

    def publish(
        self, publish_id: str, tables: Tables, gone: Mapping[str, Sequence[Any]] | None = None, *, is_full: bool = False
    ) -> None:
        self.stage(publish_id, tables, gone or {})
        execute(self.connection, self.statements(publish_id, self.last, is_full=is_full))
        self.last = publish_id
        execute(self.connection, [self.sql.drop_staging(publish_id)])

    def read(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        name = self.sql.table(table)
        listed = ", ".join(columns)
        return query(self.connection, Statement("read", f"SELECT {listed} FROM {name} ORDER BY {listed}"))

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return {relation.name: self.read(relation.name, *relation.column_names) for relation in RELATIONS} | {
            "publish_state": self.read("publish_state", "publish_id", "CAST(versions AS text)", "published_at")
        }


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    # In a time zone with half hours: a time that is taken for a local one shows.
    with postgres({"TimeZone": "America/St_Johns"}) as server:
        yield server


@pytest.fixture
def connection(server: PostgresServer) -> Iterator[dbapi.Connection]:
    with closing(server.connect()) as connection:
        yield connection


@pytest.fixture
def pg(server: PostgresServer, connection: dbapi.Connection) -> Sink:
    """A sink without tables, with the SQL for PostgreSQL."""
    return Sink(PostgresSql(f"only_{next(SCHEMAS)}"), server, connection)


@pytest.fixture(params=[PostgresSql, RedshiftSql], ids=["postgres", "redshift"])
def sink(request: pytest.FixtureRequest, server: PostgresServer, connection: dbapi.Connection) -> Sink:
    """A sink with empty tables, with the SQL for each dialect."""
    found = Sink(request.param(f"sink_{next(SCHEMAS)}"), server, connection)
    found.create()
    return found


def test_what_is_staged_is_published(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    assert sink.read("dim_order", "order_id", "line_count") == [("o1", 2), ("o2", 1)]
    assert sink.read("fact_sales", "order_id", "line_no", "line_amount") == [
        ("o1", 1, Decimal("1.0000")),
        ("o1", 2, Decimal("2.0000")),
        ("o2", 1, Decimal("4.0000")),
    ]
    assert sink.read("publish_state", "publish_id", "published_at") == [("p1", NOON)]


def test_creating_again_changes_nothing(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    before = sink.everything()
    sink.create()
    assert sink.everything() == before


def test_several_can_create_the_tables_at_once(pg: Sink) -> None:
    def create(_: int) -> None:
        with closing(pg.server.connect()) as own:
            execute(own, pg.sql.create())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(4)))
    check(pg)
    assert pg.read("dim_order", "order_id") == []


def test_the_state_tells_the_last_publish(sink: Sink) -> None:
    statement = sink.sql.state()
    assert query(sink.connection, statement) == []
    sink.publish("p1", TWO_ORDERS)
    [(publish_id, versions)] = query(sink.connection, statement)
    assert (publish_id, versions.replace(" ", "")) == ("p1", '{"fact_sales":1}')


def test_a_correction_with_fewer_lines_leaves_none_of_the_old_ones(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    corrected = {"dim_order": [order("o1", 1)], "fact_sales": lines("o1", ["8.00"]), "daily_sales": [sales(DAY, "12")]}
    sink.publish("p2", corrected)
    assert sink.read("fact_sales", "order_id", "line_amount") == [("o1", Decimal("8")), ("o2", Decimal("4"))]
    assert sink.read("dim_order", "order_id", "line_count") == [("o1", 1), ("o2", 1)]
    assert sink.read("daily_sales", "revenue") == [(Decimal("12"),)]


def test_a_deleted_order_keeps_its_tombstone_and_loses_its_lines(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    tombstone = {"dim_order": [order("o1", 0, is_deleted=True)], "daily_sales": [sales(DAY, "4.00")]}
    sink.publish("p2", tombstone, gone={"fact_sales": ["o1"]})
    assert sink.read("fact_sales", "order_id") == [("o2",)]
    assert sink.read("dim_order", "order_id", "is_deleted") == [("o1", True), ("o2", False)]


def test_what_has_gone_from_every_table_goes_from_the_sink(sink: Sink) -> None:
    sink.publish("p1", {**TWO_ORDERS, "dim_user": [user("u1"), user("u2")], "daily_sales": [sales(DAY, "7")]})
    gone = {"dim_user": ["u2", "never seen"], "dim_order": ["o2"], "fact_sales": ["o2"], "daily_sales": [DAY]}
    sink.publish("p2", {}, gone=gone)
    assert sink.read("dim_user", "user_id") == [("u1",)]
    assert sink.read("dim_order", "order_id") == [("o1",)]
    assert sink.read("fact_sales", "order_id", "line_no") == [("o1", 1), ("o1", 2)]
    assert sink.read("daily_sales", "order_date") == []


def test_an_order_that_moved_to_another_day_stands_under_that_day_alone(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    moved = {
        "dim_order": [order("o1", 1, NEXT_DAY)],
        "fact_sales": lines("o1", ["3.00"], NEXT_DAY),
        "daily_sales": [sales(DAY, "4.00"), sales(NEXT_DAY, "3.00")],
    }
    sink.publish("p2", moved)
    assert sink.read("fact_sales", "order_id", "order_date") == [("o1", NEXT_DAY), ("o2", DAY)]
    assert sink.read("daily_sales", "order_date", "revenue") == [(DAY, Decimal("4")), (NEXT_DAY, Decimal("3"))]


def test_older_versions_that_were_restored_replace_newer_ones(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    first = {name: rows for name, rows in sink.everything().items() if name != "publish_state"}
    newer = {"dim_order": [order("o1", 1, amount=Decimal("9"))], "fact_sales": lines("o1", ["9"])}
    sink.publish("p2", {**newer, "dim_user": [user("u1", email="a@b")]})
    sink.publish("p3", TWO_ORDERS)
    assert sink.everything() == {**first, "publish_state": [("p3", *sink.everything()["publish_state"][0][1:])]}


def test_a_publish_that_is_repeated_with_its_id_changes_nothing(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    sink.publish("p2", {"dim_order": [order("o2", 0)]}, gone={"fact_sales": ["o2"]})
    before = sink.everything()
    sink.last = "p1"
    sink.publish("p2", {"dim_order": [order("o2", 0)]}, gone={"fact_sales": ["o2"]})
    assert sink.everything() == before


@pytest.mark.parametrize("previous", [None, "p0", "P1"])
def test_a_publish_on_another_state_than_the_sink_shows_is_refused(sink: Sink, previous: str | None) -> None:
    sink.publish("p1", TWO_ORDERS)
    before = sink.everything()
    sink.last = previous
    with pytest.raises(PublishRefusedError, match=r"plan it again: .*it shows the publish p1") as caught:
        sink.publish("p2", {"dim_user": [user("u9")]})
    assert caught.value.exit_code == 1
    assert sink.everything() == before


def test_a_first_publish_that_expects_another_before_it_is_refused(sink: Sink) -> None:
    sink.last = "p0"
    with pytest.raises(PublishRefusedError, match=r"it shows the publish \(none\)"):
        sink.publish("p1", TWO_ORDERS)
    assert sink.read("dim_user", "user_id") == []


def test_the_same_id_with_other_versions_is_refused(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    sink.stage("p1", {}, {})
    other = Publish("p1", None, {"fact_sales": 2}, NOON)
    with pytest.raises(PublishRefusedError, match="it shows the publish p1"):
        execute(sink.connection, sink.sql.apply(other))


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_of_two_publishes_at_once_the_second_waits_and_is_refused(sink: Sink, isolation: str) -> None:
    sink.publish("p1", TWO_ORDERS)
    sink.stage("p2", {"dim_user": [user("u2")]}, {})
    sink.stage("p3", {"dim_user": [user("u3")]}, {})
    with closing(sink.server.connect()) as other, ThreadPoolExecutor(1) as pool:
        run(other, [Statement("set", f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {isolation}")])
        other.commit()
        run(sink.connection, sink.statements("p2", "p1"))
        waiting = pool.submit(execute, other, sink.statements("p3", "p1"))
        until_somebody_waits(sink.server)
        assert not waiting.done()
        sink.connection.commit()
        with pytest.raises(PublishRefusedError, match="it shows the publish p2"):
            waiting.result()
    assert sink.read("dim_user", "user_id") == [("u1",), ("u2",)]


def run(connection: dbapi.Connection, statements: Sequence[Statement]) -> None:
    """Statements in a transaction that stays open."""
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement.sql)


def until_somebody_waits(server: PostgresServer) -> None:
    with closing(server.connect()) as own:
        own.autocommit = True
        cursor = own.cursor()
        for _ in range(1_000):
            cursor.execute("SELECT count(*), pg_sleep(0.01) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits for a lock")


def test_whoever_waits_too_long_for_the_lock_gives_up(pg: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresSql, "lock_timeout_s", 1)
    pg.create()
    pg.publish("p1", TWO_ORDERS)
    pg.stage("p2", {"dim_user": [user("u2")]}, {})
    told = "could not lock out other publishes: canceling statement due to lock timeout"
    with closing(pg.server.connect()) as other:
        run(pg.connection, pg.statements("p2", "p1"))
        with pytest.raises(SinkError, match=told):
            execute(other, pg.statements("p2", "p1"))


def test_a_connection_that_breaks_before_the_commit_leaves_nothing_and_the_repeat_converges(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    before = sink.everything()
    changed = {"dim_order": [order("o1", 1)], "fact_sales": lines("o1", ["5.00"])}
    sink.stage("p2", changed, {"daily_sales": [DAY]})
    statements = sink.statements("p2", "p1")
    for done in range(1, len(statements) + 1):
        broken = sink.server.connect()
        run(broken, statements[:done])
        broken._usock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(dbapi.Error):
            broken.commit()
        assert sink.everything() == before, statements[done - 1].purpose
    sink.publish("p2", changed, {"daily_sales": [DAY]})
    assert sink.read("fact_sales", "order_id", "line_amount") == [("o1", Decimal("5")), ("o2", Decimal("4"))]
    assert sink.read("daily_sales", "order_date") == []


def test_a_broken_connection_is_told_as_such(pg: Sink) -> None:
    pg.create()
    pg.stage("p1", TWO_ORDERS, {})
    broken = pg.server.connect()
    broken._usock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(SinkError, match=r"the connection to PostgreSQL broke: .*repeat the publish with the same id"):
        execute(broken, pg.statements("p1", None))
    pg.publish("p1", TWO_ORDERS)
    assert len(pg.read("fact_sales", "order_id")) == 3


def test_a_reader_beside_never_sees_half_an_order(sink: Sink) -> None:
    sink.publish("p0", TWO_ORDERS)
    versions = [["1.00"] * 3, ["2.00"] * 2, ["4.00"] * 5, ["8.00"]]
    done, names = Event(), sink.sql
    one_statement = Statement(
        "read",
        f"SELECT min(o.line_count), count(s.line_no), sum(s.line_amount), "
        f"(SELECT sum(revenue) FROM {names.table('daily_sales')}) FROM {names.table('dim_order')} AS o "
        f"LEFT JOIN {names.table('fact_sales')} AS s ON s.order_id = o.order_id WHERE o.order_id = 'o1'",
    )
    sums = {len(amounts): sum(map(Decimal, amounts)) for amounts in versions}
    expected = {(2, 2, Decimal("3"), Decimal("7"))} | {(size, size, total, total) for size, total in sums.items()}

    def read_all_the_time() -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
        single, several = set(), set()
        with closing(sink.server.connect()) as own:
            while not done.is_set():
                single |= set(query(own, one_statement))
                several.add(several_statements(own))
        return single, several

    def several_statements(own: dbapi.Connection) -> tuple[Any, ...]:
        cursor = own.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = []
        for column, table in [("min(line_count)", "dim_order"), ("count(*)", "fact_sales")]:
            cursor.execute(f"SELECT {column} FROM {names.table(table)} WHERE order_id = 'o1'")
            found.append(cursor.fetchone()[0])
        own.rollback()
        return tuple(found)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_all_the_time)
        for number in range(1, 25):
            amounts = versions[number % len(versions)]
            revenue = str(sum(map(Decimal, amounts)))
            corrected = {"dim_order": [order("o1", len(amounts))], "fact_sales": lines("o1", amounts)}
            sink.publish(f"p{number}", {**corrected, "daily_sales": [sales(DAY, revenue)]})
        done.set()
        single, several = reading.result()
    assert single <= expected
    assert len(single) > 1
    assert all(line_count == found for line_count, found in several)


def test_numbers_and_times_come_out_exactly_at_the_limits_of_their_types(sink: Sink) -> None:
    texts = ["9" * digits + ".9999" for digits in (14, 25, 34)]
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    for number, sign in enumerate((1, -1), 1):
        # no arithmetic: Python's decimals round at 28 digits
        money, amount, total = (Decimal(text if sign > 0 else f"-{text}") for text in texts)
        times = {"created_at": first if sign < 0 else last}
        integers = {"content_hash": 2**63 - 1 if sign > 0 else -(2**63)}
        quantity = 2**31 - 1 if sign > 0 else -(2**31)
        sink.publish(
            f"p{number}",
            {
                **USERS_AND_PRODUCTS,
                "dim_order": [order("o1", quantity, date(9999, 12, 31), amount=money, **times, **integers)],
                "fact_sales": lines("o1", [str(amount)], qty=quantity, unit_price=money, **times),
                "daily_sales": [sales(date(1, 1, 1), str(total), units=2**63 - 1)],
            },
        )
        columns = ("line_count", "order_date", "amount", "content_hash", "created_at AT TIME ZONE 'UTC'")
        expected = (quantity, date(9999, 12, 31), money, *integers.values())
        assert sink.read("dim_order", *columns) == [(*expected, times["created_at"].replace(tzinfo=None))]
        assert sink.read("fact_sales", "qty", "unit_price", "line_amount") == [(quantity, money, amount)]
        assert sink.read("daily_sales", "order_date", "units", "revenue") == [(date(1, 1, 1), 2**63 - 1, total)]


def test_a_number_that_its_column_cannot_hold_is_told_and_not_rounded(sink: Sink) -> None:
    with pytest.raises(dbapi.Error, match="numeric field overflow"):
        sink.publish("p1", {"dim_product": [product("s1", price=Decimal("1" + "0" * 14))]})


def test_texts_come_out_byte_for_byte(sink: Sink) -> None:
    quoted = ["'", '"', "a'b''c", "\\", "\\'", "E'\\n'", "%s", "%(name)s", ":name", "$1", "$$", "--", "/*", ";", "NULL"]
    letters = [
        "\U0001f469\u200d\U0001f467 \U0010ffff",
        "\u05e9\u05dc\u05d5\u05dd",
        "\u202eevil\u202c",
        "\u00e9",
        "e\u0301",
    ]
    awkward = [*quoted, *letters, "\r\n\t", " a ", "\x01\x7f", ""]
    sink.publish("p1", {"dim_product": [product(f"{text}!", name=text, category=text * 1000) for text in awkward]})
    found = {sku: (name, category) for sku, name, category in sink.read("dim_product", "sku", "name", "category")}
    assert found == {f"{text}!": (text, text * 1000) for text in awkward}
    sink.publish("p2", {}, gone={"dim_product": [f"{text}!" for text in awkward]})
    assert sink.read("dim_product", "sku") == []


def test_an_empty_user_is_published_as_none(sink: Sink) -> None:
    orders = [order("o1", user_id=""), order("o2", user_id=None)]
    sink.publish("p1", {**USERS_AND_PRODUCTS, "dim_order": orders, "fact_sales": lines("o1", ["1"], user_id="")})
    assert sink.read("dim_order", "order_id", "user_id") == [("o1", None), ("o2", None)]
    assert sink.read("fact_sales", "user_id") == [(None,)]


def test_a_full_publish_deletes_what_is_not_staged_whatever_the_keys_say(sink: Sink) -> None:
    sink.publish("p1", {**TWO_ORDERS, "dim_user": [user("u1"), user("u2")]})
    sink.stage("p2", {**USERS_AND_PRODUCTS, "dim_order": [order("o3")], "fact_sales": lines("o3", ["6"])}, {})
    names = sink.sql
    for relation in RELATIONS:
        run(sink.connection, [Statement("", f"DELETE FROM {names.keys('p2', relation)}")])
    sink.connection.commit()
    execute(sink.connection, sink.statements("p2", "p1", is_full=True))
    assert sink.read("dim_user", "user_id") == [("u1",)]
    assert sink.read("dim_order", "order_id") == [("o3",)]
    assert sink.read("fact_sales", "order_id", "line_amount") == [("o3", Decimal("6"))]
    assert sink.read("daily_sales", "order_date") == []


def test_staged_rows_without_their_key_are_refused(sink: Sink) -> None:
    sink.publish("p1", TWO_ORDERS)
    before = sink.everything()
    sink.stage("p2", {}, {})
    names = sink.sql
    fact_sales = next(relation for relation in RELATIONS if relation.name == "fact_sales")
    sink.insert(names.rows("p2", fact_sales), lines("o9", ["1", "2"]))
    sink.connection.commit()
    with pytest.raises(PublishRefusedError, match="fact_sales: 2 staged rows without their key"):
        execute(sink.connection, sink.statements("p2", "p1"))
    assert sink.everything() == before


def test_a_key_with_two_contents_is_refused(sink: Sink) -> None:
    expected = "keys are staged twice" if isinstance(sink.sql, RedshiftSql) else "SQLSTATE (23505|21000)"
    users: Tables = {"dim_user": [user("u1"), user("u1", email="b")]}
    for tables in (users, {"daily_sales": [sales(DAY, "1"), sales(DAY, "2")]}):
        with pytest.raises(SinkError, match=expected):
            sink.publish("p1", tables)
    assert sink.read("publish_state", "publish_id") == []


def test_a_task_that_wrote_its_rows_twice_does_no_harm(pg: Sink) -> None:
    pg.create()
    pg.publish("p1", {name: [*rows, *rows] for name, rows in TWO_ORDERS.items()})
    assert [count for _, count in query(pg.connection, pg.sql.row_counts())] == [1, 2, 1, 1, 3]


def test_an_unchanged_row_is_not_written_again(pg: Sink) -> None:
    pg.create()
    pg.publish("p1", TWO_ORDERS)
    before = dict(pg.read("dim_order", "order_id", "CAST(xmin AS text)"))
    pg.publish("p2", {"dim_order": [order("o1", 2), order("o2", 1, promo="new")]})
    after = dict(pg.read("dim_order", "order_id", "CAST(xmin AS text)"))
    assert (after["o1"] == before["o1"], after["o2"] == before["o2"]) == (True, False)


@pytest.mark.parametrize(
    ("tables", "gone", "key"),
    [
        ({"dim_order": [order("o9", user_id="nobody")]}, {}, r"\(user_id\)\n"),
        ({"fact_sales": lines("o1", ["1"], sku="nothing")}, {}, r"\(sku\)\n"),
        ({"fact_sales": lines("o9", ["1"])}, {}, r"\(order_id\)\n"),
        ({}, {"dim_product": ["s1"]}, r"\(sku\)\n"),
    ],
    ids=["an order of nobody", "a line of nothing", "a line without its order", "a product that lines name"],
)
def test_what_refers_to_nothing_is_refused_when_the_transaction_ends(
    pg: Sink, tables: Tables, gone: Mapping[str, Sequence[str]], key: str
) -> None:
    pg.create()
    pg.publish("p1", TWO_ORDERS)
    before = pg.everything()
    with pytest.raises(SinkError, match=rf"could not commit: .*SQLSTATE 23503\) Key {key}"):
        pg.publish("p2", tables, gone)
    assert pg.everything() == before


def test_an_error_never_shows_a_whole_row(pg: Sink) -> None:
    pg.create()
    table = pg.sql.table("dim_user")
    execute(pg.connection, [Statement("", f"ALTER TABLE {table} ADD CHECK (country <> 'XX')")])
    with pytest.raises(SinkError, match=r"could not insert or update .*\(SQLSTATE 23514\)") as caught:
        pg.publish("p1", {"dim_user": [user("u1", email="canary@example.org", country="XX")]})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "schema", ['say "hello"', "ÄÖ Ü", "select", "a.b", "100%s", ":x", "it's; --", "x" * 63], ids=lambda name: name[:9]
)
@pytest.mark.parametrize("dialect", [PostgresSql, RedshiftSql], ids=["postgres", "redshift"])
def test_any_name_can_be_that_of_the_schema(
    server: PostgresServer, connection: dbapi.Connection, dialect: type[PublishSql], schema: str
) -> None:
    sink = Sink(dialect(schema[:-1] + "y" if dialect is RedshiftSql else schema), server, connection)
    sink.create()
    sink.publish("p1", TWO_ORDERS)
    counts, sums = query(connection, sink.sql.row_counts()), query(connection, sink.sql.sales_sums())
    assert counts == [
        ("daily_sales", 1),
        ("dim_order", 2),
        ("dim_product", 1),
        ("dim_user", 1),
        ("fact_sales", 3),
    ]
    assert sums == [(DAY, "EUR", 3, 3, Decimal("7.0000"))]


def test_sums_are_told_by_day_and_currency(sink: Sink) -> None:
    dollars = lines("o2", ["0.0001", "9999999999999999999999999.9999"], NEXT_DAY, currency="USD", qty=2**31 - 1)
    unpriced = lines("o3", ["1"], NEXT_DAY, currency=None, line_amount=None)
    sold = [*lines("o1", ["1.5", "2.25"]), *dollars, *unpriced]
    orders = [order("o1"), order("o2"), order("o3")]
    sink.publish("p1", {**USERS_AND_PRODUCTS, "dim_order": orders, "fact_sales": sold})
    assert query(sink.connection, sink.sql.sales_sums()) == [
        (DAY, "EUR", 2, 2, Decimal("3.7500")),
        (NEXT_DAY, "USD", 2, 2**32 - 2, Decimal("10000000000000000000000000.0000")),
        (NEXT_DAY, None, 1, 1, None),
    ]


def test_the_staging_tables_are_empty_again_for_another_try_and_gone_at_the_end(sink: Sink) -> None:
    sink.stage("p1", TWO_ORDERS, {})
    sink.stage("p1", {}, {})
    names = sink.sql
    for relation in RELATIONS:
        assert query(sink.connection, Statement("", f"TABLE {names.rows('p1', relation)}")) == []
        assert query(sink.connection, Statement("", f"TABLE {names.keys('p1', relation)}")) == []
    sink.stage("p-2.b", {}, {})
    left = query(sink.connection, sink.sql.leftovers())
    assert len(left) == 20
    for publish_id in ("p1", "p-2.b", "p-2.b"):
        execute(sink.connection, [sink.sql.drop_staging(publish_id)])
    assert query(sink.connection, sink.sql.leftovers()) == []


def check(sink: Sink) -> None:
    sink.sql.check_columns(query(sink.connection, sink.sql.columns()))


def test_tables_as_created_have_the_declared_columns(sink: Sink) -> None:
    check(sink)


def test_a_schema_without_tables_has_no_differences(pg: Sink) -> None:
    check(pg)


def test_all_differences_of_existing_tables_are_told_at_once(sink: Sink) -> None:
    table = sink.sql.table
    for change in (
        f"ALTER TABLE {table('fact_sales')} ALTER unit_price TYPE numeric(10,2), DROP run_id",
        f"ALTER TABLE {table('dim_user')} ADD nickname integer, ALTER is_inferred DROP NOT NULL",
        f"DROP TABLE {table('daily_sales')}",
    ):
        execute(sink.connection, [Statement("change", change)])
    text = "text" if isinstance(sink.sql, PostgresSql) else "character varying(65535)"
    with pytest.raises(SchemaError) as caught:
        check(sink)
    head, *told = str(caught.value).splitlines()
    assert f"the schema {sink.sql.schema} has tables with other columns" in head
    assert [line.strip() for line in told] == [
        "dim_user.is_inferred: boolean, expected boolean NOT NULL",
        "dim_user.nickname: integer, which nobody declared",
        "fact_sales.unit_price: numeric(10,2), expected numeric(18,4)",
        f"fact_sales.run_id: missing, expected {text} NOT NULL",
    ]


def test_a_table_without_its_primary_key_is_told(pg: Sink) -> None:
    pg.create()
    table = pg.sql.table("daily_sales")
    execute(pg.connection, [Statement("", f"ALTER TABLE {table} DROP CONSTRAINT daily_sales_pkey")])
    with pytest.raises(SchemaError, match=r"daily_sales\.source: text NOT NULL, expected text NOT NULL PRIMARY KEY"):
        check(pg)


def test_the_catalog_shows_keys_indexes_and_the_grain(pg: Sink) -> None:
    pg.create()
    inside = f"WHERE n.nspname = '{pg.sql.schema}' ORDER BY 1, 2"
    indexes = f"SELECT tablename, indexname FROM pg_indexes WHERE schemaname = '{pg.sql.schema}' ORDER BY 1, 2"
    assert [tuple(row) for row in query(pg.connection, Statement("", indexes))] == [
        ("daily_sales", "daily_sales_pkey"),
        ("dim_order", "dim_order_order_date_idx"),
        ("dim_order", "dim_order_pkey"),
        ("dim_order", "dim_order_user_id_idx"),
        ("dim_product", "dim_product_pkey"),
        ("dim_user", "dim_user_pkey"),
        ("fact_sales", "fact_sales_order_date_idx"),
        ("fact_sales", "fact_sales_pkey"),
        ("fact_sales", "fact_sales_sku_idx"),
        ("fact_sales", "fact_sales_user_id_idx"),
        ("publish_state", "publish_state_pkey"),
    ]
    foreign = (
        "SELECT t.relname, r.relname, c.condeferred FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid "
        f"JOIN pg_class AS r ON r.oid = c.confrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace {inside}"
    )
    assert query(pg.connection, Statement("", foreign)) == [
        ("dim_order", "dim_user", True),
        ("fact_sales", "dim_order", True),
        ("fact_sales", "dim_product", True),
    ]
    comments = (
        "SELECT t.relname, obj_description(t.oid) FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace "
        f"WHERE n.nspname = '{pg.sql.schema}' AND t.relkind = 'r' AND t.relname <> 'publish_state' ORDER BY 1"
    )
    grains = sorted((relation.name, relation.grain) for relation in RELATIONS)
    assert query(pg.connection, Statement("", comments)) == grains


@pytest.mark.parametrize("is_autocommit", [True, False])
def test_a_connection_that_others_use_is_not_used(pg: Sink, is_autocommit: bool) -> None:
    pg.connection.autocommit = is_autocommit
    if not is_autocommit:
        pg.connection.cursor().execute("SELECT 1")
    with pytest.raises(SinkError, match="give a publish a connection of its own"):
        execute(pg.connection, pg.sql.create())


def test_the_server_asks_for_the_password_and_never_shows_it(server: PostgresServer) -> None:
    with pytest.raises(dbapi.DatabaseError, match="password authentication failed"):
        server.connect(password="wrong")  # noqa: S106
    assert server.password not in repr(server)
