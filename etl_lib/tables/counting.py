"""Counts that Spark takes: of records while a query reads them, and of rows by group with a sample of their keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from pyspark.sql import Column, DataFrame, Observation, Row, SparkSession
from pyspark.sql import functions as F

from etl_lib.process.session import setting, temporary_settings

log = structlog.get_logger(__name__)

LEFT_OUT = "spark.sql.adaptive.optimizer.excludedRules"
TAKES_OUT_BRANCHES = "org.apache.spark.sql.execution.adaptive.AQEPropagateEmptyRelation"


@contextmanager
def every_branch_observed(spark: SparkSession) -> Iterator[None]:
    """Let queries in the block run their branches without rows, too, so that Spark tells what it observed of them.

    Adaptive execution takes such a branch out of the plan otherwise, and Spark 4.0 then waits for ever for what was
    observed of it.
    """
    others = [rule for rule in (setting(spark, LEFT_OUT) or "").split(",") if rule]
    with temporary_settings(spark, {LEFT_OUT: ",".join([*others, TAKES_OUT_BRANCHES])}):
        yield


def observed(observation: Observation) -> Mapping[str, Any] | None:
    """The metrics of an observation whose query has ended, or None where Spark has none.

    Where a platform takes a branch that turns out empty out of the plan all the same, and the observation with it, an
    AssertionError of Java is raised (classic) or there are no metrics (Connect).
    """
    try:
        return observation.get or None
    except Exception as error:  # of Java, without a type of its own in Python
        log.debug("no metrics were observed", reason=str(error).partition("\n")[0])
        return None


class Size(NamedTuple):
    """How many records there are, and the bytes of their text."""

    rows: int
    text_bytes: int


def size_columns() -> tuple[Column, Column]:
    """What to observe of records for `size_read`."""
    return F.count("*").alias("rows"), F.sum(F.octet_length("raw")).alias("bytes")


def size_read(observations: Iterable[Observation]) -> Size | None:
    """The size of all records that were observed with `size_columns`; None when nothing was observed of some."""
    metrics = [observed(observation) for observation in observations]
    known = [one for one in metrics if one is not None]
    if len(known) < len(metrics):
        return None
    return Size(sum(one["rows"] for one in known), sum(one["bytes"] or 0 for one in known))


def records_read(records: DataFrame, observation: Observation, count: Column, staged_records: int) -> int:
    """How many records were read, as observed under the name `records` of `count`.

    A task that ran twice is observed twice: when the observed number is not `staged_records`, or nothing was observed,
    the records of the files are counted again.
    """
    metrics = observed(observation)
    if metrics is not None and metrics["records"] == staged_records:
        return staged_records
    return int(records.select(count).collect()[0]["records"])


@dataclass(frozen=True)
class Sampled:
    """How many rows a group has, and some of their keys in order."""

    rows: int
    keys: list[str]


def sample(rows: DataFrame, by: Sequence[str], samples: int) -> dict[tuple[str, ...], Sampled]:
    """Count `rows` by the columns `by` (texts) and sample up to `samples` keys (column `key`) a group, in one query.

    The sample is bounded, the same each time, and takes no task that sorts all keys.
    """
    return sampled(in_buckets(rows, by, samples).collect(), by, samples)


def in_buckets(rows: DataFrame, by: Sequence[str], samples: int) -> DataFrame:
    """What `sampled` needs of the `rows`: the columns `by`, `rows` and `ends`; one row a group and bucket of keys.

    Each bucket keeps its least and its greatest key: a task holds few, and two keys of one bucket are both sampled.
    """
    bucket = F.pmod(F.xxhash64("key"), F.lit(samples)).alias("bucket")
    ends = F.array(F.min("key"), F.max("key")).alias("ends")
    return rows.groupBy(*by, bucket).agg(F.count("*").alias("rows"), ends).drop("bucket")


def sampled(buckets: Iterable[Row], by: Sequence[str], samples: int) -> dict[tuple[str, ...], Sampled]:
    """How many rows each group has, and up to `samples` of its keys, from the rows of `in_buckets`."""
    counts: Counter[tuple[str, ...]] = Counter()
    keys: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in buckets:
        group = tuple(row[name] for name in by)
        counts[group] += row["rows"]
        keys[group].update(row["ends"])
    return {group: Sampled(n, sorted(keys[group])[:samples]) for group, n in counts.items()}
