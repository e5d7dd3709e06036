"""Judging: every rule on every record, once, into one list of names; and the first outcomes that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.settings.rules import Rule
from etl_lib.sources.landing import is_blank


@dataclass(frozen=True)
class Window:
    """`since <= version_at < until`, each an ISO 8601 time or None for no bound."""

    since: str | None = None
    until: str | None = None

    def holds(self, version_at: Column) -> Column:
        """Whether a time lies in the window."""
        inside = F.lit(True)
        if self.since is not None:
            inside = inside & (version_at >= F.lit(self.since).cast("timestamp"))
        if self.until is not None:
            inside = inside & (version_at < F.lit(self.until).cast("timestamp"))
        return inside


EVERYTHING = Window()

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
        .when(~window.holds(F.col("version_at")), "out_of_window")
    )
    # What could not be parsed has no key to compete or to be shown with.
    key = F.when(~could_not_parse, F.col("key"))
    return judged.withColumns({"broken_rules": broken, "outcome": outcome, "key": key})
