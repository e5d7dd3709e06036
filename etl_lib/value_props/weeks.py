"""Weeks, Monday to Sunday, and the windows of days before them. A week is named by its Monday."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from etl_lib.settings.config import FeatureWindow, TargetWeek

WEEK = timedelta(days=7)


def week_of(day: date) -> date:
    """The Monday on or before a day."""
    return day - timedelta(days=day.weekday())


def sunday_of(week: date) -> date:
    """The last day of a week."""
    return week + timedelta(days=6)


def target_week(reference: date, covered_to: date | None, wanted: TargetWeek) -> date:
    """The week of the reference date; for `last_complete` the latest up to it that is covered to its Sunday."""
    week = week_of(reference)
    if wanted == "latest" or covered_to is None or covered_to >= sunday_of(week):
        return week
    return week_of(covered_to + timedelta(days=1)) - WEEK


def weeks_between(first: date, last: date) -> list[date]:
    """Every week from that of the first day to that of the last."""
    start, end = week_of(first), week_of(last)
    return [start + at * WEEK for at in range((end - start).days // 7 + 1)]


@dataclass(frozen=True)
class Windows:
    """The target weeks of a run, and the days that their prints look back on.

    `calendar` looks back on the `length` whole weeks before the target week, `rolling` on the 7 * `length` days before
    each print's own day.
    """

    weeks: tuple[date, ...]
    kind: FeatureWindow
    length: int

    @property
    def days(self) -> int:
        """How many days a window has."""
        return 7 * self.length

    @property
    def first_day(self) -> date:
        """The first day that any window holds."""
        return self.weeks[0] - timedelta(days=self.days)

    @property
    def last_day(self) -> date:
        """The last day that any window holds."""
        last_looking_back = self.weeks[-1] if self.kind == "calendar" else self.last_target_day
        return last_looking_back - timedelta(days=1)

    @property
    def last_target_day(self) -> date:
        """The Sunday of the last target week."""
        return sunday_of(self.weeks[-1])
