"""What is expected of the weeks of prints.

What disappoints is a warning, with its history in dq_results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from etl_lib.tables.ledger import RuleResult
from etl_lib.value_props.weeks import WEEK, Windows, sunday_of, weeks_between

WEEK_RULES = {
    "target_week_complete": "the prints do not cover the target week to its Sunday",
    "week_has_prints": "the week has no prints",
    "week_not_thin": "the week has far fewer prints than the one before (min_week_share)",
}


def week_results(prints: Mapping[date, int], windows: Windows, min_share: float) -> list[RuleResult]:
    """The rules about weeks, for each week from the first of the windows to the last target week.

    `prints` are the valid ones by day. A week that is not covered to its Sunday is compared with the same days of the
    week before. Samples are the weeks that broke a rule.
    """
    covered_to = max(prints, default=None)
    looked_at = weeks_between(windows.first_day, windows.weeks[-1])

    def records(first: date, last: date) -> int:
        return sum(n for day, n in prints.items() if first <= day <= last)

    def is_thin(week: date) -> bool:
        last = sunday_of(week) if covered_to is None else min(sunday_of(week), covered_to)
        return records(week, last) < min_share * records(week - WEEK, last - WEEK)

    disappointing = {
        "target_week_complete": [week for week in windows.weeks if not is_complete(week, covered_to)],
        "week_has_prints": [week for week in looked_at if not records(week, sunday_of(week))],
        "week_not_thin": [week for week in looked_at if is_thin(week)],
    }
    checked = {"target_week_complete": len(windows.weeks)}
    return [
        RuleResult(
            "prints", rule, "warn", checked.get(rule, len(looked_at)), len(weeks), [week.isoformat() for week in weeks]
        )
        for rule, weeks in disappointing.items()
    ]


def is_complete(week: date, covered_to: date | None) -> bool:
    """Whether the data covers a week to its Sunday."""
    return covered_to is not None and covered_to >= week + timedelta(days=6)


def warnings(results: Sequence[RuleResult]) -> list[str]:
    """The rules about weeks that are broken, each as a sentence."""
    return [f"{WEEK_RULES[result.rule]}: {', '.join(result.samples)}" for result in results if result.failed]
