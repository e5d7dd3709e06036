"""Judging: every rule on every record, once, into one list of names; and the first outcomes that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, NullType

from etl_lib.deciding.outcomes import BLANK, HEADER
from etl_lib.process.errors import ConfigError
from etl_lib.reading.datasets import DATASETS
from etl_lib.reading.texts import is_blank
from etl_lib.settings.arguments import EVERYTHING, Window
from etl_lib.settings.rules import Rule, RuleBook


def holds_all(rules: Mapping[str, Rule]) -> Column:
    """Whether a record breaks no rule at all."""
    return reduce(and_, (F.coalesce(F.expr(rule.check), F.lit(False)) for rule in rules.values()), F.lit(True))


def check_rules(spark: SparkSession, rules: RuleBook, datasets: Iterable[str]) -> None:
    """Ask every rule of the datasets of no record; ConfigError names each that cannot be asked, by its dotted path."""
    problems = []
    for dataset in datasets:
        nothing, asked = spark.createDataFrame([], DATASETS[dataset].parsed), rules.of(dataset)
        if _why_not(nothing, [rule.check for rule in asked.values()]) is not None:
            reasons = {name: _why_not(nothing, [rule.check]) for name, rule in asked.items()}
            problems += [f"{dataset}.{name}.check: {reason}" for name, reason in reasons.items() if reason is not None]
    if problems:
        raise ConfigError("rules that cannot be asked:\n  " + "\n  ".join(problems))


def _why_not(records: DataFrame, checks: Sequence[str]) -> str | None:
    """Why Spark cannot ask these checks of records; None when it can."""
    try:
        kinds = records.select("*", *(F.expr(check).alias(f"check_{at}") for at, check in enumerate(checks))).schema
    except PySparkException as error:  # of the syntax, or of a column or function that there is not
        return str(error).partition("\n")[0]
    others = {field.dataType for field in kinds if field.name.startswith("check_")} - {BooleanType(), NullType()}
    return f"it is {', '.join(each.simpleString() for each in others)}, and not true or false" if others else None


def judge(parsed: DataFrame, rules: Mapping[str, Rule], window: Window = EVERYTHING) -> DataFrame:
    """Add `broken_rules ARRAY<STRING>` and `outcome`: `header`, `blank`, `rejected`, `out_of_window`, or NULL while in
    contest.

    A record that could not be parsed breaks just the one structural rule that says why. The split is total: a rule
    that evaluates to NULL is broken. A line that is a header has `is_header`, where the format has such lines.
    """
    is_parsed = F.col("parse_error").isNull()
    # Whatever the rules say, a record without a key or a version cannot take part.
    is_complete = F.col("key").isNotNull() & F.col("version_at").isNotNull()
    no_record = kind_of_no_record(parsed)
    # Nearly all records are good, and of these nothing else is asked: Spark interprets what names the broken rules.
    is_good = is_parsed & is_complete & holds_all(rules) & no_record.isNull()
    named = [F.when(~F.coalesce(F.expr(rule.check), F.lit(False)), F.lit(name)) for name, rule in rules.items()]
    names = F.array_compact(F.array(*named).cast("array<string>"))
    no_names = F.array().cast("array<string>")
    judged = parsed.withColumn("is_good", is_good).withColumn(
        "broken_rules", F.when(F.col("is_good"), no_names).otherwise(names)
    )
    refusing = F.array(*(F.lit(name) for name, rule in rules.items() if rule.is_refusing))
    refused = F.arrays_overlap("broken_rules", refusing)
    broken = (
        F.when(F.col("is_good"), F.col("broken_rules"))
        .when(no_record.isNotNull(), None)
        .when(~is_parsed, F.array("parse_error"))
        .when(~is_complete & ~refused, F.array_append("broken_rules", "no_key"))
        .otherwise(F.col("broken_rules"))
    )
    outcome = (
        F.when(~F.col("is_good") & no_record.isNotNull(), no_record)
        .when(~F.col("is_good") & (~is_parsed | refused | ~is_complete), "rejected")
        .when(~is_within(window, F.col("version_at")), "out_of_window")
    )
    # What could not be parsed has no key to compete or to be shown with.
    key = F.when(is_parsed, F.col("key"))
    return judged.withColumns({"broken_rules": broken, "outcome": outcome, "key": key}).drop("is_good", "is_header")


def kind_of_no_record(lines: DataFrame) -> Column:
    """What a line is that is no record, `header` or `blank`; NULL for a record."""
    is_header = F.col("is_header") if "is_header" in lines.columns else F.lit(False)
    is_blank_line = F.col("read_error").isNull() & is_blank(F.col("raw"))
    return F.when(is_header, HEADER).when(is_blank_line, BLANK)


def is_within(window: Window, version_at: Column) -> Column:
    """Whether a time lies in a window."""
    inside = F.lit(True)
    if window.since is not None:
        inside = inside & (version_at >= F.lit(window.since).cast("timestamp"))
    if window.until is not None:
        inside = inside & (version_at < F.lit(window.until).cast("timestamp"))
    return inside
