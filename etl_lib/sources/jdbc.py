"""The database source: tables read in parallel through JDBC, only what changed, and landed as immutable files.

Orders become JSON Lines, users and products CSV with a header: what the orders job reads from any folder. A row is
written as the texts that the database has of its values, so that no number is rounded and what is no value reaches the
rules of the orders job; a JSON column with items is taken as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import pairwise

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, StructType, TimestampNTZType, TimestampType

from etl_lib.process.errors import SchemaError
from etl_lib.settings.jdbc_settings import (
    ITEM_MEMBERS,
    ORDER_MEMBERS,
    PRODUCT_MEMBERS,
    USER_MEMBERS,
    JdbcItems,
    JdbcOrders,
    JdbcTable,
)
from etl_lib.sources.jdbc_database import Database, check_columns, column_of, column_types, quoted, quoted_table
from etl_lib.sources.pull_folder import Pull, new_pull
from etl_lib.sources.sql_texts import sql_position
from etl_lib.tables.counting import observed

_WITH_NULLS = {"ignoreNullFields": "false"}
_CSV = {"header": "true", "quoteAll": "true", "escape": '"'}

SOURCE = "jdbc"

_MOMENTS = (TimestampType, TimestampNTZType, DateType)
REQUIRED = {"orders": ("order_id", "created_at"), "users": ("user_id",), "products": ("sku",)}
MEMBERS = {"orders": ORDER_MEMBERS, "users": USER_MEMBERS, "products": PRODUCT_MEMBERS}
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
"""Times of change from EARLIEST on and before LATEST count. A row with another one, or none, is in every pull."""
_CHANGED_AT = '"changed_at"'
"""What a query calls the time of change, for its conditions: the members are texts."""


@dataclass(frozen=True)
class Checkpoint:
    """The last time of change (UTC) that a pull has seen. The next pull reads the rows of this instant again."""

    changed_at: datetime

    def as_text(self) -> str:
        """For the ledger."""
        return json.dumps({"changed_at": self.changed_at.isoformat()})

    @classmethod
    def from_text(cls, text: str) -> Checkpoint | None:
        """From the ledger; an older one has a key too. None for a time that does not count, and would stop all others.

        PostgreSQL's `infinity` was such a time: it came as the end of the year 9999.
        """
        changed_at = datetime.fromisoformat(json.loads(text)["changed_at"])
        return cls(changed_at) if EARLIEST <= changed_at < LATEST else None


@dataclass(frozen=True)
class Changed:
    """The rows of a table that a pull is about, and the checkpoint that it leaves (None: no time of change)."""

    rows: DataFrame
    checkpoint: Checkpoint | None


def land_changes(
    database: Database, dataset: str, landing: str, since: Checkpoint | None
) -> tuple[Pull, Checkpoint | None]:
    """Land what changed since a checkpoint as files in a folder of its own; gives the next checkpoint.

    A pull that is cut off leaves files without a complete manifest: good records that the next pull brings again.
    """
    changed = changed_rows(database, dataset, since)
    begun = new_pull(landing, SOURCE, database.address(dataset), "", None if since is None else since.changed_at)
    observation = Observation(begun.manifest.pull_id)
    writer = changed.rows.observe(observation, *_counts(changed.rows.columns)).write.mode("append")
    reader = changed.rows.sparkSession.read.schema(changed.rows.schema)
    if dataset == "orders":
        writer.text(begun.location)
        landed = partial(reader.text, begun.location)
    else:
        writer.options(**_CSV).csv(begun.location)
        landed = partial(reader.options(**_CSV, multiLine=True).csv, begun.location)
    begun.landed(*records_and_checksum(observation, landed))
    return Pull(begun.location, begun.manifest, resumed=False), changed.checkpoint


def records_and_checksum(observation: Observation, landed: Callable[[], DataFrame]) -> tuple[int, str]:
    """How many records have landed, and their checksum: as observed, or else as `landed` reads them back."""
    found = observed(observation)
    if found is None:
        records = landed()
        found = records.agg(*_counts(records.columns)).collect()[0].asDict()
    return int(found["records"]), f"xxhash64:{(found['hash'] or 0) % 2**64:016x}"


def _counts(columns: Sequence[str]) -> tuple[Column, Column]:
    texts = F.concat_ws("\x00", *columns)
    return F.count(F.lit(1)).alias("records"), F.bit_xor(F.xxhash64(texts)).alias("hash")


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

    @cached_property
    def item_columns(self) -> StructType:
        """The columns of the table of items."""
        return self.database.columns(str(self.items.table)) if self.items else StructType()

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
        return found + check_columns(self.item_columns, of_items, [*of_items], str(self.items.table))

    def changed(self, since: Checkpoint | None) -> Changed:
        """The rows since a checkpoint."""
        checkpoint = self._latest()
        conditions = ["1 = 1"] if checkpoint is None else self._conditions(since, checkpoint)
        wanted = _wanted(self.table, MEMBERS[self.dataset])
        if self.items is not None and self.items.column is not None:
            wanted["items"] = self.items.column
        selected = self.database.texts(self.columns, wanted) + self._changed_at()
        query = f"SELECT {', '.join(selected)} FROM {quoted_table(self.table.table)}"  # noqa: S608 - quoted
        rows = self.database.read(query, conditions)
        if self.items is None:
            return Changed(rows.select(*_members(rows, MEMBERS[self.dataset])), checkpoint)
        return Changed(self._order_texts(rows, self.items, conditions), checkpoint)

    def _changed_at(self, owner: str = "") -> list[str]:
        """The time of change as it is, so that the database can use its index."""
        column = self.table.changed_at
        return [] if column is None else [f"{owner}{quoted(column)} AS {_CHANGED_AT}"]

    def _is(self, column: str, *kinds: type[DataType]) -> bool:
        return any(field.name == column and isinstance(field.dataType, kinds) for field in self.columns)

    def _latest(self) -> Checkpoint | None:
        """The last time of change that is there now; None if no row has one that counts."""
        latest = None if self.table.changed_at is None else self._moment("MAX")
        return None if latest is None else Checkpoint(latest)

    def _moment(self, which: str) -> datetime | None:
        """MIN or MAX of the times of change that count."""
        changed, table = quoted(str(self.table.changed_at)), quoted_table(self.table.table)
        counts = self._between(changed, EARLIEST, LATEST)
        asked = self.database.ask(f'SELECT {which}({changed}) AS "found" FROM {table} WHERE {counts}')  # noqa: S608
        micros = asked.select(F.unix_micros(F.col("found").cast("timestamp"))).collect()[0][0]
        return None if micros is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)

    @property
    def _unit(self) -> timedelta:
        """Bounds are whole seconds or days: a database may have finer times than Spark."""
        return timedelta(days=1) if self._is(str(self.table.changed_at), DateType) else timedelta(seconds=1)

    def _between(self, column: str, begin: datetime, end: datetime) -> str:
        """From `begin` on and before `end`, as every JDBC driver understands it; the database's session is in UTC."""
        text = "{{d '{:%Y-%m-%d}'}}" if self._unit.days else "{{ts '{:%Y-%m-%d %H:%M:%S}'}}"
        return f"{column} >= {text.format(begin)} AND {column} < {text.format(end)}"

    def _conditions(self, since: Checkpoint | None, end: Checkpoint) -> list[str]:
        """Stretches of the time of change, up to the checkpoint; rows without one that counts are read every time."""
        if since is None:
            begin = self._moment("MIN") or end.changed_at
        else:
            begin = max(EARLIEST, since.changed_at - timedelta(seconds=self.database.settings.overlap_s))
        edges = _edges(begin, end.changed_at, self.database.settings.partitions, self._unit)
        stretches = [self._between(_CHANGED_AT, *pair) for pair in pairwise(edges)]
        return [*stretches, f"({_CHANGED_AT} IS NULL OR NOT ({self._between(_CHANGED_AT, EARLIEST, LATEST)}))"]

    def _order_texts(self, rows: DataFrame, items: JdbcItems, conditions: Sequence[str]) -> DataFrame:
        """One JSON text an order: its members as texts, its items as the column has them or from a table's rows."""
        if items.column is not None:
            # A line break can only be space between the values: within a JSON text none may be.
            array = F.translate(F.col("items").cast("string"), "\n\r", "  ")
        else:
            arrays = self._item_arrays(items, conditions)
            rows = rows.join(arrays, F.col("order_id") == F.col("of_order"), "left")
            array = F.to_json("items_of_order", _WITH_NULLS)
        members = dict(zip(ORDER_MEMBERS, _members(rows, ORDER_MEMBERS), strict=True))
        source, promo, deleted = members.pop("source"), members.pop("promo"), members.pop("deleted")
        metadata = F.when(F.coalesce(source, promo).isNotNull(), F.struct(source, promo))
        text = F.to_json(F.struct(*members.values()), _WITH_NULLS)
        parts = {"deleted": _flag(deleted), "metadata": F.to_json(metadata, _WITH_NULLS), "items": array}
        others = [F.concat(F.lit(f',"{name}":'), F.coalesce(part, F.lit("null"))) for name, part in parts.items()]
        raw = F.concat(F.substring(text, F.lit(1), F.length(text) - 1), *others, F.lit("}"))
        return rows.select(raw.alias("raw"))

    def _item_arrays(self, items: JdbcItems, conditions: Sequence[str]) -> DataFrame:
        """One row an order: `of_order` and `items_of_order`, an array of its items in the order of their position."""
        position = sql_position(
            self.database.name, f"i.{quoted(items.position)}", column_types(self.item_columns)[items.position]
        )
        selected = [
            *self.database.texts(self.columns, {"of_order": self.key}, "o."),
            *self.database.texts(self.item_columns, _wanted(items, ITEM_MEMBERS), "i."),
            f'{position} AS "position"',
            *self._changed_at("o."),
        ]
        lines = self.database.read(
            f"SELECT {', '.join(selected)} FROM {quoted_table(str(items.table))} i "  # noqa: S608 - quoted
            f"JOIN {quoted_table(self.table.table)} o ON i.{quoted(items.order)} = o.{quoted(self.key)}",
            conditions,
        )
        item = F.struct(*_members(lines, ITEM_MEMBERS))
        in_order = F.sort_array(F.collect_list(F.struct("position", item.alias("item"))))
        return lines.groupBy("of_order").agg(in_order["item"].alias("items_of_order"))


def _wanted(table: JdbcTable | JdbcItems, members: Sequence[str]) -> dict[str, str]:
    return {member: column_of(table, member) for member in members}


def _edges(begin: datetime, end: datetime, number: int, unit: timedelta) -> list[datetime]:
    """The ends of so many stretches at most, in whole units, which together hold the time from `begin` to `end`."""
    begin, end = begin - (begin - EARLIEST) % unit, end - (end - EARLIEST) % unit + unit
    length = max((end - begin) / number, unit)
    cuts = [begin + length * at for at in range(1, number) if length * at < end - begin]
    return [begin, *(cut - (cut - EARLIEST) % unit for cut in cuts), end]


def _members(rows: DataFrame, members: Sequence[str]) -> list[Column]:
    """The members of a landing file as texts, NULL where the table has no such column."""
    types = column_types(rows.schema)
    texts = {member: _text(F.col(member), types[member]) for member in members if member in types}
    return [texts.get(member, F.lit(None).cast("string")).alias(member) for member in members]


def _text(column: Column, kind: DataType) -> Column:
    """The text of a value that came without one."""
    if isinstance(kind, TimestampType):
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'")
    if isinstance(kind, TimestampNTZType):
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
    return column.cast("string")


def _flag(text: Column) -> Column:
    """The JSON of a flag, or of a number that is one if it is 0 or 1; another number is a text, which is no flag."""
    number = text.try_cast("decimal(38,18)")
    return (
        F.when(text.isin("true", "false"), text)
        .when(number == 0, "false")
        .when(number == 1, "true")
        .otherwise(F.concat(F.lit('"'), text, F.lit('"')))
    )
