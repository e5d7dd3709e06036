"""Picking winners: of all versions of one key in the batch, exactly one, by a total order.

The greatest `(version_at, source_modified_at, source_file, block, row)` wins: of two equal versions the one that
arrived later. Two different contents with one `version_at` are a conflict: decided by arrival, and marked.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

ARRIVAL = ("source_modified_at", "source_file", "block", "row")


def contestant() -> Column:
    """What a record competes as: its key, or something of its own when it takes no part.

    Rows without a key would else all meet in one task. A key has no NUL in it, so the two never collide.
    """
    alone = F.concat_ws("\x00", F.lit(""), "source_file", F.col("block").cast("string"), F.col("row").cast("string"))
    return F.when(F.col("outcome").isNull(), F.col("key")).otherwise(alone)


def winners(judged: DataFrame) -> DataFrame:
    """Set `outcome` to `superseded` for all but the winner of each key, and add `contestant` and `is_conflict`."""
    entered = judged.withColumn("contestant", contestant())
    latest_first = Window.partitionBy("contestant").orderBy(
        F.col("version_at").desc(), *(F.col(name).desc() for name in ARRIVAL)
    )
    same_version = (
        Window.partitionBy("contestant")
        .orderBy(F.col("version_at").desc())
        .rangeBetween(Window.currentRow, Window.currentRow)
    )
    lowest, highest = (F.min("content_hash").over(same_version), F.max("content_hash").over(same_version))
    competes = F.col("outcome").isNull()
    return (
        entered.withColumn("place", F.row_number().over(latest_first))
        .withColumn("is_conflict", competes & (lowest != highest))
        .withColumn("outcome", F.when(competes & (F.col("place") > 1), "superseded").otherwise(F.col("outcome")))
        .drop("place")
    )
