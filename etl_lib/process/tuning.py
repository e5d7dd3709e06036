"""What a run does differently for few data, and how few they must be.

| choice | worth it for | because |
|---|---|---|
| Java's first compiler alone | few files and bytes of input and warehouse | most code of a small run runs once |
| queries interpreted, not planned again | few files and orders | to compile a query costs more than it saves |
| the stage read once, its rows values in each plan | few rows | Delta looks for the files of each query anew |

The first two are each worth more than a tenth of a small run's CPU time, and cost a large run more. The third is worth
less here, but spares a fifth of the looks at Delta's logs, which cost more on an object store. The limits lie between
sizes that were measured: docs/explanation/performance.md.
"""

from __future__ import annotations

from collections.abc import Mapping

FIRST_COMPILER_ONLY = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
"""Options of Java. The code cache is that of both compilers: in a fifth of it, Java's own choice here, the same is
compiled again and again."""

INTERPRETED: Mapping[str, str] = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
}
"""Settings of Spark. Without planning again a cluster's 200 partitions would each be a task, so they are two."""

MERGED_FROM_VALUES: Mapping[str, str] = {"spark.databricks.delta.merge.materializeSource": "none"}
"""Settings of Spark for the MERGEs of a stage whose rows are values in their plan: they need no copy of them."""

DISK_BYTES = 128 << 20
DISK_FILES = 10_000
"""More files than these are not looked at one by one: every start would wait for it."""
NEW_BYTES = 16 << 20
ORDERS = 3_000_000
DATES = 10
ORDERS_OF_ALL_DATES = 100_000
STAGE_ROWS = 20_000
STAGE_BYTES = 8 << 20


def settings_to_stage(*, new_bytes: int, orders: int) -> Mapping[str, str]:
    """INTERPRETED for few bytes of new files and few orders in the table that they are compared with, else nothing."""
    return INTERPRETED if new_bytes <= NEW_BYTES and orders <= ORDERS else {}


def settings_to_apply(*, new_bytes: int, orders: int, dates: int, has_members: bool) -> Mapping[str, str]:
    """INTERPRETED for what was staged so, where daily sales are summed anew from few lines, else nothing.

    `dates` are those of the batch's orders, and all lines of these are summed. Of a batch with users or products
    (`has_members`) it is not known yet on which dates they sold.
    """
    sums_few = (dates <= DATES and not has_members) or orders <= ORDERS_OF_ALL_DATES
    return settings_to_stage(new_bytes=new_bytes, orders=orders) if sums_few else {}


def is_read_once(size: tuple[int, int]) -> bool:
    """Whether a stage of so many rows, with so many bytes of text, is read once and kept by the driver."""
    rows, text_bytes = size
    return rows <= STAGE_ROWS and text_bytes <= STAGE_BYTES
