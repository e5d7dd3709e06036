"""The database source: tables read in parallel through JDBC, only what changed, and landed as immutable files.

Orders become JSON Lines, users and products CSV with a header: what the orders job reads from any folder. A row is
written as the texts of its values, so that no number is rounded; a JSON column with items is taken as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from etl_lib.errors import LakehouseError, SchemaError
from etl_lib.sources.jdbc_settings import (
    ITEM_MEMBERS,
    ORDER_MEMBERS,
    PRODUCT_MEMBERS,
    USER_MEMBERS,
    JdbcItems,
    JdbcOrders,
    JdbcSource,
    JdbcTable,
    verified_tls,
)
from etl_lib.sources.pull_folder import Pull, new_pull

_REASON = re.compile(r"(?:SQL\w*|ClassNotFound)Exception: (.+)")
_FOUND = '"found"'
_WITH_NULLS = {"ignoreNullFields": "false"}

SOURCE = "jdbc"

TEXT, NUMBER, TIME, FLAG = "text", "number", "time", "flag"
KINDS = {
    TEXT: (StringType, NumericType),
    NUMBER: (NumericType, StringType),
    TIME: (TimestampType, TimestampNTZType, DateType, StringType),
    FLAG: (BooleanType,),
}
"""What a column may be, by what is read from it."""
_MOMENTS = (TimestampType, TimestampNTZType, DateType)
_KIND_OF = {
    "amount": NUMBER,
    "qty": NUMBER,
    "price": NUMBER,
    "created_at": TIME,
    "updated_at": TIME,
    "deleted": FLAG,
}
REQUIRED = {"orders": ("order_id", "created_at"), "users": ("user_id",), "products": ("sku",)}
MEMBERS = {"orders": ORDER_MEMBERS, "users": USER_MEMBERS, "products": PRODUCT_MEMBERS}
_IN_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',ANSI')",
}


class SourceError(LakehouseError):
    """The database cannot be reached or read."""


@dataclass(frozen=True)
class Checkpoint:
    """The last row of a table that a pull has seen, in the order of (changed_at, key); times in UTC."""

    changed_at: datetime
    key: str

    def as_text(self) -> str:
        """For the ledger."""
        return json.dumps({"changed_at": self.changed_at.isoformat(), "key": self.key})

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """From the ledger."""
        found = json.loads(text)
        return cls(datetime.fromisoformat(found["changed_at"]), found["key"])


@dataclass(frozen=True)
class Changed:
    """The rows of a table that a pull is about, and the checkpoint that it leaves (None: the table has no rows)."""

    rows: DataFrame
    checkpoint: Checkpoint | None


class Database:
    """Tables as Spark sees them through JDBC."""

    def __init__(self, spark: SparkSession, settings: JdbcSource, reveal: Callable[[str], str]) -> None:
        """Nothing is asked yet."""
        self._spark = spark
        self.settings = settings
        self._name = settings.url.split(":")[1]
        self.options = {
            "url": settings.url,
            "user": settings.user,
            "password": reveal(settings.password),
            "driver": settings.driver,
            "fetchsize": str(settings.fetch_size),
            # a time without a zone stays one: the virtual machine's zone has no part in it
            "preferTimestampNTZ": "true",
        }
        if self._name in _IN_UTC:
            self.options["sessionInitStatement"] = _IN_UTC[self._name]
        if self._name == "postgresql" and settings.needs_tls:
            self.options |= verified_tls(settings.ca_file)

    def address(self, dataset: str) -> str:
        """The table of a dataset and where it is; without credentials, as the URL has none."""
        return f"{self.settings.url} {self.table(dataset).table}"

    def table(self, dataset: str) -> JdbcTable:
        """The settings of a dataset's table."""
        found: JdbcTable | None = getattr(self.settings, dataset)
        if found is None:
            raise SourceError(f"sources.jdbc.{dataset}: missing; name its table")
        return found

    def ask(self, query: str) -> DataFrame:
        """The answer to a query, read by one connection."""
        return self._spark.read.format("jdbc").options(**self.options, query=query).load()

    def read(self, query: str, conditions: Sequence[str]) -> DataFrame:
        """The rows of a query for which one of the conditions holds, each read by a connection of its own."""
        options = dict(self.options)
        url = options.pop("url")
        return self._spark.read.jdbc(url, f"({query}) found_rows", predicates=list(conditions), properties=options)

    def columns(self, table: str) -> StructType:
        """The columns of a table; SourceError says why there are none."""
        try:
            return self.ask(f"SELECT * FROM {quoted_table(table)} WHERE 1 = 0").schema  # noqa: S608 - quoted
        except Exception as error:  # of Java, of Spark Connect or of Spark
            reason = next((found[1] for found in map(_REASON.search, str(error).splitlines()) if found), str(error))
            raise SourceError(
                f"sources.jdbc: the table {table} cannot be read from {self.settings.url}: {reason}. "
                "Check address, user, password and the table's name"
            ) from error


def quoted(name: str) -> str:
    """A name as SQL's standard quotes it."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """A table's name, with its schema if it has one."""
    return ".".join(map(quoted, name.split(".")))


def column_of(table: JdbcTable | JdbcItems, member: str) -> str:
    """What the column of a member is called."""
    return table.columns.get(member, member)


def check_columns(found: StructType, wanted: Mapping[str, str], required: Sequence[str], table: str) -> list[str]:
    """What is wrong with the columns of a table: those that are missing, and those of a type that cannot be read.

    `wanted` has the column of each member; a member that is not required may be without one.
    """
    types: dict[str, DataType] = {field.name: field.dataType for field in found}
    problems = []
    for member, column in wanted.items():
        kind = _KIND_OF.get(member, TEXT)
        if column not in types:
            if member in required or column != member:
                problems.append(f"{table}.{column}: missing")
        elif not isinstance(types[column], KINDS[kind]):
            problems.append(f"{table}.{column}: expected a {kind}, found {types[column].simpleString()}")
    return problems


def land_changes(
    database: Database, dataset: str, landing: str, since: Checkpoint | None
) -> tuple[Pull, Checkpoint | None]:
    """Land what changed since a checkpoint as files in a folder of its own; gives the next checkpoint.

    A pull that is cut off leaves files without a complete manifest: good records that the next pull brings again.
    """
    changed = changed_rows(database, dataset, since)
    begun = new_pull(landing, SOURCE, database.address(dataset), "", None if since is None else since.changed_at)
    observed = Observation(begun.manifest.pull_id)
    texts = F.concat_ws("\x00", *changed.rows.columns)
    seen = (F.count("*").alias("records"), F.expr("bit_xor(hashed)").alias("hash"))
    rows = changed.rows.withColumn("hashed", F.xxhash64(texts)).observe(observed, *seen).drop("hashed")
    writer = rows.write.mode("append")
    if dataset == "orders":
        writer.text(begun.location)
    else:
        writer.options(header=True, quoteAll=True, escape='"').csv(begun.location)
    found = observed.get
    begun.landed(int(found["records"]), f"xxhash64:{(found['hash'] or 0) % 2**64:016x}")
    return Pull(begun.location, begun.manifest, resumed=False), changed.checkpoint


def changed_rows(database: Database, dataset: str, since: Checkpoint | None) -> Changed:
    """The rows of a dataset that changed since a checkpoint, in the members of its landing files.

    Columns: `raw` of orders (one JSON text a row), else the members of the CSV. SchemaError names every column that
    is missing or of a type that cannot be read, before any row is read.
    """
    table = database.table(dataset)
    reading = _Reading(database, table, database.columns(table.table), dataset)
    if problems := reading.problems():
        listed = "\n  ".join(problems)
        raise SchemaError(f"sources.jdbc: the tables differ from what is read of them:\n  {listed}")
    return reading.changed(since)


@dataclass(frozen=True)
class _Reading:
    """One table that is read: its settings, and the columns that it has."""

    database: Database
    table: JdbcTable
    columns: StructType
    dataset: str

    @property
    def key(self) -> str:
        """The column by which a row is known."""
        return column_of(self.table, REQUIRED[self.dataset][0])

    @property
    def items(self) -> JdbcItems | None:
        """Where the items are, of orders."""
        return self.table.items if isinstance(self.table, JdbcOrders) else None

    def problems(self) -> list[str]:
        """What is missing or cannot be read."""
        wanted = _wanted(self.table, MEMBERS[self.dataset])
        found = check_columns(self.columns, wanted, REQUIRED[self.dataset], self.table.table)
        if self.table.changed_at is not None and not self._is(self.table.changed_at, *_MOMENTS):
            found.append(f"{self.table.table}.{self.table.changed_at}: expected a time, as changed_at")
        if self.items is None:
            return found
        if self.items.column is not None:
            return found + check_columns(self.columns, {"items": self.items.column}, ["items"], self.table.table)
        of_items = {**_wanted(self.items, ITEM_MEMBERS), "order": self.items.order, "position": self.items.position}
        table = str(self.items.table)
        return found + check_columns(self.database.columns(table), of_items, [*of_items], table)

    def changed(self, since: Checkpoint | None) -> Changed:
        """The rows since a checkpoint."""
        checkpoint = self._latest()
        conditions = ["1 = 1"] if checkpoint is None else self._conditions(since, checkpoint)
        rows = self.database.read(f"SELECT * FROM {quoted_table(self.table.table)}", conditions)  # noqa: S608 - quoted
        if self.items is None:
            return Changed(rows.select(*_members(rows, self.table, MEMBERS[self.dataset])), checkpoint)
        return Changed(self._order_texts(rows, self.items, conditions), checkpoint)

    def _is(self, column: str, *kinds: type[DataType]) -> bool:
        return any(field.name == column and isinstance(field.dataType, kinds) for field in self.columns)

    def _latest(self) -> Checkpoint | None:
        """The last row that is there now; None in a table without rows, or without a time of change."""
        if self.table.changed_at is None:
            return None
        changed, key, name = quoted(self.table.changed_at), quoted(self.key), quoted_table(self.table.table)
        latest = self._moment(f"SELECT MAX({changed}) AS {_FOUND} FROM {name}")  # noqa: S608 - quoted
        if latest is None:
            return None
        last = f"SELECT MAX({key}) AS {_FOUND} FROM {name} WHERE {changed} = {self._literal(latest)}"  # noqa: S608
        asked = self.database.ask(last).select(F.col("found").cast("string"))
        return Checkpoint(latest, str(asked.collect()[0][0]))

    def _moment(self, query: str) -> datetime | None:
        asked = self.database.ask(query).select(F.unix_micros(F.col("found").cast("timestamp")))
        micros = asked.collect()[0][0]
        return None if micros is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)

    def _literal(self, moment: datetime) -> str:
        """A time as every JDBC driver understands it; the session of the database is in UTC."""
        if self._is(str(self.table.changed_at), DateType):
            return f"{{d '{moment:%Y-%m-%d}'}}"
        return f"{{ts '{moment:%Y-%m-%d %H:%M:%S.%f}'}}"

    def _conditions(self, since: Checkpoint | None, end: Checkpoint) -> list[str]:
        """Stretches of the time of change, up to the checkpoint; a row without such a time is read every time."""
        changed = quoted(str(self.table.changed_at))
        if since is None:
            name = quoted_table(self.table.table)
            begin = self._moment(f"SELECT MIN({changed}) AS {_FOUND} FROM {name}") or end.changed_at  # noqa: S608 - quoted
        else:
            begin = since.changed_at - timedelta(seconds=self.database.settings.overlap_s)
        found = _stretches(changed, begin, end.changed_at, self.database.settings.partitions, self._literal)
        if since is not None and self.database.settings.overlap_s == 0:
            last = since.key if self._is(self.key, NumericType) else "'" + since.key.replace("'", "''") + "'"
            seen = f"({changed} = {self._literal(since.changed_at)} AND {quoted(self.key)} <= {last})"
            found = [f"{condition} AND NOT {seen}" for condition in found]
        return [*found, f"{changed} IS NULL"]

    def _order_texts(self, rows: DataFrame, items: JdbcItems, conditions: Sequence[str]) -> DataFrame:
        """One JSON text an order: its members as texts, its items as the column has them or from a table's rows."""
        if items.column is not None:
            # A line break can only be space between the values: within a JSON text none may be.
            array = F.translate(F.col(f"`{items.column}`").cast("string"), "\n\r", "  ")
        else:
            arrays = self._item_arrays(items, conditions)
            rows = rows.join(arrays, F.col(f"`{self.key}`") == F.col("of_order"), "left")
            array = F.to_json("items_of_order", _WITH_NULLS)
        members = dict(zip(ORDER_MEMBERS, _members(rows, self.table, ORDER_MEMBERS), strict=True))
        source, promo = members.pop("source"), members.pop("promo")
        metadata = F.when(F.coalesce(source, promo).isNotNull(), F.struct(source, promo)).alias("metadata")
        text = F.to_json(F.struct(*members.values(), metadata), _WITH_NULLS)
        open_end = F.substring(text, F.lit(1), F.length(text) - 1)
        raw = F.concat(open_end, F.lit(',"items":'), F.coalesce(array, F.lit("null")), F.lit("}"))
        return rows.select(raw.alias("raw"))

    def _item_arrays(self, items: JdbcItems, conditions: Sequence[str]) -> DataFrame:
        """One row an order: `of_order` and `items_of_order`, an array of its items in the order of their position."""
        wanted = {"of_order": items.order, "position": items.position, **_wanted(items, ITEM_MEMBERS)}
        names = [f"i.{quoted(column)} AS {quoted(name)}" for name, column in wanted.items()]
        # The conditions speak of the order's columns.
        told = {self.key, self.table.changed_at} - {None, *wanted}
        names += [f"o.{quoted(str(name))} AS {quoted(str(name))}" for name in told]
        lines = self.database.read(
            f"SELECT {', '.join(names)} FROM {quoted_table(str(items.table))} i "  # noqa: S608 - quoted
            f"JOIN {quoted_table(self.table.table)} o ON i.{quoted(items.order)} = o.{quoted(self.key)}",
            conditions,
        )
        item = F.struct(*_members(lines, JdbcItems(table=items.table), ITEM_MEMBERS))
        in_order = F.sort_array(F.collect_list(F.struct("position", item.alias("item"))))
        return lines.groupBy("of_order").agg(in_order["item"].alias("items_of_order"))


def _wanted(table: JdbcTable | JdbcItems, members: Sequence[str]) -> dict[str, str]:
    return {member: column_of(table, member) for member in members}


def _stretches(
    column: str, begin: datetime, end: datetime, number: int, literal: Callable[[datetime], str]
) -> list[str]:
    """The time from `begin` to `end`, both included, as so many conditions at most."""
    length = (end - begin) / number
    if length < timedelta(seconds=1):
        return [f"{column} >= {literal(begin)} AND {column} <= {literal(end)}"]
    cuts = [begin + length * at for at in range(1, number)]
    edges = [begin, *cuts]
    inner = [f"{column} >= {literal(a)} AND {column} < {literal(b)}" for a, b in zip(edges, cuts, strict=False)]
    return [*inner, f"{column} >= {literal(edges[-1])} AND {column} <= {literal(end)}"]


def _members(rows: DataFrame, table: JdbcTable | JdbcItems, members: Sequence[str]) -> list[Column]:
    """The members of a landing file as texts (a flag stays one), NULL where the table has no such column."""
    types = {field.name: field.dataType for field in rows.schema}
    texts = []
    for member in members:
        column = column_of(table, member)
        found = _text(F.col(f"`{column}`"), types[column]) if column in types else F.lit(None).cast("string")
        texts.append(found.alias(member))
    return texts


def _text(column: Column, kind: DataType) -> Column:
    if isinstance(kind, TimestampType):
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'")
    if isinstance(kind, TimestampNTZType):
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
    return column if isinstance(kind, BooleanType) else column.cast("string")
