"""Order records: the declared shape of the JSON, and its texts as typed columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.reading.strict_json import JsonShape, parse_json
from etl_lib.reading.values import (
    content_hash,
    has_second_60,
    has_zone,
    is_number,
    is_styled_number,
    iso_time,
    money,
    whole_number,
)
from etl_lib.tables.schemas import LINES

ORDER_SHAPE = JsonShape(
    texts=("order_id", "user_id", "amount", "currency", "created_at", "updated_at"),
    booleans=("deleted",),
    objects={"metadata": ("source", "promo")},
    arrays={"items": ("sku", "qty", "price")},
)

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
