"""A database as a sink: rows are staged in tables of their own, and applied in one transaction."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from pyspark.sql import DataFrame

from etl_lib.process.faults import reach
from etl_lib.sinks.sink import Changes, Shown
from etl_lib.sinks.sql.publish_sql import PublishSql
from etl_lib.sinks.sql.schema_sql import STATE_TABLE, Statement


class SqlDatabase(Protocol):
    """A database that takes statements."""

    def query(self, statement: Statement) -> Sequence[tuple[Any, ...]]:
        """The rows of one SELECT. SinkError when it fails."""

    def transact(self, statements: Iterable[Statement]) -> None:
        """Run statements as one transaction: all are committed, or none.

        PublishRefusedError when a check fails, SinkError for anything else.
        """


class SqlSink(ABC):
    """A schema of a database; its tables are made by the first publish."""

    name: ClassVar[str]

    def __init__(self, sql: PublishSql) -> None:
        """Nothing is asked yet."""
        self._sql = sql

    @property
    @abstractmethod
    def address(self) -> str:
        """Where the schema is, without any secret."""

    @abstractmethod
    def _connected(self) -> AbstractContextManager[SqlDatabase]:
        """The database, as long as the block runs."""

    @abstractmethod
    def _stage(self, frame: DataFrame, place: str, table: str) -> list[Statement]:
        """Write a frame that belongs into a staging table; gives the statements that load it, if it is not there yet.

        `place` is a path of the publish's own, for files.
        """

    def shows(self) -> Shown | None:
        """The last publish; asking makes nothing. SchemaError when the schema has other tables than the published."""
        with self._connected() as database:
            existing = database.query(self._sql.columns())
            self._sql.check_columns(existing)
            if STATE_TABLE not in {table for table, *_ in existing}:
                return None
            state = database.query(self._sql.state())
        return Shown(state[0][0], json.loads(state[0][1])) if state else None

    def publish(self, changes: Changes) -> Mapping[str, int]:
        """Show the changes, all at once; gives the rows that were staged of each relation.

        The staging tables that an interrupted publish has left go first: one publish at a time into a schema.
        """
        sql, publish_id = self._sql, changes.publish.publish_id
        with self._connected() as database:
            sql.check_columns(database.query(sql.columns()))
            database.transact(sql.create())
            left = [name for (name,) in database.query(sql.leftovers())]
            database.transact(sql.staging(publish_id, left))
        loads: list[Statement] = []
        for name, change in changes.relations.items():
            if change.groups == 0:
                continue
            relation, place = change.relation, f"{publish_id}/{name}"
            rows = change.rows.select(*relation.column_names)
            loads += self._stage(rows, f"{place}/rows", sql.rows(publish_id, relation))
            if change.keys is not None:
                keys = change.keys.select(relation.group)
                loads += self._stage(keys, f"{place}/keys", sql.keys(publish_id, relation))
        with self._connected() as database:
            if loads:
                database.transact(loads)
            counts = dict(database.query(sql.staged_row_counts(publish_id)))
            reach(f"publish_{self.name}.staged")
            database.transact(sql.apply(changes.publish))
            database.transact([sql.drop_staging(publish_id)])
        return {name: counts[name] for name in changes.relations}

    def row_counts(self) -> Mapping[str, int]:
        """The rows of each published table."""
        with self._connected() as database:
            return dict(database.query(self._sql.row_counts()))

    def sales_sums(self) -> list[tuple[object, ...]]:
        """The sums of fact_sales by day and currency; Redshift has days and decimals as texts."""
        with self._connected() as database:
            return list(database.query(self._sql.sales_sums()))
