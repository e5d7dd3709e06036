"""A database through Spark's JDBC: its tables and their columns, quoted, checked and read in parallel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from etl_lib.process.errors import LakehouseError
from etl_lib.process.secrets import reveal
from etl_lib.settings.jdbc_settings import JdbcItems, JdbcSource, JdbcTable, verified_tls
from etl_lib.sources.sql_texts import SESSION_STATEMENTS, sql_text

_REASON = re.compile(r"(?:SQL\w*|ClassNotFound)Exception: (.+)")

_KINDS = {
    "text": (StringType, NumericType),
    "number": (NumericType, StringType),
    "time": (TimestampType, TimestampNTZType, DateType, StringType),
    "flag": (BooleanType, NumericType),
}
"""What a column may be, by what is read from it: a text, where _KIND_OF has no other."""
_KIND_OF = {
    **dict.fromkeys(("amount", "qty", "price"), "number"),
    **dict.fromkeys(("created_at", "updated_at"), "time"),
    "deleted": "flag",
}


class SourceError(LakehouseError):
    """The database cannot be reached or read."""


class Database:
    """Tables as Spark sees them through JDBC."""

    def __init__(self, spark: SparkSession, settings: JdbcSource) -> None:
        """Reveals the password; nothing is asked yet."""
        self._spark = spark
        self.settings = settings
        self.name = settings.url.split(":")[1]
        """As the URL has it: `postgresql`."""
        self.options = {
            "url": settings.url,
            "user": settings.user,
            "password": reveal(settings.password),
            "driver": settings.driver,
            "fetchsize": str(settings.fetch_size),
            # a time without a zone stays one: the virtual machine's zone has no part in it
            "preferTimestampNTZ": "true",
        }
        if self.name in SESSION_STATEMENTS:
            self.options["sessionInitStatement"] = SESSION_STATEMENTS[self.name]
        if self.name == "postgresql" and settings.needs_tls:
            self.options |= verified_tls(settings.ca_file)

    def address(self, dataset: str) -> str:
        """The table of a dataset and where it is; without credentials, as the URL has none."""
        return f"{self.settings.url} {self.table(dataset).table}"

    def table(self, dataset: str) -> JdbcTable:
        """The settings of a dataset's table."""
        table: JdbcTable | None = getattr(self.settings, dataset)
        if table is None:
            raise SourceError(f"sources.jdbc.{dataset}: missing; name its table")
        return table

    def ask(self, query: str) -> DataFrame:
        """The answer to a query, read by one connection."""
        return self._spark.read.format("jdbc").options(**self.options, query=query).load()

    def read(self, query: str, conditions: Sequence[str]) -> DataFrame:
        """The rows of a query for which one of the conditions holds, each read by a connection of its own."""
        options = dict(self.options)
        url = options.pop("url")
        return self._spark.read.jdbc(url, f"({query}) found_rows", predicates=list(conditions), properties=options)

    def texts(self, types: Mapping[str, DataType], members: Mapping[str, str], owner: str = "") -> list[str]:
        """What to select as `members`, each given its column: the text of each column that is in `types`."""
        return [
            f"{sql_text(self.name, owner + quoted(column), types[column])} AS {quoted(member)}"
            for member, column in members.items()
            if column in types
        ]

    def columns(self, table: str) -> dict[str, DataType]:
        """The types of a table's columns, by name; SourceError says why there are none."""
        try:
            return types_of(self.ask(f"SELECT * FROM {quoted(*table.split('.'))} WHERE 1 = 0"))  # noqa: S608 - quoted
        except Exception as error:  # of Java, of Spark Connect or of Spark
            matches = map(_REASON.search, str(error).splitlines())
            reason = next((match[1] for match in matches if match), str(error))
            raise SourceError(
                f"sources.jdbc: the table {table} cannot be read from {self.settings.url}: {reason}. "
                "Check address, user, password and the table's name"
            ) from error


def quoted(*name: str) -> str:
    """A name, with its schema before it if it has one, as SQL's standard quotes it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)


def columns_of(table: JdbcTable | JdbcItems, members: Sequence[str]) -> dict[str, str]:
    """The column of each member."""
    return {member: table.columns.get(member, member) for member in members}


def types_of(rows: DataFrame) -> dict[str, DataType]:
    """The type of each column, by its name."""
    return {field.name: field.dataType for field in rows.schema}


def check_columns(
    types: Mapping[str, DataType], members: Mapping[str, str], required: Sequence[str], table: str
) -> list[str]:
    """What is wrong with the columns of a table: those that are missing, and those of a type that cannot be read.

    `members` has the column of each member; a member that is not required may be without one.
    """
    problems = []
    for member, column in members.items():
        kind = _KIND_OF.get(member, "text")
        if column not in types:
            if member in required or column != member:
                problems.append(f"{table}.{column}: missing")
        elif not isinstance(types[column], _KINDS[kind]):
            problems.append(f"{table}.{column}: expected a {kind}, found {types[column].simpleString()}")
    return problems
