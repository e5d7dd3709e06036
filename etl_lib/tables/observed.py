"""Counts taken while records are read, in the same query that writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

log = structlog.get_logger(__name__)


def observed(observation: Observation) -> Mapping[str, Any] | None:
    """The metrics of an observation whose query has ended, or None where Spark has none.

    Adaptive execution takes a branch that turns out empty out of the plan, and the observation with it. Spark then
    raises an AssertionError of Java (classic) or gives no metrics (Connect).
    """
    try:
        return observation.get or None
    except Exception as error:  # of Java, without a type of its own in Python
        log.debug("no metrics were observed", reason=str(error).partition("\n")[0])
        return None


class Size(NamedTuple):
    """Of records: how many there are, and the bytes of their text."""

    rows: int
    text_bytes: int


def size_columns() -> tuple[Column, Column]:
    """What to observe of records for `size_read`."""
    return F.count("*").alias("rows"), F.sum(F.octet_length("raw")).alias("bytes")


def size_read(read: Iterable[Observation]) -> Size | None:
    """The size of all records that were observed with `size_columns`; None when nothing was observed of some."""
    rows = text_bytes = 0
    for observation in read:
        if (found := observed(observation)) is None:
            return None
        rows, text_bytes = rows + found["rows"], text_bytes + (found["bytes"] or 0)
    return Size(rows, text_bytes)


def records_read(read: Sequence[tuple[DataFrame, Observation]], count: Column, name: str, staged_records: int) -> int:
    """How many records were read, as observed under the `name` of `count`; counted again when not so many were staged,
    or when nothing was observed.

    A task that ran twice is observed twice: what counts is what the files hold.
    """
    metrics = [observed(observation) for _, observation in read]
    if all(metrics) and sum(int(found[name]) for found in metrics if found) == staged_records:
        return staged_records
    return sum(int(records.select(count).collect()[0][name]) for records, _ in read)
