"""Weeks from Monday to Sunday, and the windows of days before them.

2020-11-30 is a Monday, and so are 2020-12-28 and 2024-12-30, whose weeks end in the next year.
"""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from etl_lib.settings.config import FeatureWindow, TargetWeek
from etl_lib.value_props.weeks import Windows, sunday_of, target_week, week_of, weeks_between

DAY = timedelta(days=1)
MONDAY = date(2020, 11, 30)


@pytest.mark.parametrize(
    ("day", "monday", "sunday"),
    [
        pytest.param("2020-11-29", "2020-11-23", "2020-11-29", id="a Sunday ends its week"),
        pytest.param("2020-11-30", "2020-11-30", "2020-12-06", id="a Monday begins it"),
        pytest.param("2020-12-01", "2020-11-30", "2020-12-06", id="another month than its Monday"),
        pytest.param("2020-12-28", "2020-12-28", "2021-01-03", id="the last Monday of a year"),
        pytest.param("2021-01-01", "2020-12-28", "2021-01-03", id="a New Year's Day"),
        pytest.param("2021-01-03", "2020-12-28", "2021-01-03", id="a Sunday in the year after its Monday"),
        pytest.param("2021-01-04", "2021-01-04", "2021-01-10", id="the first Monday of a year"),
        pytest.param("2024-02-29", "2024-02-26", "2024-03-03", id="a leap day"),
        pytest.param("2024-12-30", "2024-12-30", "2025-01-05", id="a week that is mostly in the next year"),
        pytest.param("2025-01-05", "2024-12-30", "2025-01-05", id="the Sunday of that week"),
        pytest.param("1900-01-01", "1900-01-01", "1900-01-07", id="the first day that a record can have"),
        pytest.param("9999-12-26", "9999-12-20", "9999-12-26", id="the last Sunday that there is"),
    ],
)
def test_a_week_goes_from_monday_to_sunday(day: str, monday: str, sunday: str) -> None:
    week = week_of(date.fromisoformat(day))
    assert (week.isoformat(), sunday_of(week).isoformat()) == (monday, sunday)


def test_every_day_of_years_is_in_one_week_of_seven_days() -> None:
    days = [date(2019, 12, 30) + at * DAY for at in range(7 * 320)]
    weeks = [week_of(day) for day in days]
    assert [week.weekday() for week in weeks] == [0] * len(days)
    assert weeks == [days[at - at % 7] for at in range(len(days))]


@pytest.mark.parametrize(
    ("reference", "covered_to", "latest", "last_complete"),
    [
        pytest.param("2020-11-30", "2020-11-30", "2020-11-30", "2020-11-23", id="a Monday"),
        pytest.param("2020-12-05", "2020-12-05", "2020-11-30", "2020-11-23", id="a Saturday"),
        pytest.param("2020-12-06", "2020-12-06", "2020-11-30", "2020-11-30", id="a Sunday"),
        pytest.param("2020-11-30", "2020-12-05", "2020-11-30", "2020-11-23", id="covered to the Saturday"),
        pytest.param("2020-11-30", "2020-12-06", "2020-11-30", "2020-11-30", id="covered to the Sunday"),
        pytest.param("2020-11-30", "2021-03-01", "2020-11-30", "2020-11-30", id="in the past"),
        pytest.param("2020-12-20", "2020-12-05", "2020-12-14", "2020-11-23", id="after data that end on a Saturday"),
        pytest.param("2020-12-20", "2020-12-06", "2020-12-14", "2020-11-30", id="after data that end on a Sunday"),
        pytest.param("2020-12-20", "2020-12-07", "2020-12-14", "2020-11-30", id="after data that end on a Monday"),
        pytest.param("2021-01-02", "2021-01-02", "2020-12-28", "2020-12-21", id="over the end of a year"),
        pytest.param("2020-12-01", None, "2020-11-30", "2020-11-30", id="without data"),
    ],
)
def test_the_target_week_is_that_of_the_reference_date_or_the_last_complete_one(
    reference: str, covered_to: str | None, latest: str, last_complete: str
) -> None:
    covered = None if covered_to is None else date.fromisoformat(covered_to)

    def target(wanted: TargetWeek) -> str:
        return target_week(date.fromisoformat(reference), covered, wanted).isoformat()

    assert (target("latest"), target("last_complete")) == (latest, last_complete)


@pytest.mark.parametrize(
    ("first", "last", "weeks"),
    [
        pytest.param("2020-12-02", "2020-12-02", ["2020-11-30"], id="one day"),
        pytest.param("2020-11-30", "2020-12-06", ["2020-11-30"], id="one week"),
        pytest.param("2020-12-06", "2020-12-07", ["2020-11-30", "2020-12-07"], id="a Sunday and a Monday"),
        pytest.param(
            "2020-12-27", "2021-01-04", ["2020-12-21", "2020-12-28", "2021-01-04"], id="over the end of a year"
        ),
        pytest.param("2020-12-07", "2020-12-06", [], id="backwards"),
        pytest.param("2020-12-06", "2020-11-30", ["2020-11-30"], id="backwards within a week"),
    ],
)
def test_weeks_between_two_days_are_those_of_both_and_all_in_between(first: str, last: str, weeks: list[str]) -> None:
    found = weeks_between(date.fromisoformat(first), date.fromisoformat(last))
    assert [week.isoformat() for week in found] == weeks


@pytest.mark.parametrize(
    ("kind", "length", "days", "first_day", "last_day"),
    [
        pytest.param("calendar", 3, 21, "2020-11-09", "2020-12-06", id="three weeks before"),
        pytest.param("calendar", 1, 7, "2020-11-23", "2020-12-06", id="one week before"),
        pytest.param("calendar", 52, 364, "2019-12-02", "2020-12-06", id="52 weeks before"),
        pytest.param("rolling", 3, 21, "2020-11-09", "2020-12-12", id="21 days before"),
        pytest.param("rolling", 4, 28, "2020-11-02", "2020-12-12", id="28 days before"),
    ],
)
def test_windows_reach_from_the_first_to_the_last_day_that_any_print_looks_back_on(
    kind: FeatureWindow, length: int, days: int, first_day: str, last_day: str
) -> None:
    two = Windows((MONDAY, date(2020, 12, 7)), kind, length)
    assert two.days == days
    assert (two.first_day.isoformat(), two.last_day.isoformat()) == (first_day, last_day)
    assert two.last_target_day == date(2020, 12, 13)


def test_the_windows_of_one_week_begin_and_end_with_it() -> None:
    calendar, rolling = Windows((MONDAY,), "calendar", 3), Windows((MONDAY,), "rolling", 3)
    assert calendar.first_day == rolling.first_day == date(2020, 11, 9)
    assert calendar.last_day == date(2020, 11, 29), "the Sunday before"
    assert rolling.last_day == date(2020, 12, 5), "the Saturday, on which the prints of the Sunday look back"
    assert calendar.last_target_day == rolling.last_target_day == date(2020, 12, 6)
