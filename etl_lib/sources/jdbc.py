"""The database source: tables read in parallel through JDBC, only what changed, and landed as immutable files.

Orders become JSON Lines, users and products CSV with a header: what the orders job reads from any folder. A row is
written as the texts that the database has of its values, so that no number is rounded and what is no value reaches the
rules of the orders job; a JSON column with items is taken as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, TimestampNTZType, TimestampType

from etl_lib.process.errors import SchemaError
from etl_lib.settings.jdbc_settings import (
    ITEM_MEMBERS,
    ORDER_MEMBERS,
    PRODUCT_MEMBERS,
    USER_MEMBERS,
    JdbcItems,
    JdbcOrders,
)
from etl_lib.sources.jdbc_database import Database, check_columns, columns_of, quoted, sql_position, types_of
from etl_lib.sources.pull_folder import PullFolder, new_pull
from etl_lib.tables.counting import every_branch_observed, observed

_WITH_NULLS = {"ignoreNullFields": "false"}
_CSV = {"header": "true", "quoteAll": "true", "escape": '"'}

REQUIRED = {"orders": ("order_id", "created_at"), "users": ("user_id",), "products": ("sku",)}
MEMBERS = {"orders": ORDER_MEMBERS, "users": USER_MEMBERS, "products": PRODUCT_MEMBERS}
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
"""Times of change from EARLIEST on and before LATEST count. A row with another one, or none, is in every pull."""
_CHANGED_AT = '"changed_at"'
"""What a query calls the time of change, for its conditions: the members are texts."""


def checkpoint_text(checkpoint: datetime) -> str:
    """A checkpoint as the ledger has it: the last time of change that a pull has seen."""
    return json.dumps({"changed_at": checkpoint.isoformat()})


def checkpoint_of(text: str) -> datetime | None:
    """The checkpoint of a text of the ledger. None for a time that does not count, and would stop all others.

    PostgreSQL's `infinity` was such a time: it came as the end of the year 9999. An older text has a key, too.
    """
    checkpoint = datetime.fromisoformat(json.loads(text)["changed_at"])
    return checkpoint if EARLIEST <= checkpoint < LATEST else None


def land_changes(
    database: Database, dataset: str, landing: str, since: datetime | None
) -> tuple[PullFolder, datetime | None]:
    """Land what changed since a checkpoint as files in a folder of its own; gives the next checkpoint.

    A pull that is cut off leaves files without a complete manifest: good records that the next pull brings again.
    """
    rows, checkpoint = changed_rows(database, dataset, since)
    folder = new_pull(landing, "jdbc", database.address(dataset), "", since)
    observation = Observation(folder.manifest.pull_id)
    writer = rows.observe(observation, *_counts(rows.columns)).write.mode("append")
    reader = rows.sparkSession.read.schema(rows.schema)
    with every_branch_observed(rows.sparkSession):
        if dataset == "orders":
            writer.text(folder.location)
            landed = partial(reader.text, folder.location)
        else:
            writer.options(**_CSV).csv(folder.location)
            landed = partial(reader.options(**_CSV, multiLine=True).csv, folder.location)
    folder.landed(*records_and_checksum(observation, landed))
    return folder, checkpoint


def records_and_checksum(observation: Observation, landed: Callable[[], DataFrame]) -> tuple[int, str]:
    """How many records have landed, and their checksum: as observed, or else as `landed` reads them back."""
    counts = observed(observation)
    if counts is None:
        records = landed()
        counts = records.agg(*_counts(records.columns)).collect()[0].asDict()
    return int(counts["records"]), f"xxhash64:{(counts['hash'] or 0) % 2**64:016x}"


def _counts(columns: Sequence[str]) -> tuple[Column, Column]:
    texts = F.concat_ws("\x00", *columns)
    return F.count(F.lit(1)).alias("records"), F.bit_xor(F.xxhash64(texts)).alias("hash")


def changed_rows(database: Database, dataset: str, since: datetime | None) -> tuple[DataFrame, datetime | None]:
    """The rows of a dataset that changed since a checkpoint, and the next checkpoint (None: no time of change).

    Columns: `raw` of orders (one JSON text a row), else the members of the CSV. The next pull reads the rows of the
    checkpoint's own instant again. SchemaError names every column that is missing or of a type that cannot be read,
    before any row is read.
    """
    return _Reading(database, dataset).changed(since)


class _Reading:
    """One table that is read, with that of its items, and the columns that they have."""

    def __init__(self, database: Database, dataset: str) -> None:
        self.database = database
        self.table = database.table(dataset)
        self.columns = database.columns(self.table.table)
        self.changed_at = self.table.changed_at
        self.items = self.table.items if isinstance(self.table, JdbcOrders) else None
        self.item_columns = database.columns(self.items.table) if self.items and self.items.table else {}
        self.members = columns_of(self.table, MEMBERS[dataset])
        if self.items is not None and self.items.column is not None:
            self.members["items"] = self.items.column
        if problems := self._problems([*REQUIRED[dataset], "items"]):
            listed = "\n  ".join(problems)
            raise SchemaError(f"sources.jdbc: the tables differ from what is read of them:\n  {listed}")

    def _problems(self, required: Sequence[str]) -> list[str]:
        """What is missing or cannot be read."""
        table, items = self.table.table, self.items
        problems = check_columns(self.columns, self.members, required, table)
        if self.changed_at is not None and not self._is_of(TimestampType, TimestampNTZType, DateType):
            problems.append(f"{table}.{self.changed_at}: expected a time, as changed_at")
        if items is not None and items.table is not None:
            members = {**columns_of(items, ITEM_MEMBERS), "order": items.order, "position": items.position}
            problems += check_columns(self.item_columns, members, [*members], items.table)
        return problems

    def changed(self, since: datetime | None) -> tuple[DataFrame, datetime | None]:
        """The rows since a checkpoint, and the next checkpoint."""
        checkpoint = self._moment("MAX")
        conditions = ["1 = 1"] if checkpoint is None else self._conditions(since, checkpoint)
        selected = self.database.texts(self.columns, self.members) + self._select_changed_at()
        query = f"SELECT {', '.join(selected)} FROM {self._from}"  # noqa: S608 - quoted
        rows = self.database.read(query, conditions)
        if self.items is None:
            return rows.select(*_members(rows, [*self.members])), checkpoint
        return self._order_texts(rows, self.items, conditions), checkpoint

    @property
    def _from(self) -> str:
        return quoted(*self.table.table.split("."))

    def _select_changed_at(self, owner: str = "") -> list[str]:
        """The time of change as it is, so that the database can use its index."""
        return [] if self.changed_at is None else [f"{owner}{quoted(self.changed_at)} AS {_CHANGED_AT}"]

    def _is_of(self, *kinds: type[DataType]) -> bool:
        """Whether the time of change is of one of these types."""
        return isinstance(self.columns.get(str(self.changed_at)), kinds)

    def _moment(self, which: str) -> datetime | None:
        """MIN or MAX of the times of change that count; None if no row has one."""
        if self.changed_at is None:
            return None
        column = quoted(self.changed_at)
        counts = self._between(column, EARLIEST, LATEST)
        answer = self.database.ask(f'SELECT {which}({column}) AS "moment" FROM {self._from} WHERE {counts}')  # noqa: S608
        micros = answer.select(F.unix_micros(F.col("moment").cast("timestamp"))).collect()[0][0]
        return None if micros is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)

    @property
    def _unit(self) -> timedelta:
        """Bounds are whole seconds or days: a database may have finer times than Spark."""
        return timedelta(days=1) if self._is_of(DateType) else timedelta(seconds=1)

    def _between(self, column: str, begin: datetime, end: datetime) -> str:
        """From `begin` on and before `end`, as every JDBC driver understands it; the database's session is in UTC."""
        text = "{{d '{:%Y-%m-%d}'}}" if self._unit.days else "{{ts '{:%Y-%m-%d %H:%M:%S}'}}"
        return f"{column} >= {text.format(begin)} AND {column} < {text.format(end)}"

    def _conditions(self, since: datetime | None, end: datetime) -> list[str]:
        """Stretches of the time of change, up to the checkpoint; rows without one that counts are read every time."""
        if since is None:
            begin = self._moment("MIN") or end
        else:
            begin = max(EARLIEST, since - timedelta(seconds=self.database.settings.overlap_s))
        edges = _edges(begin, end, self.database.settings.partitions, self._unit)
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
        key = self.members["order_id"]
        position = sql_position(self.database.name, f"i.{quoted(items.position)}", self.item_columns[items.position])
        selected = [
            *self.database.texts(self.columns, {"of_order": key}, "o."),
            *self.database.texts(self.item_columns, columns_of(items, ITEM_MEMBERS), "i."),
            f'{position} AS "position"',
            *self._select_changed_at("o."),
        ]
        lines = self.database.read(
            f"SELECT {', '.join(selected)} FROM {quoted(*str(items.table).split('.'))} i "  # noqa: S608 - quoted
            f"JOIN {self._from} o ON i.{quoted(items.order)} = o.{quoted(key)}",
            conditions,
        )
        item = F.struct(*_members(lines, ITEM_MEMBERS))
        in_order = F.sort_array(F.collect_list(F.struct("position", item.alias("item"))))
        return lines.groupBy("of_order").agg(in_order["item"].alias("items_of_order"))


def _edges(begin: datetime, end: datetime, number: int, unit: timedelta) -> list[datetime]:
    """The ends of so many stretches at most, in whole units, which together hold the time from `begin` to `end`."""
    begin, end = begin - (begin - EARLIEST) % unit, end - (end - EARLIEST) % unit + unit
    length = max((end - begin) / number, unit)
    cuts = [begin + length * at for at in range(1, number) if length * at < end - begin]
    return [begin, *(cut - (cut - EARLIEST) % unit for cut in cuts), end]


def _members(rows: DataFrame, members: Sequence[str]) -> list[Column]:
    """The members of a landing file as texts, NULL where the table has no such column."""
    types = types_of(rows)
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
