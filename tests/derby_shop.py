"""A shop's database in memory: Derby, the database that comes with Spark."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from pyspark.sql import SparkSession, is_remote

from etl_lib.settings.jdbc_settings import JdbcItems, JdbcOrders, JdbcSource
from etl_lib.sources.jdbc import changed_rows
from etl_lib.sources.jdbc_database import Database

DRIVER = "org.apache.derby.iapi.jdbc.AutoloadedDriver"
NUMBERS = count(1)

TABLES = (
    """CREATE TABLE "orders" (
         "order_id" BIGINT, "user_id" INT, "amount" DECIMAL(12,2), "currency" CHAR(3), "created_at" TIMESTAMP,
         "changed" TIMESTAMP, "deleted" BOOLEAN, "promo" VARCHAR(20), "items" VARCHAR(200))""",
    'CREATE TABLE "lines" ("order_id" BIGINT, "line_no" INT, "sku" VARCHAR(9), "qty" INT, "price" DECIMAL(12,4))',
    'CREATE TABLE "customers" ("user_id" VARCHAR(9), "e-mail" VARCHAR(40), "created_at" DATE, "seen" DATE)',
)


class Shop:
    """A database in memory, and how it is read."""

    def __init__(self, spark: SparkSession) -> None:
        if is_remote():
            pytest.skip("Derby lives in the Spark of the tests' own process")
        self.spark = spark
        self.name = f"jdbc:derby:memory:shop{next(NUMBERS)}"
        self.execute(*TABLES)

    def execute(self, *statements: str) -> None:
        driver = self.spark._jvm.java.sql.DriverManager  # type: ignore[union-attr]
        self.spark._jvm.java.lang.Class.forName(DRIVER)  # type: ignore[union-attr]
        connection = driver.getConnection(f"{self.name};create=true")
        try:
            for statement in statements:
                connection.createStatement().execute(statement)
        finally:
            connection.close()

    def order(self, number: int, changed: str | None, **others: str) -> None:
        values = {
            "order_id": str(number), "user_id": "7", "amount": "24.60", "currency": "'EUR'",
            "created_at": "TIMESTAMP('2024-05-01 12:00:00.123456')", "deleted": "false",
            "changed": "NULL" if changed is None else f"TIMESTAMP('{changed}')", **others,
        }  # fmt: skip
        names = ", ".join(f'"{name}"' for name in values)
        self.execute(f'INSERT INTO "orders" ({names}) VALUES ({", ".join(values.values())})')  # noqa: S608

    def settings(self, **others: Any) -> JdbcSource:
        orders = JdbcOrders(
            table="orders", changed_at="changed", columns={"updated_at": "changed"}, items=JdbcItems(column="items")
        )
        fields = {"url": self.name, "user": "APP", "password": "${SHOP}", "driver": DRIVER, "orders": orders, **others}
        return JdbcSource(**fields)

    def database(self, **others: Any) -> Database:
        return Database(self.spark, self.settings(**others))

    def texts(self, since: datetime | None = None, **others: Any) -> list[str]:
        rows, _ = changed_rows(self.database(**others), "orders", since)
        return sorted(row["raw"] for row in rows.collect())

    def read(self, since: datetime | None = None, **others: Any) -> list[str]:
        return sorted(json.loads(text)["order_id"] for text in self.texts(since, **others))
