"""Which keys are told of the many that share something: few, the same ones each time, and not gathered in one task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F


@dataclass(frozen=True)
class Sampled:
    """How many rows a group has, and some of their keys in order."""

    rows: int
    keys: list[str]


def sample(rows: DataFrame, by: Sequence[str], samples: int) -> dict[tuple[str, ...], Sampled]:
    """Count `rows` by the columns `by` (texts) and take up to `samples` of each group's keys, its `key`. One query."""
    return sampled(in_buckets(rows, by, samples).collect(), by, samples)


def in_buckets(rows: DataFrame, by: Sequence[str], samples: int) -> DataFrame:
    """What `sampled` needs of the `rows`: by, `rows`, `ends`; a row for each group and bucket.

    The keys are the least among the ends of so many buckets: no task holds more than two keys of a bucket, and two keys
    are both told although they share one (if so many are asked for).
    """
    bucket = F.pmod(F.xxhash64("key"), F.lit(samples)).alias("bucket")
    ends = F.array(F.min("key"), F.max("key")).alias("ends")
    return rows.groupBy(*by, bucket).agg(F.count("*").alias("rows"), ends).drop("bucket")


def sampled(buckets: Iterable[Row], by: Sequence[str], samples: int) -> dict[tuple[str, ...], Sampled]:
    """How many rows each group has, and up to so many of its keys."""
    counts: Counter[tuple[str, ...]] = Counter()
    keys: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in buckets:
        group = tuple(row[name] for name in by)
        counts[group] += row["rows"]
        keys[group].update(row["ends"])
    return {group: Sampled(n, sorted(keys[group])[:samples]) for group, n in counts.items()}
