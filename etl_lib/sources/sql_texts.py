"""The SQL with which a database gives its values as texts of its own.

Spark's types do not hold every value of a database: `NaN` and the digits of a PostgreSQL numeric, `infinity` and years
BC of a time. As a text each comes through as it is, and the orders job rejects by its rules what is no value.

The rule of PostgreSQL is tested with a server; those of the others follow their documentation alone. A database without
a rule gives its values as Spark reads them.
"""

from __future__ import annotations

from collections.abc import Callable

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

_MYSQL_SESSION = "SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',ANSI')"

SESSION_STATEMENTS = {
    "postgresql": "SET DateStyle TO ISO; SET TIME ZONE 'UTC'",
    "mysql": _MYSQL_SESSION,
    "mariadb": _MYSQL_SESSION,
    "oracle": "ALTER SESSION SET TIME_ZONE = '+00:00'",
}
"""What makes a session write its times in UTC and ISO 8601, and take names in double quotes."""


def sql_text(database: str, column: str, kind: DataType) -> str:
    """SQL of the text of a column, whose quoted name is `column` and which Spark sees as `kind`.

    Texts, flags and whole numbers stay as they are: Spark holds each of their values.
    """
    rule = _TEXTS.get(database)
    if rule is None or isinstance(kind, (StringType, BooleanType, IntegralType)):
        return column
    return rule(column, kind)


def sql_position(database: str, column: str, kind: DataType) -> str:
    """SQL of a column by which rows are put in order: a number that Spark holds, also of NaN, or a text."""
    rule = _DOUBLES.get(database)
    return column if rule is None or not isinstance(kind, DecimalType) else rule.format(column)


def _postgresql(column: str, _kind: DataType) -> str:
    """PostgreSQL writes each value exactly, `NaN` and `infinity` too, and a time with a zone with its offset."""
    return f"CAST({column} AS TEXT)"


def _mysql(column: str, kind: DataType) -> str:
    """MySQL shows a TIMESTAMP in the session's time zone, which is UTC; a DATETIME has no zone.

    Only a TIMESTAMP comes to Spark as TimestampType.
    """
    text = f"CAST({column} AS CHAR)"
    return f"CONCAT({text}, 'Z')" if isinstance(kind, TimestampType) else text


_MONEY_OF_SQLSERVER = ((19, 4), (10, 4))


def _sqlserver(column: str, kind: DataType) -> str:
    """SQL Server has a style for each type that loses no digit; without one, money is written with 2 decimals.

    Spark sees money and smallmoney as decimals, and a true decimal is written alike in every style.
    """
    style = ""
    if isinstance(kind, DecimalType) and (kind.precision, kind.scale) in _MONEY_OF_SQLSERVER:
        style = ", 2"  # of money: all 4 decimals, no commas
    elif isinstance(kind, (FloatType, DoubleType)):
        style = ", 3"  # of float and real: 17 and 9 digits, from which the value can be read again
    elif isinstance(kind, TimestampType):
        style = ", 127"  # of datetimeoffset: ISO 8601 in UTC, with Z
    elif isinstance(kind, (DateType, TimestampNTZType)):
        style = ", 126"  # of date, datetime and datetime2: ISO 8601
    return f"CONVERT(NVARCHAR(MAX), {column}{style})"


def _oracle(column: str, kind: DataType) -> str:
    """Oracle's format TM9 writes all digits of a number, and SYYYY a minus before a year BC, a blank before any other.

    A DATE has a time of the day. Only a time with a zone comes to Spark as TimestampType; SYS_EXTRACT_UTC shows it in
    UTC, without a zone.
    """
    if isinstance(kind, NumericType):
        return f"TO_CHAR({column}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
    if isinstance(kind, TimestampType):
        return f"{_oracle_time(f'SYS_EXTRACT_UTC({column})')} || 'Z'"
    return _oracle_time(f"CAST({column} AS TIMESTAMP)")


def _oracle_time(time: str) -> str:
    return f"""LTRIM(TO_CHAR({time}, 'SYYYY-MM-DD"T"HH24:MI:SS.FF6'))"""


_TEXTS: dict[str, Callable[[str, DataType], str]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlserver": _sqlserver,
    "oracle": _oracle,
}

_DOUBLES = {
    "postgresql": "CAST({} AS DOUBLE PRECISION)",
    "mysql": "{} + 0E0",  # a cast to DOUBLE is there since 8.0.17 alone
    "mariadb": "{} + 0E0",
    "sqlserver": "CAST({} AS DOUBLE PRECISION)",
    "oracle": "CAST({} AS BINARY_DOUBLE)",  # DOUBLE PRECISION is a NUMBER there
}
