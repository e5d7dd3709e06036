"""Bringing the features of the target weeks into their table, and out as single files."""

from __future__ import annotations

from collections import Counter

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.outcomes import VALID
from etl_lib.deciding.stage import Stage
from etl_lib.process.output import write_single_file
from etl_lib.reading.values import date_literal
from etl_lib.tables.schemas import VALUE_PROP_FEATURES
from etl_lib.tables.warehouse import Warehouse
from etl_lib.value_props.features import features
from etl_lib.value_props.weeks import Windows

PUBLISHED = ("day", "user_id", "position", "value_prop", "clicked", "views_3w", "clicks_3w", "payments_3w", "amount_3w")
"""The columns of the files, in their order."""
_ORDER = ("day", "user_id", "value_prop", "position")

FILES = {
    "final.csv": ("csv", {"header": "true", "escape": '"', "emptyValue": "", "ignoreLeadingWhiteSpace": "false",
                          "ignoreTrailingWhiteSpace": "false"}),
    "final.parquet": ("parquet", {}),
}  # fmt: skip
"""The files by their names, each with its format and the options of Spark's writer."""


def valid_events(stage: Stage) -> DataFrame:
    """The valid events: dataset, day, user_id, value_prop, position, amount."""
    valid = stage.rows.where(F.col("outcome") == VALID)
    return valid.select("dataset", "day", "user_id", "value_prop", "position", "amount")


def count_duplicates(stage: Stage) -> Counter[str]:
    """How many valid records of each dataset repeat the exact text of another one: all but one of each text.

    Texts are told apart by a hash of 64 bits: among a billion the count may be one off, in one of forty runs.
    """
    texts = stage.rows.where(F.col("outcome") == VALID).groupBy("dataset", "content_hash").count()
    surplus = texts.groupBy("dataset").agg(F.sum(F.col("count") - 1).alias("surplus"))
    return Counter({row["dataset"]: row["surplus"] for row in surplus.collect()})


def replace_weeks(stage: Stage, windows: Windows) -> None:
    """Replace exactly the target weeks, in one commit; a week without prints is left without rows."""
    rows = features(valid_events(stage), windows)
    if len(windows.weeks) > 1:
        rows = rows.hint("rebalance", "week")
    stage.warehouse.overwrite(VALUE_PROP_FEATURES, rows, _in_weeks(windows))


def written_weeks(warehouse: Warehouse, windows: Windows) -> dict[str, dict[str, int]]:
    """What the table holds of the target weeks now: `rows` and `clicked_rows` by week."""
    found = (
        _rows_of(warehouse, windows)
        .groupBy("week")
        .agg(F.count("*").alias("rows"), F.count_if(F.col("clicked") == 1).alias("clicked_rows"))
        .collect()
    )
    nothing = {week.isoformat(): {"rows": 0, "clicked_rows": 0} for week in windows.weeks}
    return nothing | {
        row["week"].isoformat(): {"rows": row["rows"], "clicked_rows": row["clicked_rows"]} for row in found
    }


def publish_file(warehouse: Warehouse, windows: Windows, folder: str, name: str) -> str:
    """Write the rows of the target weeks as one of FILES; gives its path. Equal rows make an equal file."""
    kind, options = FILES[name]
    path = f"{folder.rstrip('/')}/value_props/{name}"
    rows = _rows_of(warehouse, windows).select(*PUBLISHED)
    write_single_file(rows.coalesce(1).sortWithinPartitions(*_ORDER), path, kind, options)
    return path


def _rows_of(warehouse: Warehouse, windows: Windows) -> DataFrame:
    return warehouse.read(VALUE_PROP_FEATURES).where(_in_weeks(windows))


def _in_weeks(windows: Windows) -> Column:
    return F.col("week").isin(*map(date_literal, windows.weeks))
