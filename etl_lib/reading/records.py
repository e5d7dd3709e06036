"""Typed records: the texts of a record as the columns of its dataset, ready to be judged.

Every record gets `key`, `version_at`, `content_hash` and `parse_error`. An order has a version of its own. A line of
users or products has no time: the later file wins, and within a file the later line, so its `version_at` is the
modification time of the file. An event (print, tap or pay) is day, user_id, value_prop, and the position of a print or
tap, or the amount of a pay; its `version_at` is the day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.reading.csv_files import csv_error
from etl_lib.reading.strict_json import JsonShape, parse_json
from etl_lib.reading.values import (
    content_hash,
    has_second_60,
    has_zone,
    is_number,
    is_styled_number,
    iso_date,
    iso_time,
    money,
    trimmed,
    whole_number,
)
from etl_lib.tables.schemas import LINES, MONEY

ORDER_SHAPE = JsonShape(
    texts=("order_id", "user_id", "amount", "currency", "created_at", "updated_at"),
    booleans=("deleted",),
    objects={"metadata": ("source", "promo")},
    arrays={"items": ("sku", "qty", "price")},
)

VIEW_SHAPE = JsonShape(
    texts=("day", "user_id"),
    booleans=(),
    objects={"event_data": ("position", "value_prop")},
    arrays={},
)
PLAIN_MEMBERS = ("day", "event_data.position", "event_data.value_prop", "user_id")
PAY_COLUMNS = ("pay_date", "total", "user_id", "value_prop")
USER_COLUMNS = ("user_id", "email", "created_at", "country")
PRODUCT_COLUMNS = ("sku", "name", "category", "price")

_CONTENT = ("created_at", "user_id", "amount", "currency", "source", "promo", "is_deleted", "lines")


def parse_orders(records: DataFrame, version_fields: Sequence[str]) -> DataFrame:
    """One row a record, as it came and as it reads: what `parse_json` adds, the typed columns, and for the contest
    `key` (the order id), `version_at` (the first of `version_fields` that is given) and `content_hash`.

    A typed column is NULL where `given` has no text or one that cannot be read; the rules tell the two apart.
    What such a text is instead is told by `has_styled_numbers`, `has_numbers_as_times` and `has_leap_seconds`.
    `items` is the array with its texts beside the values, `lines` the values alone; null and no items are the same.
    """
    parsed = parse_json(records, ORDER_SHAPE)
    texts = F.col("texts")
    typed = parsed.withColumns(
        {
            "order_id": texts["order_id"],
            "user_id": texts["user_id"],
            "amount": money(texts["amount"]),
            "currency": texts["currency"],
            "created_at": iso_time(texts["created_at"]),
            "updated_at": iso_time(texts["updated_at"]),
            "is_deleted": F.coalesce("booleans.deleted", F.lit(False)),
            "source": texts["metadata"]["source"],
            "promo": texts["metadata"]["promo"],
            "items": F.transform(texts["items"], _item),
            "has_time_zones": has_zone(texts["created_at"]) & has_zone(texts["updated_at"]),
            "given": F.struct(
                texts["created_at"].alias("created_at"),
                texts["updated_at"].alias("updated_at"),
                texts["amount"].alias("amount"),
                texts["metadata"].isNotNull().alias("metadata"),
            ),
        }
    ).drop("texts", "booleans")
    return typed.withColumns(
        {
            "key": F.col("order_id"),
            "order_date": F.to_date("created_at"),
            "version_at": F.when(
                F.col("created_at").isNotNull(), F.coalesce(*(F.col(name) for name in version_fields))
            ),
            "has_styled_numbers": F.col("amount").isNull() & is_styled_number(F.col("given.amount"))
            | F.coalesce(F.exists("items", _has_styled_numbers), F.lit(False)),
            "has_numbers_as_times": _any_time(is_number),
            "has_leap_seconds": _any_time(has_second_60),
            "line_count": F.when(F.col("is_deleted"), 0).otherwise(F.coalesce(F.size("items"), F.lit(0))),
            "lines": F.coalesce(F.transform("items", _line), F.array().cast(LINES)),
        }
    ).withColumn("content_hash", content_hash(_CONTENT))


def _any_time(is_so: Callable[[Column], Column]) -> Column:
    """Whether a text that could not be read as a time is so."""
    times = ("created_at", "updated_at")
    return reduce(or_, (F.col(name).isNull() & is_so(F.col(f"given.{name}")) for name in times))


def _has_styled_numbers(item: Column) -> Column:
    price = item["unit_price"].isNull() & is_styled_number(item["given_price"])
    return price | item["qty"].isNull() & is_styled_number(item["given_qty"])


def _item(item: Column) -> Column:
    return F.struct(
        item["sku"].alias("sku"),
        whole_number(item["qty"]).alias("qty"),
        money(item["price"]).alias("unit_price"),
        item["qty"].alias("given_qty"),
        item["price"].alias("given_price"),
    )


def _line(item: Column) -> Column:
    return F.struct(item["sku"].alias("sku"), item["qty"].alias("qty"), item["unit_price"].alias("unit_price"))


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


def parse_views(records: DataFrame) -> DataFrame:
    """Lines of prints or taps: adds what `parse_json` adds, `given` (the texts day and position) and the event.

    Nearly all lines are plain, so that the strict parser has little to look at.
    """
    parsed = parse_json(records, VIEW_SHAPE, PLAIN_MEMBERS)
    texts, data = F.col("texts"), F.col("texts.event_data")
    views = parsed.withColumns(
        {
            "given": F.struct(texts["day"].alias("day"), data["position"].alias("position")),
            "user_id": texts["user_id"],
            "value_prop": data["value_prop"],
        }
    ).drop("texts")
    return _event(views, whole_number(F.col("given.position")), F.lit(None).cast(MONEY))


def parse_pays(records: DataFrame) -> DataFrame:
    """Lines of pays with `given` PAY_COLUMNS: adds parse_error, unknown_fields and the event.

    `given` then has the texts day and total without the blanks around them; `has_styled_numbers` tells what a total is
    instead.
    """
    texts = F.col("given")
    pays = records.withColumns(
        {
            "user_id": texts["user_id"],
            "value_prop": texts["value_prop"],
            "given": F.struct(trimmed(texts["pay_date"]).alias("day"), trimmed(texts["total"]).alias("total")),
            "parse_error": csv_error(F.col("raw")),
            "unknown_fields": F.lit(None).cast("array<string>"),
        }
    )
    total = F.col("given.total")
    events = _event(pays, F.lit(None).cast("int"), money(total))
    return events.withColumn("has_styled_numbers", F.col("amount").isNull() & is_styled_number(total))


def _event(records: DataFrame, position: Column, amount: Column) -> DataFrame:
    """Add day, position and amount, and for the judgement `key` (the user) and `version_at` (the day)."""
    typed = records.withColumns({"day": iso_date(F.col("given.day")), "position": position, "amount": amount})
    return typed.withColumns(
        {
            "key": F.col("user_id"),
            # Without a value prop it is no event, whatever the rules say.
            "version_at": F.when(F.col("value_prop").isNotNull(), F.col("day")).cast("timestamp"),
            "content_hash": F.xxhash64("raw"),
        }
    )
