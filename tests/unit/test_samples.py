"""How many rows a group has, and which of their keys are told."""

from __future__ import annotations

from itertools import combinations

from pyspark.sql import SparkSession

from etl_lib.tables.samples import Sampled, sample
from etl_lib.tables.values_frame import values_frame


def test_two_keys_are_both_told_also_when_they_share_a_bucket(spark: SparkSession) -> None:
    # Of three keys and two buckets, two keys share one.
    for pair in combinations("abc", 2):
        rows = values_frame(spark, [(key, "rule") for key in pair], "key STRING, rule STRING")
        assert sample(rows, ["rule"], 2) == {("rule",): Sampled(2, list(pair))}


def test_no_more_keys_are_told_than_are_asked_for(spark: SparkSession) -> None:
    keys = [f"k{n:02}" for n in range(30)]
    rows = values_frame(spark, [(key, "rule") for key in keys], "key STRING, rule STRING")
    for samples in (1, 3):
        found = sample(rows, ["rule"], samples)["rule",]
        assert found.rows == len(keys)
        assert len(found.keys) == samples
        assert found.keys[0] == "k00"
        assert set(found.keys) <= set(keys)


def test_a_key_of_several_rows_is_told_once_and_each_group_has_its_own(spark: SparkSession) -> None:
    values = [("a", "orders", "no_key"), ("a", "orders", "no_key"), ("b", "users", "no_key"), ("a", "orders", "amount")]
    rows = values_frame(spark, values, "key STRING, dataset STRING, rule STRING")
    assert sample(rows, ["dataset", "rule"], 5) == {
        ("orders", "no_key"): Sampled(2, ["a"]),
        ("users", "no_key"): Sampled(1, ["b"]),
        ("orders", "amount"): Sampled(1, ["a"]),
    }
