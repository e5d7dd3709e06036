"""Tables read through JDBC: what changed, as the texts of landing files. Against Derby, the database within Spark."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Observation, SparkSession

from etl_lib.process.errors import SchemaError
from etl_lib.settings.jdbc_settings import JdbcItems, JdbcOrders, JdbcSource, JdbcTable
from etl_lib.sources.jdbc import changed_rows, checkpoint_of, checkpoint_text, land_changes, records_and_checksum
from etl_lib.sources.jdbc_database import Database, SourceError
from tests.derby_shop import Shop


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "kennwort-des-ladens")


@pytest.fixture
def shop(spark: SparkSession) -> Shop:
    return Shop(spark)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_row_becomes_a_text_with_every_value_exactly(shop: Shop) -> None:
    shop.order(1, "2024-06-01 00:00:00", items="""'[{"sku": "S\\"1", "qty": 2,\n "price": 1.10}]'""", promo="'P'")
    assert shop.texts() == [
        '{"order_id":"1","user_id":"7","amount":"24.60","currency":"EUR","created_at":"2024-05-01T12:00:00.123456",'
        '"updated_at":"2024-06-01T00:00:00.000000","deleted":false,"metadata":{"source":null,"promo":"P"},'
        '"items":[{"sku": "S\\"1", "qty": 2,  "price": 1.10}]}'
    ]


def test_absent_values_are_null_and_there_is_no_metadata_of_nothing(shop: Shop) -> None:
    shop.order(1, None, amount="NULL", user_id="NULL")
    [found] = map(json.loads, shop.texts())
    assert {name for name, value in found.items() if value is None} == {
        *("user_id", "amount", "updated_at", "metadata", "items"),
    }


def test_items_of_a_table_are_in_the_order_of_their_position(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.order(number, "2024-06-01 00:00:00")
    shop.execute("""INSERT INTO "lines" VALUES (1, 10, 'B', 1, NULL), (1, 9, 'A', 2, 1.1000), (3, 1, 'C', 3, 0.0001)""")
    orders = JdbcOrders(table="orders", changed_at="changed", items=JdbcItems(table="lines"))
    items = {found["order_id"]: found["items"] for found in map(json.loads, shop.texts(orders=orders))}
    assert items == {
        "1": [{"sku": "A", "qty": "2", "price": "1.1000"}, {"sku": "B", "qty": "1", "price": None}],
        "2": None,
        "3": [{"sku": "C", "qty": "3", "price": "0.0001"}],
    }


@pytest.mark.parametrize("partitions", [1, 3, 50])
def test_every_row_is_read_once_however_many_connections_read(shop: Shop, partitions: int) -> None:
    for number in range(12):
        shop.order(number, None if number == 5 else f"2024-06-{1 + number % 4:02} 00:00:00.00000{number % 10}")
    assert shop.read(partitions=partitions) == sorted(map(str, range(12)))


def test_only_what_changed_since_the_checkpoint_is_read_and_the_overlap_before_it(shop: Shop) -> None:
    shop.order(1, "2024-06-01 00:00:00")
    shop.order(2, "2024-06-02 23:58:00")
    shop.order(3, "2024-06-03 00:00:00")
    shop.order(4, None)
    _, left = changed_rows(shop.database(), "orders", None)
    assert left == at("2024-06-03")
    assert shop.read(left) == ["2", "3", "4"]
    assert shop.read(left, overlap_s=60.0) == ["3", "4"]
    assert shop.read(left, overlap_s=0.0) == ["3", "4"]
    # At the checkpoint's own instant, with a larger key and a smaller one.
    shop.order(5, "2024-06-03 00:00:00")
    shop.order(0, "2024-06-03 00:00:00")
    assert shop.read(left, overlap_s=0.0) == ["0", "3", "4", "5"]
    assert changed_rows(shop.database(), "orders", left)[1] == left


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_time_of_change_outside_the_years_that_count_is_neither_checkpoint_nor_bound(
    shop: Shop, partitions: int
) -> None:
    shop.order(1, "2024-06-01 00:00:00")
    shop.order(2, "2024-06-03 00:00:00.000001999")  # finer than Spark's
    shop.order(3, "1899-12-31 23:59:59.999999")
    shop.order(4, "9999-12-31 00:00:00")
    _, checkpoint = changed_rows(shop.database(partitions=partitions), "orders", None)
    assert checkpoint == at("2024-06-03 00:00:00.000001")
    assert shop.read(partitions=partitions) == ["1", "2", "3", "4"]
    assert shop.read(checkpoint, partitions=partitions, overlap_s=0.0) == ["2", "3", "4"]
    assert shop.read(at("1900-01-01"), partitions=partitions) == ["1", "2", "3", "4"]


def test_a_checkpoint_comes_from_the_ledger_as_it_went_and_from_an_older_one_without_its_key() -> None:
    left = at("2024-06-03 00:00:00.000001")
    assert checkpoint_of(checkpoint_text(left)) == left
    assert checkpoint_of('{"changed_at": "2024-06-03T00:00:00.000001+00:00", "key": "5"}') == left
    assert checkpoint_of('{"changed_at": "9999-12-31T23:59:59.999000+00:00", "key": "None"}') is None


@pytest.mark.parametrize(
    ("number", "flag"), [("0", False), ("1", True), ("1.0", True), ("7", "7.0"), ("0.5", "0.5"), ("NULL", None)]
)
def test_a_number_is_a_flag_if_it_is_0_or_1(shop: Shop, number: str, flag: object) -> None:
    shop.execute('ALTER TABLE "orders" ADD COLUMN "is_deleted" DECIMAL(2,1)')
    shop.order(1, "2024-06-01 00:00:00", is_deleted=number)
    orders = JdbcOrders(table="orders", columns={"deleted": "is_deleted"}, items=JdbcItems(column="items"))
    assert [json.loads(text)["deleted"] for text in shop.texts(orders=orders)] == [flag]


def test_records_that_no_metrics_tell_of_are_counted_as_they_landed(shop: Shop, tmp_path: Path) -> None:
    shop.order(1, "2024-06-01 00:00:00")
    pull, _ = land_changes(shop.database(), "orders", str(tmp_path / "orders"), None)
    landed = shop.spark.read.schema("raw string").text(pull.location)
    told = (pull.manifest.records, pull.manifest.checksum)
    assert records_and_checksum(Observation("of no query"), lambda: landed) == told
    none = landed.where("false")
    assert records_and_checksum(Observation("of no query"), lambda: none) == (0, "xxhash64:" + "0" * 16)


def test_a_table_without_rows_or_without_a_time_of_change_leaves_no_checkpoint(shop: Shop) -> None:
    rows, checkpoint = changed_rows(shop.database(), "orders", None)
    assert (rows.count(), checkpoint) == (0, None)
    shop.order(1, "2024-06-01 00:00:00")
    orders = JdbcOrders(table="orders", items=JdbcItems(column="items"))
    rows, checkpoint = changed_rows(shop.database(orders=orders), "orders", at("2030-01-01"))
    assert (rows.count(), checkpoint) == (1, None)


def test_users_are_read_by_their_columns_and_dates_work_as_times_of_change(shop: Shop) -> None:
    shop.execute("""INSERT INTO "customers" VALUES ('u1', 'a@b', DATE('2024-01-31'), DATE('2024-05-01'))""")
    users = JdbcTable(table="customers", changed_at="seen", columns={"email": "e-mail"})
    rows, checkpoint = changed_rows(shop.database(users=users), "users", at("2024-05-01"))
    assert [row.asDict() for row in rows.collect()] == [
        {"user_id": "u1", "email": "a@b", "created_at": "2024-01-31", "country": None}
    ]
    assert checkpoint == at("2024-05-01")


def test_columns_that_are_missing_or_of_another_type_are_all_named_before_a_row_is_read(shop: Shop) -> None:
    orders = JdbcOrders(
        table="orders",
        changed_at="promo",
        columns={"order_id": "number", "amount": "created_at", "created_at": "deleted", "deleted": "promo"},
        items=JdbcItems(table="lines", position="place", columns={"qty": "quantity"}),
    )
    with pytest.raises(SchemaError) as told:
        changed_rows(shop.database(orders=orders), "orders", None)
    assert str(told.value).splitlines()[1:] == [
        "  orders.number: missing",
        "  orders.created_at: expected a number, found timestamp_ntz",
        "  orders.deleted: expected a time, found boolean",
        "  orders.promo: expected a flag, found string",
        "  orders.promo: expected a time, as changed_at",
        "  lines.quantity: missing",
        "  lines.place: missing",
    ]


def test_a_table_that_is_not_there_is_told_with_the_reason_of_the_database(shop: Shop) -> None:
    orders = JdbcOrders(table="shop.orders", items=JdbcItems(column="items"))
    with pytest.raises(SourceError, match=r"the table shop.orders cannot be read from jdbc:derby.*Schema 'shop' does"):
        changed_rows(shop.database(orders=orders), "orders", None)
    with pytest.raises(SourceError, match=r"sources\.jdbc\.users: missing; name its table"):
        shop.database().address("users")


def test_without_a_file_of_ones_own_java_knows_the_authorities(spark: SparkSession) -> None:
    orders = JdbcOrders(table="orders", items=JdbcItems(column="items"))
    settings = JdbcSource(url="jdbc:postgresql://db.example.com/shop", user="me", password="${SHOP}", orders=orders)  # noqa: S106
    options = Database(spark, settings).options
    assert options["sslfactory"] == "org.postgresql.ssl.DefaultJavaSSLFactory"
    assert "sslrootcert" not in options


def test_what_changed_lands_as_files_with_a_manifest(shop: Shop, tmp_path: Path) -> None:
    shop.order(1, "2024-06-01 00:00:00", items="'[]'")
    shop.order(2, "2024-06-02 00:00:00", items="'[]'")
    users = JdbcTable(table="customers", columns={"email": "e-mail"})
    shop.execute("""INSERT INTO "customers" VALUES ('u"1', 'two\nlines, ""', NULL, NULL)""")
    pull, checkpoint = land_changes(shop.database(), "orders", str(tmp_path / "orders"), None)
    assert checkpoint == at("2024-06-02")
    again, _ = land_changes(shop.database(), "orders", str(tmp_path / "orders"), None)
    later, _ = land_changes(shop.database(overlap_s=0.0), "orders", str(tmp_path / "orders"), checkpoint)
    manifest = pull.manifest
    assert (manifest.status, manifest.records, manifest.source) == ("complete", 2, "jdbc")
    assert manifest.url == f"{shop.name} orders"
    assert again.manifest.checksum == manifest.checksum
    assert (later.manifest.records, later.manifest.since) == (1, checkpoint)
    lines = [line for path in Path(pull.location).glob("part-*") for line in path.read_text().splitlines()]
    assert sorted(lines) == shop.texts()
    pull, _ = land_changes(shop.database(users=users), "users", str(tmp_path / "users"), None)
    [text] = [path.read_text() for path in Path(pull.location).glob("part-*") if path.stat().st_size > 40]
    assert text == '"user_id","email","created_at","country"\n"u""1","two\nlines, """"","",""\n'


@pytest.mark.parametrize(
    ("url", "others", "needs_tls"),
    [
        ("jdbc:postgresql://db.example.com:5432/shop", {}, True),
        ("jdbc:postgresql://db.example.com:5432/shop", {"allow_plain": True}, False),
        ("jdbc:postgresql://localhost/shop", {}, False),
        ("jdbc:postgresql://127.0.0.1:5432/shop", {}, False),
        ("jdbc:postgresql://localhost.example.com/shop", {}, True),
    ],
)
def test_tls_is_wanted_from_every_other_machine(
    spark: SparkSession, url: str, others: dict[str, Any], *, needs_tls: bool
) -> None:
    orders = JdbcOrders(table="orders", items=JdbcItems(column="items"))
    settings = JdbcSource(url=url, user="me", password="${SHOP}", orders=orders, ca_file="/ca.pem", **others)  # noqa: S106
    options = Database(spark, settings).options
    assert (options.get("sslmode"), options.get("sslrootcert")) == (
        ("verify-full", "/ca.pem") if needs_tls else (None, None)
    )
    assert options["sessionInitStatement"] == "SET DateStyle TO ISO; SET TIME ZONE 'UTC'"
