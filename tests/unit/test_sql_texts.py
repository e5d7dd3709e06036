"""The SQL that gives values as texts, by database: by its documentation, and by a server for PostgreSQL alone."""

from __future__ import annotations

import pytest
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from etl_lib.sources.jdbc_database import SESSION_STATEMENTS, sql_position, sql_text

DATABASES = ("postgresql", "mysql", "mariadb", "sqlserver", "oracle", "derby")
NUMBER, MONEY, SMALL_MONEY = DecimalType(12, 2), DecimalType(19, 4), DecimalType(10, 4)
ORACLE_NUMBER = "TO_CHAR(c, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
ORACLE_TIME = """LTRIM(TO_CHAR(CAST(c AS TIMESTAMP), 'SYYYY-MM-DD"T"HH24:MI:SS.FF6'))"""


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("kind", [StringType(), BooleanType(), IntegerType(), LongType()], ids=str)
def test_texts_flags_and_whole_numbers_stay_as_they_are(database: str, kind: DataType) -> None:
    assert sql_text(database, "c", kind) == "c"
    assert sql_position(database, "c", kind) == "c"


@pytest.mark.parametrize(
    ("database", "kind", "expected"),
    [
        ("postgresql", DecimalType(38, 18), "CAST(c AS TEXT)"),
        ("postgresql", DoubleType(), "CAST(c AS TEXT)"),
        ("postgresql", DateType(), "CAST(c AS TEXT)"),
        ("postgresql", TimestampType(), "CAST(c AS TEXT)"),
        ("postgresql", TimestampNTZType(), "CAST(c AS TEXT)"),
        ("mysql", NUMBER, "CAST(c AS CHAR)"),
        ("mysql", TimestampNTZType(), "CAST(c AS CHAR)"),
        ("mysql", TimestampType(), "CONCAT(CAST(c AS CHAR), 'Z')"),
        ("mariadb", TimestampType(), "CONCAT(CAST(c AS CHAR), 'Z')"),
        ("sqlserver", NUMBER, "CONVERT(NVARCHAR(MAX), c, 2)"),
        ("sqlserver", MONEY, "CONVERT(NVARCHAR(MAX), c, 2)"),
        ("sqlserver", SMALL_MONEY, "CONVERT(NVARCHAR(MAX), c, 2)"),
        ("sqlserver", FloatType(), "CONVERT(NVARCHAR(MAX), c, 3)"),
        ("sqlserver", DoubleType(), "CONVERT(NVARCHAR(MAX), c, 3)"),
        ("sqlserver", DateType(), "CONVERT(NVARCHAR(MAX), c, 126)"),
        ("sqlserver", TimestampNTZType(), "CONVERT(NVARCHAR(MAX), c, 126)"),
        ("sqlserver", TimestampType(), "CONVERT(NVARCHAR(MAX), c, 127)"),
        ("oracle", DecimalType(38, 10), ORACLE_NUMBER),
        ("oracle", DoubleType(), ORACLE_NUMBER),
        ("oracle", DateType(), ORACLE_TIME),
        ("oracle", TimestampNTZType(), ORACLE_TIME),
        ("oracle", TimestampType(), ORACLE_TIME.replace("CAST(c AS TIMESTAMP)", "SYS_EXTRACT_UTC(c)") + " || 'Z'"),
        ("derby", NUMBER, "c"),
        ("derby", TimestampType(), "c"),
    ],
    ids=str,
)
def test_every_database_gives_the_text_of_a_value_in_its_own_way(database: str, kind: DataType, expected: str) -> None:
    assert sql_text(database, "c", kind) == expected


def test_a_name_in_quotes_stays_whole() -> None:
    assert sql_text("postgresql", 'i."a ""b"" {0}"', NUMBER) == 'CAST(i."a ""b"" {0}" AS TEXT)'
    assert sql_position("postgresql", 'i."a {0}"', NUMBER) == 'CAST(i."a {0}" AS DOUBLE PRECISION)'


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ("postgresql", "CAST(c AS DOUBLE PRECISION)"),
        ("mysql", "c + 0E0"),
        ("mariadb", "c + 0E0"),
        ("sqlserver", "CAST(c AS DOUBLE PRECISION)"),
        ("oracle", "CAST(c AS BINARY_DOUBLE)"),
        ("derby", "c"),
    ],
)
def test_a_decimal_position_is_a_number_of_a_size_that_spark_holds(database: str, expected: str) -> None:
    assert sql_position(database, "c", NUMBER) == expected
    assert sql_position(database, "c", DoubleType()) == "c"


@pytest.mark.parametrize("database", sorted(SESSION_STATEMENTS))
def test_sessions_are_in_utc(database: str) -> None:
    assert any(zone in SESSION_STATEMENTS[database] for zone in ("'UTC'", "'+00:00'"))
