"""User and product records: the texts of a CSV line as typed columns, ready for the contest of versions.

A line has no time of its own: the later file wins, and within a file the later line. So `version_at` is the
modification time of the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.csv_files import csv_error
from etl_lib.values import content_hash, iso_time, money

USER_COLUMNS = ("user_id", "email", "created_at", "country")
PRODUCT_COLUMNS = ("sku", "name", "category", "price")


def parse_users(records: DataFrame) -> DataFrame:
    """CSV records with `given` USER_COLUMNS: adds them typed, parse_error, key, version_at and content_hash."""
    return _typed(records, USER_COLUMNS, {"created_at": iso_time(F.col("given.created_at"))})


def parse_products(records: DataFrame) -> DataFrame:
    """CSV records with `given` PRODUCT_COLUMNS: adds them typed, parse_error, key, version_at and content_hash."""
    return _typed(records, PRODUCT_COLUMNS, {"price": money(F.col("given.price"))})


def _typed(records: DataFrame, columns: Sequence[str], conversions: dict[str, Column]) -> DataFrame:
    typed = {name: conversions.get(name, F.col(f"given.{name}")) for name in columns}
    return (
        records.withColumns({**typed, "parse_error": csv_error(F.col("raw"))})
        .withColumns(
            {
                "key": F.col(columns[0]),
                "version_at": F.col("source_modified_at"),
                "unknown_fields": F.lit(None).cast("array<string>"),
            }
        )
        .withColumn("content_hash", content_hash(columns))
    )
