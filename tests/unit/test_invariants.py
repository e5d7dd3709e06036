"""How many rows break an invariant, and which of their keys are told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from pyspark.sql import SparkSession

from etl_lib.invariants import Invariant, Subject, Violations, find_violations
from etl_lib.local_rows import local_rows
from etl_lib.warehouse import Warehouse


def violations(spark: SparkSession, keys: Sequence[str], samples: int) -> dict[str, Violations]:
    """What is found in a subject whose every row breaks its only invariant."""
    rows = local_rows(spark, [(key,) for key in keys], "id STRING")
    subject = Subject((), lambda _: rows, ("id",), (Invariant("is_broken", "never holds", "false"),))
    return find_violations(Warehouse(spark, "/nowhere"), [subject], samples)


def test_two_keys_are_both_told_also_when_they_share_a_bucket(spark: SparkSession) -> None:
    # Of three keys and two buckets, two keys share one.
    for pair in combinations("abc", 2):
        assert violations(spark, pair, samples=2) == {"is_broken": Violations(2, list(pair))}


def test_no_more_keys_are_told_than_are_asked_for(spark: SparkSession) -> None:
    keys = [f"k{n:02}" for n in range(30)]
    for samples in (1, 3):
        found = violations(spark, keys, samples)["is_broken"]
        assert found.rows == len(keys)
        assert len(found.samples) == samples
        assert found.samples[0] == "k00"
        assert set(found.samples) <= set(keys)
