"""Comparing with the table: after this, each record of the batch has exactly one outcome.

| outcome | meaning |
|---|---|
| rejected | not well-formed, or broke a rule that rejects |
| out_of_window | valid, but outside --since/--until |
| superseded | a better version is in the same batch |
| stale | the table already has a better version |
| unchanged | same content and version as in the table |
| inserted | new |
| updated | better than the table's version |
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

OUTCOMES = ("inserted", "updated", "unchanged", "stale", "superseded", "out_of_window", "rejected")
APPLIED = ("inserted", "updated")
VALID = "valid"
EVENT_OUTCOMES = (VALID, "rejected")
"""The outcomes of records that do not compete."""
FILE, MANIFEST, BLANK, HEADER = "file", "manifest", "blank", "header"
NO_RECORDS = (FILE, MANIFEST, BLANK, HEADER)
"""The outcomes of staged rows that are no input records."""

KNOWN = ("key", "version_at", "source_modified_at", "source_file", "content_hash")


def known(table: DataFrame, key: str) -> DataFrame:
    """What of a dimension the comparison needs: KNOWN, and `order_date` where there is one; a narrow scan."""
    columns = [F.col(key).alias("key"), *(F.col(name) for name in KNOWN[1:])]
    date = F.col("order_date") if "order_date" in table.columns else F.lit(None).cast("date")
    return table.select(F.struct(*columns, date.alias("order_date")).alias("known"))


def compare(batch: DataFrame, table: DataFrame, *, versioned: bool = True) -> DataFrame:
    """Give the winners of the batch their `outcome` against the `known` rows of the table.

    A record without a version of its own (`versioned=False`: its file's time stands in) is unchanged when its content
    is, however often it comes.
    Adds `table_date`, the date under which the order stands in the table now, and marks as conflict a winner that
    differs from the table's row of the same version.
    """
    # Only winners can meet the table: a record out of the contest has a contestant that is no key.
    joined = batch.join(table, F.col("contestant") == F.col("known.key"), "left")
    competes = F.col("outcome").isNull()
    same_version = F.col("version_at") == F.col("known.version_at")
    same_content = F.col("content_hash") == F.col("known.content_hash")
    outcome = (
        F.when(~competes, F.col("outcome"))
        .when(F.col("known.key").isNull(), "inserted")
        .when(same_content & same_version if versioned else same_content, "unchanged")
        .when(_table_is_better(), "stale")
        .otherwise("updated")
    )
    return joined.withColumns(
        {
            "outcome": outcome,
            "table_date": F.col("known.order_date"),
            "is_conflict": F.col("is_conflict") | F.coalesce(competes & same_version & ~same_content, F.lit(False)),
        }
    ).drop("known", "contestant")


def _table_is_better() -> Column:
    """An inferred member has no version yet and is never better."""
    order = ("version_at", "source_modified_at", "source_file")
    theirs = F.struct(*(F.col(f"known.{name}") for name in order))
    ours = F.struct(*(F.col(name) for name in order))
    return F.col("known.version_at").isNotNull() & (theirs > ours)
