"""Running the orders job and the publish job with sinks, and holding what a PostgreSQL shows against the tables."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from etl_lib.tables.schemas import ETL_PUBLISHES, SALES_TABLES, Table
from jobs import orders, publish
from tests.job import Job
from tests.postgres_server import PostgresServer

PASSWORD = "PUBLISH_PASSWORD"  # noqa: S105 - the name of the variable
DRIVER = str(Path(__file__).resolve().parents[1] / ".venv" / "jars-postgres" / "*")
"""The class path with the driver for PostgreSQL."""
SUBMIT = ("PYSPARK_SUBMIT_ARGS", shlex.join(["--conf", f"spark.driver.extraClassPath={DRIVER}", "pyspark-shell"]))
"""The variable with which a job that is a process of its own has that driver."""
SCHEMAS = count(1)


@dataclass
class PublishingJob:
    """The orders job and the publish job over one warehouse, with sinks."""

    job: Job
    sinks: Sequence[str]
    """Settings."""

    @property
    def options(self) -> list[str]:
        return [*self.job.options(), *(f"--set={setting}" for setting in self.sinks)]

    def run(self, *options: str) -> int:
        return orders.main([*self.options, *options])

    def publish(self, *options: str) -> int:
        return publish.main([*self.options, *options])

    def told(self, sink: str) -> dict[str, Any]:
        """What the last run tells of a sink."""
        found: dict[str, Any] = self.job.metrics()["publishes"][sink]
        return found

    def entries(self, *columns: str) -> list[tuple[Any, ...]]:
        """The ledger of publishes, oldest first."""
        rows = self.job.read(ETL_PUBLISHES).orderBy("started_at").select(*columns).collect()
        return [tuple(row) for row in rows]


@dataclass
class Published:
    """A schema of a PostgreSQL, seen by somebody who only reads and tampers."""

    server: PostgresServer
    schema: str

    @property
    def settings(self) -> list[str]:
        url = f"jdbc:postgresql://{self.server.host}:{self.server.port}/{self.server.database}"
        place = {"url": url, "user": self.server.user, "password": f"${{{PASSWORD}}}", "schema_name": self.schema}
        return ["sinks=[postgres]", *(f"publish.postgres.{name}={value}" for name, value in place.items())]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query; `{s}` in it is the schema."""
        with self._cursor() as cursor:
            cursor.execute(query.replace("{s}", self.schema))
            return [tuple(row) for row in cursor.fetchall()]

    def do(self, statement: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(statement.replace("{s}", self.schema))

    def tables(self) -> set[str]:
        found = self.ask("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = '{s}'")
        return {name for (name,) in found}

    def rows(self, table: Table) -> list[tuple[Any, ...]]:
        """All rows of a table in the order of its columns and by its key."""
        return sorted(self.ask(f"SELECT {', '.join(table.column_names)} FROM {{s}}.{table.name}"), key=repr)  # noqa: S608

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        connection = self.server.connect()
        try:
            yield connection.cursor()
            connection.commit()
        finally:
            connection.close()


def new_schema(server: PostgresServer) -> Published:
    """A schema that no other test has."""
    os.environ[PASSWORD] = server.password
    return Published(server, f"sales_{next(SCHEMAS)}")


def expected_rows(job: Job, table: Table) -> list[tuple[Any, ...]]:
    """The rows of a table as PostgreSQL is to show them: times with a zone, and a user that nobody named as NULL."""
    frame = job.read(table).select(*table.column_names)
    times = [name for name, kind in frame.dtypes if kind == "timestamp"]
    rows = frame.withColumns({name: F.unix_micros(name) for name in times}).collect()
    names = frame.columns

    def value(name: str, found: Any) -> Any:
        if name in times and found is not None:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=found)
        return None if name == "user_id" and found == "" else found

    return sorted((tuple(map(value, names, row)) for row in rows), key=repr)


def assert_shows_the_tables(published: Published, job: Job) -> None:
    """Every row of every table, to the cent and the microsecond, and nothing else."""
    for table in SALES_TABLES:
        assert published.rows(table) == expected_rows(job, table), table.name
    names = {table.name for table in SALES_TABLES}
    assert published.tables() == {*names, "publish_state"}


def summary(printed: str) -> dict[str, Any]:
    """The summary that a job printed with --json."""
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found
