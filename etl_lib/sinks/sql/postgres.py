"""The PostgreSQL sink: rows are staged through Spark's JDBC writer, in parallel, and applied in one transaction.

All timestamps are `timestamptz`, all decimals `numeric` of the declared precision: every value comes out as it went in.
"""

# ruff: noqa: S608 - names are quoted by identifier(), values by literal()

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from pg8000 import dbapi  # type: ignore[import-untyped]  # ships no types
from pyspark.sql import DataFrame

from etl_lib.process.errors import is_disk_full
from etl_lib.settings.sink_settings import PostgresSettings
from etl_lib.sinks.relations import RELATIONS, Relation
from etl_lib.sinks.sink import PublishRefusedError, SinkError
from etl_lib.sinks.sql.publish_sql import PublishSql
from etl_lib.sinks.sql.schema_sql import STATE_TABLE, Statement, literal
from etl_lib.sinks.sql.sql_sink import SqlSink

CONNECT_TIMEOUT_S = 30

_REASON = re.compile(r"(?:ERROR: |FATAL: |(?:PSQL|SQL\w*|ClassNotFound)Exception: (?!Batch entry))(.+)")


class PostgresSql(PublishSql):
    """The statements in PostgreSQL's words."""

    identifier_bytes = 63
    types: ClassVar = {
        "STRING": "text",
        "INT": "integer",
        "BIGINT": "bigint",
        "BOOLEAN": "boolean",
        "DATE": "date",
        "TIMESTAMP": "timestamp with time zone",
        "DECIMAL": "numeric",
    }
    state_columns: ClassVar = {
        "is_current": "boolean",
        "publish_id": "text",
        "versions": "jsonb",
        "published_at": "timestamp with time zone",
    }
    state_constraints: ClassVar = {"is_current": " PRIMARY KEY DEFAULT true CHECK (is_current)"}
    staging_kind = "UNLOGGED TABLE"
    foreign_key_check = " DEFERRABLE INITIALLY DEFERRED"
    is_key = (
        ", EXISTS (\n"
        "  SELECT 1 FROM pg_catalog.pg_index AS i\n"
        "  WHERE i.indrelid = t.oid AND i.indisprimary AND c.attnum = ANY (i.indkey)\n"
        ")"
    )
    shows_versions = 'CAST(max(CAST("versions" AS text)) AS jsonb) = {}'
    # A task that wrote its rows twice does no harm: equal rows count once.
    select = "SELECT DISTINCT"
    lock_timeout_s = 300
    """How long a publish waits for another one that has the lock, in seconds."""

    def create(self) -> list[Statement]:
        """Create the schema, its tables, indexes and comments where they are not there yet."""
        # IF NOT EXISTS looks first and creates then: two at once would collide.
        lock = f"SELECT pg_advisory_xact_lock(hashtextextended({literal(f'publish {self.schema}')}, 0))"
        indexes = [
            Statement(
                f"create an index on {relation.name}.{column}",
                f"CREATE INDEX IF NOT EXISTS {self.identifier(f'{relation.name}_{column}_idx')} "
                f"ON {self.table(relation.name)} ({self.identifier(column)})",
            )
            for relation in RELATIONS
            for column in relation.indexes
        ]
        return [Statement("wait for others that create the schema", lock), *super().create(), *indexes]

    def _is_schema(self, column: str) -> str:
        return f"{column} = {literal(self.schema)}"

    def _lock(self) -> list[Statement]:
        state = self.table(STATE_TABLE)
        return [
            # With an older snapshot than the lock the check would see the state before the last publish.
            Statement("begin the publish", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            Statement("limit the wait for the lock", f"SET LOCAL lock_timeout = '{self.lock_timeout_s}s'"),
            # Readers go on; another publish, or anything else that writes here, waits until this one has ended.
            Statement("lock out other publishes", f"LOCK TABLE {state} IN SHARE ROW EXCLUSIVE MODE"),
        ]

    def _prepare(self, publish_id: str) -> list[Statement]:
        staged = ",\n  ".join(self.staged(publish_id))
        return [Statement("take statistics of what is staged", f"ANALYZE\n  {staged}")]

    def _replace(self, publish_id: str, relation: Relation) -> list[Statement]:
        """Replace the changed groups; of a relation with a row a group, unchanged rows are not written again."""
        if relation.key != (relation.group,):
            return super()._replace(publish_id, relation)
        others = [self.identifier(column) for column in relation.column_names if column not in relation.key]
        taken = ", ".join(f"{column} = excluded.{column}" for column in others)
        existing = ", ".join(f"existing.{column}" for column in others)
        excluded = ", ".join(f"excluded.{column}" for column in others)
        upsert = (
            f"{self._insert(publish_id, relation, ' AS existing')}\n"
            f"ON CONFLICT ({self.names(relation.key)}) DO UPDATE SET {taken}\n"
            f"WHERE ({existing})\n  IS DISTINCT FROM ({excluded})"
        )
        key = self.identifier(relation.group)
        delete = (
            f"DELETE FROM {self.table(relation.name)} AS existing\n"
            f"USING {self.keys(publish_id, relation)} AS changed\n"
            f"WHERE existing.{key} = changed.{key}\n"
            f"  AND NOT EXISTS (SELECT 1 FROM {self.rows(publish_id, relation)} AS staged "
            f"WHERE staged.{key} = existing.{key})"
        )
        return [
            Statement(f"insert or update the staged rows of {relation.name}", upsert),
            Statement(f"delete what has gone from {relation.name}", delete),
        ]


class PostgresConnection:
    """A connection to PostgreSQL, of a publish's own; errors say what could not be done and why."""

    def __init__(self, connection: dbapi.Connection) -> None:
        """Nothing is asked yet."""
        self._connection = connection

    def transact(self, statements: Iterable[Statement]) -> None:
        """Run statements as one transaction: all are committed, or none.

        PublishRefusedError when a check fails, SinkError for anything else. When the connection breaks, the transaction
        may have been committed or not: the same publish can be repeated, with the same id.
        """
        self._refuse_unusable()
        try:
            for statement in statements:
                self._run(statement)
            self._run(Statement("commit", "COMMIT"))
        except BaseException:
            with suppress(dbapi.Error, OSError):
                self._connection.rollback()
            raise

    def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The rows of one SELECT, read in a transaction of its own. SinkError when it fails."""
        self._refuse_unusable()
        try:
            return [tuple(row) for row in self._run(statement)]
        finally:
            with suppress(dbapi.Error, OSError):
                self._connection.rollback()

    def _refuse_unusable(self) -> None:
        if self._connection.autocommit or self._connection._in_transaction:  # the driver has no public word for it
            raise SinkError(
                "the connection commits each statement or is in the midst of a transaction; give a publish a "
                "connection of its own, with autocommit off"
            )

    def _run(self, statement: Statement) -> Sequence[Sequence[Any]]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement.sql)
            return list(cursor.fetchall()) if cursor.description else []
        except (dbapi.InterfaceError, OSError) as error:
            raise SinkError(
                f"could not {statement.purpose}: the connection to PostgreSQL broke: {error}. Whether the transaction "
                "was committed is not known; repeat the publish with the same id"
            ) from error
        except dbapi.Error as error:
            kind = PublishRefusedError if statement.is_check else SinkError
            raise kind(f"could not {statement.purpose}: {_message(error)}\n{statement.sql}") from error


def _message(error: dbapi.Error) -> str:
    """The server's message and code, with the columns of the key where it is about one; never a value."""
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {"M": str(error)}
    detail = fields.get("D", "")
    about = f" {detail.partition('=')[0]}" if detail.startswith("Key (") else ""
    return f"{fields.get('M')} (SQLSTATE {fields.get('C', 'unknown')}){about}"


class PostgresSink(SqlSink):
    """A schema of a PostgreSQL."""

    name = "postgres"

    def __init__(self, settings: PostgresSettings, reveal: Callable[[str], str]) -> None:
        """Nothing is asked yet. SecretError when the password cannot be read; SchemaError for a schema's name."""
        super().__init__(PostgresSql(settings.schema_name))
        self._settings = settings
        self._password = reveal(settings.password)

    @property
    def address(self) -> str:
        """The URL, which has no credentials, and the schema."""
        return f"{self._settings.url} {self._settings.schema_name}"

    def _stage(self, frame: DataFrame, _place: str, table: str) -> list[Statement]:
        """Append rows to a table by several connections at once. SinkError with the database's own reason."""
        settings = self._settings
        options = {
            "url": settings.url,
            "user": settings.user,
            "password": self._password,
            "driver": "org.postgresql.Driver",
            "dbtable": table,
            "numPartitions": str(settings.partitions),
            "batchsize": str(settings.batch_size),
            "reWriteBatchedInserts": "true",
            # An error shall not quote a row.
            "logServerErrorDetail": "false",
            **settings.tls_options,
        }
        try:
            frame.write.format("jdbc").options(**options).mode("append").save()
        except Exception as error:  # of Java, of Spark Connect or of Spark
            reasons = _REASON.findall(str(error))
            if not reasons or is_disk_full(error):
                raise
            raise SinkError(
                f"could not fill the staging table {table} at {self.address}: {reasons[-1]}. What the "
                "schema shows is as it was; see to the reason and publish again"
            ) from error
        return []

    @contextmanager
    def _connected(self) -> Iterator[PostgresConnection]:
        settings = self._settings
        host, port, database = settings.server
        context = ssl.create_default_context(cafile=settings.ca_file) if settings.needs_tls else None
        try:
            opened = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
            opened.settimeout(None)  # a statement takes as long as it takes
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection = dbapi.connect(
                settings.user,
                host=host,
                port=port,
                database=database,
                password=self._password,
                ssl_context=context,
                sock=opened,
            )
        except (dbapi.Error, OSError) as error:
            reason = _message(error) if isinstance(error, dbapi.Error) else str(error)
            raise SinkError(
                f"cannot connect to {settings.url} as {settings.user}: {reason}. Check address, user, "
                "password and the certificates (publish.postgres.ca_file)"
            ) from error
        try:
            yield PostgresConnection(connection)
        finally:
            with suppress(dbapi.Error, OSError):
                connection.close()
