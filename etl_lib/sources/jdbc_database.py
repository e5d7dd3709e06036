"""A database through Spark's JDBC: its tables and their columns, quoted, checked and read in parallel.

Spark's types do not hold every value of a database: `NaN` and the digits of a PostgreSQL numeric, `infinity` and years
BC of a time. As a text of the database's own each comes through as it is, and the orders job rejects by its rules what
is no value. The SQL for PostgreSQL is tested with a server; that for the others follows their documentation alone. A
database without any gives its values as Spark reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from etl_lib.process.errors import LakehouseError
from etl_lib.process.secrets import reveal
from etl_lib.settings.jdbc_settings import JdbcItems, JdbcSource, JdbcTable

_MYSQL_SESSION = "SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',ANSI')"

SESSION_STATEMENTS = {
    "postgresql": "SET DateStyle TO ISO; SET TIME ZONE 'UTC'",
    "mysql": _MYSQL_SESSION,
    "mariadb": _MYSQL_SESSION,
    "oracle": "ALTER SESSION SET TIME_ZONE = '+00:00'",
}
"""What makes a session write its times in UTC and ISO 8601, and take names in double quotes."""

# A TIMESTAMP is shown in the session's time zone and comes to Spark as TimestampType; a DATETIME has no zone.
_MYSQL_TEXTS = {TimestampType: "CONCAT(CAST({} AS CHAR), 'Z')", DataType: "CAST({} AS CHAR)"}

# SYYYY writes a minus before a year BC, a blank before any other.
_ORACLE_TIME = """LTRIM(TO_CHAR({}, 'SYYYY-MM-DD"T"HH24:MI:SS.FF6'))"""

_TEXTS: dict[str, dict[type[DataType], str]] = {
    # each value exactly, `NaN` and `infinity` too, and a time with a zone with its offset
    "postgresql": {DataType: "CAST({} AS TEXT)"},
    "mysql": _MYSQL_TEXTS,
    "mariadb": _MYSQL_TEXTS,
    "sqlserver": {
        DecimalType: "CONVERT(NVARCHAR(MAX), {}, 2)",  # of money: all 4 decimals; others are alike in every style
        FloatType: "CONVERT(NVARCHAR(MAX), {}, 3)",  # 9 or 17 digits, from which the value can be read again
        DoubleType: "CONVERT(NVARCHAR(MAX), {}, 3)",
        TimestampType: "CONVERT(NVARCHAR(MAX), {}, 127)",  # of datetimeoffset: ISO 8601 in UTC, with Z
        DateType: "CONVERT(NVARCHAR(MAX), {}, 126)",  # of date, datetime and datetime2: ISO 8601
        TimestampNTZType: "CONVERT(NVARCHAR(MAX), {}, 126)",
        DataType: "CONVERT(NVARCHAR(MAX), {})",
    },
    "oracle": {
        NumericType: "TO_CHAR({}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')",  # all digits
        TimestampType: _ORACLE_TIME.format("SYS_EXTRACT_UTC({})") + " || 'Z'",  # only a time with a zone is one
        DataType: _ORACLE_TIME.format("CAST({} AS TIMESTAMP)"),  # a DATE has a time of the day
    },
}
"""By database: the SQL of the text of a value, by the first of these types that Spark sees."""

_DOUBLES = {
    "postgresql": "CAST({} AS DOUBLE PRECISION)",
    "mysql": "{} + 0E0",  # a cast to DOUBLE is there since 8.0.17 alone
    "mariadb": "{} + 0E0",
    "sqlserver": "CAST({} AS DOUBLE PRECISION)",
    "oracle": "CAST({} AS BINARY_DOUBLE)",  # DOUBLE PRECISION is a NUMBER there
}

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
        if self.name == "postgresql":
            self.options |= settings.tls_options

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


def sql_text(database: str, column: str, kind: DataType) -> str:
    """SQL of the text of a column, whose quoted name is `column` and which Spark sees as `kind`.

    Texts, flags and whole numbers stay as they are: Spark holds each of their values.
    """
    if isinstance(kind, (StringType, BooleanType, IntegralType)):
        return column
    templates = _TEXTS.get(database, {DataType: "{}"})
    return next(template for seen, template in templates.items() if isinstance(kind, seen)).format(column)


def sql_position(database: str, column: str, kind: DataType) -> str:
    """SQL of a column by which rows are put in order: a number that Spark holds, also of NaN, or a text."""
    return _DOUBLES.get(database, "{}").format(column) if isinstance(kind, DecimalType) else column


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
