"""The features of each print: whether it was tapped, and what its user did with its value prop in the window before.

One period is one row of history: a week, or a day where the window rolls. A range of the ordered periods before a
print's own is its window, so weeks without data shift nothing, and no print is ever joined with prints.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl_lib.reading.values import date_literal
from etl_lib.tables.schemas import SUM, VALUE_PROP_FEATURES
from etl_lib.value_props.weeks import Windows

_GROUP = ("user_id", "value_prop")


def features(events: DataFrame, windows: Windows) -> DataFrame:
    """One row for each print of the target weeks, in the columns of value_prop_features.

    `events` are the valid ones: dataset, day, user_id, value_prop, position, amount.
    """
    period = F.trunc("day", "week") if windows.kind == "calendar" else F.col("day")
    seen = events.where(F.col("day").between(date_literal(windows.first_day), date_literal(windows.last_target_day)))
    seen = seen.withColumn("period", period)
    in_weeks = seen.where(F.col("day") >= date_literal(windows.weeks[0]))
    prints = in_weeks.where("dataset = 'prints'")
    taps = in_weeks.where("dataset = 'taps'")
    # Only those who saw something in the target weeks have a history to tell.
    theirs = seen.join(prints.select(*_GROUP), [*_GROUP], "left_semi")
    history = _history(theirs, windows).where(F.col("period") >= date_literal(windows.weeks[0]))
    known = prints.join(history, [*_GROUP, "period"], "left").join(_tapped(taps), [*_GROUP, "day"], "left")
    columns = {
        "week": F.trunc("day", "week"),
        "clicked": F.coalesce(_is_tapped().cast("int"), F.lit(0)),
        "window": F.lit(windows.kind),
        "window_weeks": F.lit(windows.length),
    }
    return known.withColumns(columns).select(*VALUE_PROP_FEATURES.column_names)


def _history(events: DataFrame, windows: Windows) -> DataFrame:
    """The sums of the window before each period of a user and value prop."""

    def count_of(dataset: str) -> Column:
        return F.count_if(F.col("dataset") == dataset)

    by_period = events.groupBy(*_GROUP, "period").agg(
        count_of("prints").alias("views_3w"),
        count_of("taps").alias("clicks_3w"),
        count_of("pays").alias("payments_3w"),
        F.sum("amount").alias("amount_3w"),
    )
    ordered = Window.partitionBy(*_GROUP).orderBy(F.unix_date("period"))
    before = ordered.rangeBetween(-windows.days, -1)

    def sum_of(name: str, kind: str) -> Column:
        return F.coalesce(F.sum(name).over(before), F.lit(0)).cast(kind).alias(name)

    counts = [sum_of(name, "bigint") for name in ("views_3w", "clicks_3w", "payments_3w")]
    return by_period.select(*_GROUP, "period", *counts, sum_of("amount_3w", SUM))


def _tapped(taps: DataFrame) -> DataFrame:
    """One row a user, value prop and day with a tap: where it was tapped, so that two taps do not make two rows."""
    return taps.groupBy(*_GROUP, "day").agg(
        F.collect_set("position").alias("tapped_positions"),
        F.max(F.col("position").isNull()).alias("tapped_anywhere"),
    )


def _is_tapped() -> Column:
    somewhere = F.col("tapped_anywhere")
    return somewhere.isNotNull() & (
        somewhere | F.col("position").isNull() | F.array_contains("tapped_positions", F.col("position"))
    )
