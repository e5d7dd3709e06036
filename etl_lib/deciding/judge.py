"""Judging: every rule on every record, once, into one list of names; and the first outcomes that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.reading.texts import is_blank
from etl_lib.settings.arguments import EVERYTHING, Window
from etl_lib.settings.rules import Rule

_BETWEEN = "\x00"
"""Between the names of rules; no name has it."""


def holds_all(rules: Mapping[str, Rule]) -> Column:
    """Whether a record breaks no rule at all."""
    return reduce(and_, (F.coalesce(F.expr(rule.check), F.lit(False)) for rule in rules.values()), F.lit(True))


def judge(parsed: DataFrame, rules: Mapping[str, Rule], window: Window = EVERYTHING) -> DataFrame:
    """Add `broken_rules ARRAY<STRING>` and `outcome`: `blank`, `rejected`, `out_of_window`, or NULL while in contest.

    A record that could not be parsed breaks just the one structural rule that says why. The split is total: a rule
    that evaluates to NULL is broken.
    """
    named = [F.when(~F.coalesce(F.expr(rule.check), F.lit(False)), F.lit(name)) for name, rule in rules.items()]
    refusing = F.array(*(F.lit(name) for name, rule in rules.items() if rule.severity != "warn"))
    could_not_parse = F.col("parse_error").isNotNull()
    blank = F.col("read_error").isNull() & is_blank(F.col("raw"))
    # Whatever the rules say, a record without a key or a version cannot take part.
    incomplete = F.col("key").isNull() | F.col("version_at").isNull()
    # Joined and split, as Spark compiles these; it would interpret all rules to compact an array of them.
    broken_names = F.concat_ws(_BETWEEN, *named)
    no_names = F.array().cast("array<string>")
    judged = parsed.withColumn(
        "broken_rules", F.when(broken_names == "", no_names).otherwise(F.split(broken_names, _BETWEEN))
    )
    refused = F.arrays_overlap("broken_rules", refusing)
    broken = (
        F.when(blank, None)
        .when(could_not_parse, F.array("parse_error"))
        .when(incomplete & ~refused, F.array_append("broken_rules", "no_key"))
        .otherwise(F.col("broken_rules"))
    )
    outcome = (
        F.when(blank, "blank")
        .when(could_not_parse | refused | incomplete, "rejected")
        .when(~is_within(window, F.col("version_at")), "out_of_window")
    )
    # What could not be parsed has no key to compete or to be shown with.
    key = F.when(~could_not_parse, F.col("key"))
    return judged.withColumns({"broken_rules": broken, "outcome": outcome, "key": key})


def is_within(window: Window, version_at: Column) -> Column:
    """Whether a time lies in a window."""
    inside = F.lit(True)
    if window.since is not None:
        inside = inside & (version_at >= F.lit(window.since).cast("timestamp"))
    if window.until is not None:
        inside = inside & (version_at < F.lit(window.until).cast("timestamp"))
    return inside
