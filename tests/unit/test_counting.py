"""Counts taken while records are read, also where Spark takes their branch out of the plan; and samples of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from itertools import combinations
from types import SimpleNamespace
from typing import cast

import pyspark
import pytest
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from etl_lib.tables.counting import (
    LEFT_OUT,
    Sampled,
    Size,
    every_branch_observed,
    observed,
    records_read,
    sample,
    size_columns,
    size_read,
)
from etl_lib.tables.values_frame import values_frame
from tests.frames import frame

NOTHING = cast("Observation", SimpleNamespace(get={}))
"""What Spark Connect has of an observation that was taken out of the plan."""


def counted() -> Column:
    """How many rows there are."""
    return F.count("*").alias("records")


@contextmanager
def adaptive(spark: SparkSession) -> Iterator[None]:
    """With adaptive execution, as over data that is not little."""
    name = "spark.sql.adaptive.enabled"
    before = spark.conf.get(name)
    spark.conf.set(name, "true")
    try:
        yield
    finally:
        spark.conf.set(name, str(before))


@pytest.fixture
def adaptive_execution(spark: SparkSession) -> Iterator[None]:
    with adaptive(spark):
        yield


def ids(spark: SparkSession, below: int) -> DataFrame:
    """So many rows, or none, which Spark knows only after it has read them, and which it must shuffle to group."""
    return spark.range(9).select((8 - F.col("id")).alias("id")).where(F.col("id") < below)


def run_in_union(records: DataFrame) -> None:
    """Run a query that shuffles records and puts two other rows beside them."""
    others = records.sparkSession.range(2).groupBy("id").count()
    assert len(records.groupBy("id").count().union(others).collect()) >= 2


def run_in_join(records: DataFrame) -> None:
    """Run a query that shuffles records and joins them."""
    others = records.sparkSession.range(9).hint("merge")
    others.join(records.groupBy("id").count(), "id", "left").collect()


def observed_alone(records: DataFrame) -> Observation:
    """The observation of a query over nothing else."""
    observation = Observation()
    records.observe(observation, counted()).collect()
    return observation


IN_UNION_AND_JOIN = pytest.mark.parametrize("run", [run_in_union, run_in_join], ids=["union", "join"])


@pytest.mark.usefixtures("adaptive_execution")
@IN_UNION_AND_JOIN
def test_of_a_branch_without_rows_it_is_told_that_it_has_none(
    spark: SparkSession, run: Callable[[DataFrame], None]
) -> None:
    """On Spark 4.0 the answer would never come."""
    others = "org.apache.spark.sql.execution.adaptive.OptimizeOneRowPlan"
    spark.conf.set(LEFT_OUT, others)
    try:
        observation = Observation("empty")
        with every_branch_observed(spark):
            run(ids(spark, 0).observe(observation, counted()))
            assert spark.conf.get(LEFT_OUT, "").startswith(f"{others},")
        assert observed(observation) == {"records": 0}
        assert spark.conf.get(LEFT_OUT) == others
    finally:
        spark.conf.unset(LEFT_OUT)


@pytest.mark.classic
@pytest.mark.skipif(pyspark.__version__.startswith("4.0."), reason="Spark 4.0 waits for ever where others fail")
@pytest.mark.usefixtures("adaptive_execution")
@IN_UNION_AND_JOIN
def test_what_is_taken_out_of_the_plan_has_no_metrics_and_is_counted_again(
    spark: SparkSession, run: Callable[[DataFrame], None]
) -> None:
    records, observation = ids(spark, 0), Observation("dropped")
    run(records.observe(observation, counted()))
    with pytest.raises(Exception, match="assertion failed"):  # of Java
        _ = observation.get
    assert observed(observation) is None
    assert records_read(records, observation, counted(), 0) == 0


@pytest.mark.usefixtures("adaptive_execution")
def test_a_branch_with_rows_keeps_its_metrics(spark: SparkSession) -> None:
    observation = Observation("kept")
    run_in_union(ids(spark, 3).observe(observation, counted()))
    assert observed(observation) == {"records": 3}


def test_no_metrics_at_all_as_spark_connect_gives_them_are_no_count(spark: SparkSession) -> None:
    assert observed(NOTHING) is None
    assert records_read(ids(spark, 3), NOTHING, counted(), 0) == 3


@pytest.mark.parametrize("seen", [pytest.param(2, id="a task ran twice"), pytest.param(0, id="a task was not seen")])
def test_metrics_that_differ_from_what_was_staged_give_way_to_the_files(spark: SparkSession, seen: int) -> None:
    records = ids(spark, 3)
    tasks = reduce(DataFrame.union, [records] * seen, ids(spark, 0))
    assert records_read(records, observed_alone(tasks), counted(), 3) == 3


@pytest.mark.parametrize("staged", [5, 4])
def test_records_that_were_lost_on_the_way_to_the_stage_are_still_read(spark: SparkSession, staged: int) -> None:
    records = ids(spark, 5)
    assert records_read(records, observed_alone(records), counted(), staged) == 5


def test_metrics_that_equal_what_was_staged_need_no_query(spark: SparkSession) -> None:
    once = spark.range(1).select(F.raise_error(F.lit("read a second time")).alias("id"))
    count = F.count("id").alias("records")
    assert records_read(once, observed_alone(ids(spark, 3)), count, 3) == 3
    with pytest.raises(Exception, match="read a second time"):
        records_read(once, observed_alone(ids(spark, 3)), count, 4)


def test_the_size_is_that_of_all_records_and_known_when_all_were_observed(spark: SparkSession) -> None:
    texts = (["a" * 4, "b"], ["\u00fc", "", None], [None], [])
    read = [Observation() for _ in texts]
    for some, observation in zip(texts, read, strict=True):
        frame(spark, "raw STRING", *((text,) for text in some)).observe(observation, *size_columns()).collect()
    assert size_read(read) == Size(rows=6, text_bytes=7)
    assert size_read([*read, NOTHING]) is None


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
