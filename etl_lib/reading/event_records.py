"""Print, tap and pay records: the texts of a line as typed columns of an event.

An event is day, user_id, value_prop, and the position of a print or tap, or the amount of a pay.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.reading.csv_files import csv_error
from etl_lib.reading.strict_json import JsonShape, parse_json
from etl_lib.reading.values import is_styled_number, iso_date, money, trimmed, whole_number
from etl_lib.tables.schemas import MONEY

VIEW_SHAPE = JsonShape(
    texts=("day", "user_id"),
    booleans=(),
    objects={"event_data": ("position", "value_prop")},
    arrays={},
)
PLAIN_MEMBERS = ("day", "event_data.position", "event_data.value_prop", "user_id")
PAY_COLUMNS = ("pay_date", "total", "user_id", "value_prop")


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
