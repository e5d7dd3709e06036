"""A database through Spark's JDBC: its tables and their columns, quoted, checked and read in parallel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
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

from etl_lib.process.errors import LakehouseError
from etl_lib.settings.jdbc_settings import JdbcItems, JdbcSource, JdbcTable
from etl_lib.sources.sql_texts import SESSION_STATEMENTS, sql_text

_REASON = re.compile(r"(?:SQL\w*|ClassNotFound)Exception: (.+)")

TEXT, NUMBER, TIME, FLAG = "text", "number", "time", "flag"
KINDS = {
    TEXT: (StringType, NumericType),
    NUMBER: (NumericType, StringType),
    TIME: (TimestampType, TimestampNTZType, DateType, StringType),
    FLAG: (BooleanType, NumericType),
}
"""What a column may be, by what is read from it."""
_KIND_OF = {
    "amount": NUMBER,
    "qty": NUMBER,
    "price": NUMBER,
    "created_at": TIME,
    "updated_at": TIME,
    "deleted": FLAG,
}


class SourceError(LakehouseError):
    """The database cannot be reached or read."""


class Database:
    """Tables as Spark sees them through JDBC."""

    def __init__(self, spark: SparkSession, settings: JdbcSource, reveal: Callable[[str], str]) -> None:
        """Nothing is asked yet."""
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
        if self.name == "postgresql":
            self.options |= settings.tls_options

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

    def texts(self, columns: StructType, wanted: Mapping[str, str], owner: str = "") -> list[str]:
        """What to select as the members of `wanted`, each given its column: the text of each that `columns` has."""
        types = column_types(columns)
        return [
            f"{sql_text(self.name, owner + quoted(column), types[column])} AS {quoted(member)}"
            for member, column in wanted.items()
            if column in types
        ]

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
    types = column_types(found)
    problems = []
    for member, column in wanted.items():
        kind = _KIND_OF.get(member, TEXT)
        if column not in types:
            if member in required or column != member:
                problems.append(f"{table}.{column}: missing")
        elif not isinstance(types[column], KINDS[kind]):
            problems.append(f"{table}.{column}: expected a {kind}, found {types[column].simpleString()}")
    return problems


def column_types(columns: StructType) -> dict[str, DataType]:
    """The type of each column, by its name."""
    return {field.name: field.dataType for field in columns}
