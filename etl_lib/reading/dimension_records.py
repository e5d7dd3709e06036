"""User and product records: the texts of a CSV line as typed columns, ready for the contest of versions.

A line has no time of its own: the later file wins, and within a file the later line. So `version_at` is the
modification time of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.reading.csv_files import csv_error
from etl_lib.reading.values import content_hash, has_second_60, is_number, is_styled_number, iso_time, money, trimmed

USER_COLUMNS = ("user_id", "email", "created_at", "country")
PRODUCT_COLUMNS = ("sku", "name", "category", "price")


def parse_users(records: DataFrame) -> DataFrame:
    """CSV records with `given` USER_COLUMNS: adds them typed, parse_error, key, version_at and content_hash.

    What a time is instead is told by `has_numbers_as_times` and `has_leap_seconds`. `given` loses the blanks around it.
    """
    typed = _typed(records, USER_COLUMNS, "created_at", iso_time)
    unread = F.col("created_at").isNull()
    return typed.withColumns(
        {
            "has_numbers_as_times": unread & is_number(F.col("given.created_at")),
            "has_leap_seconds": unread & has_second_60(F.col("given.created_at")),
        }
    )


def parse_products(records: DataFrame) -> DataFrame:
    """CSV records with `given` PRODUCT_COLUMNS: adds them typed, parse_error, key, version_at and content_hash.

    What a price is instead is told by `has_styled_numbers`. `given` loses the blanks around it.
    """
    typed = _typed(records, PRODUCT_COLUMNS, "price", money)
    return typed.withColumn("has_styled_numbers", F.col("price").isNull() & is_styled_number(F.col("given.price")))


def _typed(
    records: DataFrame, columns: Sequence[str], converted: str, convert: Callable[[Column], Column]
) -> DataFrame:
    given = F.col("given").withField(converted, trimmed(F.col(f"given.{converted}")))
    texts = {name: F.col(f"given.{name}") for name in columns}
    return (
        records.withColumn("given", given)
        .withColumns({**texts, converted: convert(texts[converted]), "parse_error": csv_error(F.col("raw"))})
        .withColumns(
            {
                "key": F.col(columns[0]),
                "version_at": F.col("source_modified_at"),
                "unknown_fields": F.lit(None).cast("array<string>"),
            }
        )
        .withColumn("content_hash", content_hash(columns))
    )
