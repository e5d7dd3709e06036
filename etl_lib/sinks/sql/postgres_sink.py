"""The PostgreSQL sink: rows are staged through Spark's JDBC writer, in parallel, and applied in one transaction."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from pg8000 import dbapi  # type: ignore[import-untyped]  # ships no types
from pyspark.sql import DataFrame, SparkSession

from etl_lib.process.faults import reach
from etl_lib.process.spark_errors import is_disk_full
from etl_lib.settings.jdbc_settings import verified_tls
from etl_lib.settings.sink_settings import PostgresSettings
from etl_lib.sinks.changes import Change, Changes, Shown
from etl_lib.sinks.relations import RELATIONS, SinkError
from etl_lib.sinks.sql import postgres_sql as sql
from etl_lib.sinks.sql.postgres_connection import check_columns, execute, query, told
from etl_lib.sinks.sql.statements import STATE_TABLE, Statement, drop_leftovers

CONNECT_TIMEOUT_S = 30

_REASON = re.compile(r"(?:ERROR: |FATAL: |(?:PSQL|SQL\w*|ClassNotFound)Exception: (?!Batch entry))(.+)")


class PostgresSink:
    """A schema of a PostgreSQL; its tables are made by the first publish."""

    name = "postgres"

    def __init__(self, spark: SparkSession, settings: PostgresSettings, reveal: Callable[[str], str]) -> None:
        """Nothing is asked yet. SecretError when the password cannot be read; SchemaError for a schema's name."""
        sql.namespace(settings.schema_name)
        self._spark = spark
        self._settings = settings
        self._password = reveal(settings.password)

    @property
    def address(self) -> str:
        """The URL, which has no credentials, and the schema."""
        return f"{self._settings.url} {self._settings.schema_name}"

    def shows(self) -> Shown | None:
        """The last publish; asking makes nothing. SchemaError when the schema has other tables than the published."""
        schema = self._settings.schema_name
        with self._connected() as connection:
            check_columns(connection, schema)
            if not query(connection, _has_state(schema))[0][0]:
                return None
            found = query(connection, sql.state(schema))
        return Shown(found[0][0], json.loads(found[0][1])) if found else None

    def publish(self, changes: Changes) -> Mapping[str, int]:
        """Show the changes, all at once; gives the rows that were staged of each relation.

        The staging tables that an interrupted publish has left go first: one publish at a time into a schema.
        """
        schema, publish_id = self._settings.schema_name, changes.publish.publish_id
        with self._connected() as connection:
            check_columns(connection, schema)
            execute(connection, sql.create(schema))
            left = [name for (name,) in query(connection, sql.leftovers(schema))]
            execute(connection, [*drop_leftovers(sql.namespace(schema), left), *sql.staging(schema, publish_id)])
        for change in changes.relations.values():
            self._stage(change, publish_id)
        reach("publish_postgres.staged")
        with self._connected() as connection:
            rows = dict(query(connection, _staged_rows(schema, publish_id)))
            execute(connection, sql.apply(schema, changes.publish))
            execute(connection, [sql.drop_staging(schema, publish_id)])
        return rows

    def row_counts(self) -> Mapping[str, int]:
        """The rows of each published table."""
        with self._connected() as connection:
            return dict(query(connection, sql.reconciliation(self._settings.schema_name)[0]))

    def sales_sums(self) -> list[tuple[object, ...]]:
        """The sums of fact_sales by day and currency."""
        with self._connected() as connection:
            return query(connection, sql.reconciliation(self._settings.schema_name)[1])

    def _stage(self, change: Change, publish_id: str) -> None:
        if change.groups == 0:
            return
        names = sql.namespace(self._settings.schema_name)
        if change.keys is not None:
            self._write(change.keys, names.keys(publish_id, change.relation))
        self._write(change.rows, names.rows(publish_id, change.relation))

    def _write(self, rows: DataFrame, table: str) -> None:
        """Append rows to a table by several connections at once. SinkError with the database's own reason."""
        writer = rows.write.format("jdbc").options(**self._jdbc_options(), dbtable=table).mode("append")
        try:
            writer.save()
        except Exception as error:  # of Java, of Spark Connect or of Spark
            reasons = [found[0] for found in map(_REASON.search, str(error).splitlines()) if found]
            if not reasons or is_disk_full(error):
                raise
            raise SinkError(
                f"could not fill the staging table {table} at {self.address}: {reasons[-1]}. What the "
                "schema shows is as it was; see to the reason and publish again"
            ) from error

    def _jdbc_options(self) -> dict[str, str]:
        settings = self._settings
        options = {
            "url": settings.url,
            "user": settings.user,
            "password": self._password,
            "driver": "org.postgresql.Driver",
            "numPartitions": str(settings.partitions),
            "batchsize": str(settings.batch_size),
            "reWriteBatchedInserts": "true",
            # An error shall not quote a row.
            "logServerErrorDetail": "false",
        }
        if settings.needs_tls:
            options |= verified_tls(settings.ca_file)
        return options

    @contextmanager
    def _connected(self) -> Iterator[dbapi.Connection]:
        settings = self._settings
        host, port, database = settings.server
        context = ssl.create_default_context(cafile=settings.ca_file) if settings.needs_tls else None
        try:
            found = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
            found.settimeout(None)  # a statement takes as long as it takes
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection = dbapi.connect(
                settings.user,
                host=host,
                port=port,
                database=database,
                password=self._password,
                ssl_context=context,
                sock=found,
            )
        except (dbapi.Error, OSError) as error:
            reason = told(error) if isinstance(error, dbapi.Error) else str(error)
            raise SinkError(
                f"cannot connect to {settings.url} as {settings.user}: {reason}. Check address, user, "
                "password and the certificates (publish.postgres.ca_file)"
            ) from error
        try:
            yield connection
        finally:
            with suppress(dbapi.Error, OSError):
                connection.close()


def _has_state(schema: str) -> Statement:
    """Whether there is a state to read: one row (is_there)."""
    return Statement(
        "look for the state of the sink",
        "SELECT to_regclass(%s) IS NOT NULL",
        (sql.namespace(schema).table(STATE_TABLE),),
    )


def _staged_rows(schema: str, publish_id: str) -> Statement:
    """How many rows are staged: (table_name, row_count) by name."""
    names = sql.namespace(schema)
    counts = [f"SELECT '{each.name}', count(*) FROM {names.rows(publish_id, each)}" for each in RELATIONS]  # noqa: S608
    return Statement("count the staged rows", "\nUNION ALL ".join(counts))
