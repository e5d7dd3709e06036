"""What is expected of the weeks of prints: covered to their Sunday, not empty, not thin; and of ids: written alike.

The target week is that of 2020-11-30; with a window of three weeks those from 2020-11-09 on are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, cast

import pytest

from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.ids_alike import UnlikeIds
from etl_lib.deciding.results import id_results
from etl_lib.tables.ledger import RuleResult
from etl_lib.value_props.expectations import WEEK_RULES, is_complete, week_results
from etl_lib.value_props.weeks import Windows

if TYPE_CHECKING:
    from etl_lib.deciding.stage import Stage

TARGET = date(2020, 11, 30)
BEFORE = [date(2020, 11, day) for day in (9, 16, 23)]
THREE = Windows((TARGET,), "calendar", 3)
COMPLETE, HAS_PRINTS, NOT_THIN = "target_week_complete", "week_has_prints", "week_not_thin"


def daily(prints: Mapping[date, int]) -> dict[date, int]:
    """So many prints on each of the seven days of a week."""
    return {week + timedelta(days=at): n for week, n in prints.items() for at in range(7)}


def broken(prints: Mapping[date, int], windows: Windows = THREE, min_share: float = 0.5) -> dict[str, list[str]]:
    """The weeks that broke a rule, by rule."""
    results = week_results(prints, windows, min_share)
    assert [result.rule for result in results] == list(WEEK_RULES)
    return {result.rule: list(result.samples) for result in results if result.failed}


EVEN = daily(dict.fromkeys([date(2020, 11, 2), *BEFORE, TARGET], 10))


def test_each_rule_has_a_result_also_when_nothing_broke_it() -> None:
    assert week_results(EVEN, THREE, 0.5) == [
        RuleResult("prints", COMPLETE, "warn", 1, 0, []),
        RuleResult("prints", HAS_PRINTS, "warn", 4, 0, []),
        RuleResult("prints", NOT_THIN, "warn", 4, 0, []),
    ]


def test_a_result_counts_the_weeks_that_broke_its_rule_and_names_them() -> None:
    two = Windows((date(2020, 12, 7), date(2020, 12, 14)), "rolling", 1)
    assert week_results({date(2020, 12, 7): 1}, two, 0.5) == [
        RuleResult("prints", COMPLETE, "warn", 2, 2, ["2020-12-07", "2020-12-14"]),
        RuleResult("prints", HAS_PRINTS, "warn", 3, 2, ["2020-11-30", "2020-12-14"]),
        RuleResult("prints", NOT_THIN, "warn", 3, 0, []),
    ]


@pytest.mark.parametrize(
    ("last_day", "complete"),
    [
        pytest.param(date(2020, 12, 5), False, id="Saturday"),
        pytest.param(date(2020, 12, 6), True, id="Sunday"),
        pytest.param(date(2020, 12, 7), True, id="the Monday after"),
        pytest.param(date(2020, 11, 29), False, id="the Sunday before"),
        pytest.param(None, False, id="no print at all"),
    ],
)
def test_a_week_is_complete_when_the_prints_reach_its_sunday(last_day: date | None, complete: bool) -> None:
    assert is_complete(TARGET, last_day) is complete
    prints = {} if last_day is None else {last_day: 1}
    assert (COMPLETE not in broken(prints)) is complete


def test_a_week_in_the_past_is_complete_and_later_prints_are_not_looked_at() -> None:
    later = EVEN | daily({date(2020, 12, 7): 1})
    assert broken(later) == {}


def test_weeks_without_prints_are_told_wherever_they_stand() -> None:
    assert broken({}) == {
        COMPLETE: ["2020-11-30"],
        HAS_PRINTS: ["2020-11-09", "2020-11-16", "2020-11-23", "2020-11-30"],
    }
    gap = daily({BEFORE[0]: 10, BEFORE[2]: 10, TARGET: 10})
    assert broken(gap) == {HAS_PRINTS: ["2020-11-16"], NOT_THIN: ["2020-11-16"]}


def test_one_print_on_any_day_of_a_week_is_enough() -> None:
    for at in range(7):
        prints = daily(dict.fromkeys([BEFORE[0], BEFORE[1], TARGET], 10)) | {BEFORE[2] + timedelta(days=at): 1}
        assert broken(prints, min_share=0) == {}


@pytest.mark.parametrize(
    ("prints", "min_share", "thin"),
    [
        pytest.param({TARGET: 5}, 0.5, [], id="exactly the share"),
        pytest.param({TARGET: 4}, 0.5, ["2020-11-30"], id="just below it"),
        pytest.param({TARGET: 9}, 1.0, ["2020-11-30"], id="any loss"),
        pytest.param({TARGET: 1}, 0.0, [], id="never"),
        pytest.param({BEFORE[0]: 1}, 0.5, ["2020-11-09"], id="compared with the week before the window"),
        pytest.param({TARGET: 100}, 0.5, [], id="far more is not thin"),
        pytest.param({BEFORE[1]: 4, BEFORE[2]: 1, TARGET: 1}, 0.5, ["2020-11-16", "2020-11-23"], id="several"),
    ],
)
def test_a_week_is_thin_with_less_than_a_share_of_the_week_before(
    prints: Mapping[date, int], min_share: float, thin: list[str]
) -> None:
    assert broken(EVEN | daily(prints), min_share=min_share).get(NOT_THIN, []) == thin


def test_the_first_week_of_all_has_nothing_to_be_thin_beside() -> None:
    assert broken(daily(dict.fromkeys([*BEFORE, TARGET], 1))) == {}


def test_a_week_that_has_just_begun_is_compared_with_the_same_days_of_the_week_before() -> None:
    before = daily(dict.fromkeys(BEFORE, 10))
    two_days = {TARGET: 5, TARGET + timedelta(days=1): 5}
    assert broken(before | two_days) == {COMPLETE: ["2020-11-30"]}
    assert broken(before | two_days | {TARGET: 4}) == {COMPLETE: ["2020-11-30"], NOT_THIN: ["2020-11-30"]}


def test_a_week_after_all_data_is_empty_and_incomplete_but_not_thin() -> None:
    prints = daily(dict.fromkeys([date(2020, 11, 2), *BEFORE], 10))
    assert broken(prints) == {COMPLETE: ["2020-11-30"], HAS_PRINTS: ["2020-11-30"]}


def test_weeks_are_those_of_monday_to_sunday_also_over_the_end_of_a_year() -> None:
    year_end = Windows((date(2020, 12, 28),), "calendar", 1)
    prints = {date(2020, 12, 20): 10, date(2020, 12, 21): 1, date(2020, 12, 27): 9, date(2021, 1, 3): 4}
    assert broken(prints, year_end) == {NOT_THIN: ["2020-12-28"]}
    assert broken(prints | {date(2021, 1, 4): 100}, year_end) == {NOT_THIN: ["2020-12-28"]}


def test_the_ids_of_every_dataset_with_input_have_a_result_also_when_they_are_alike() -> None:
    users, products = DatasetCounts(), DatasetCounts()
    users.ids["user_id"].add(40, 12)
    products.ids["sku"].add(7, 0)
    batch = Batch(
        cast("Stage", None),
        {"users": users, "products": products},
        unlike_ids=[UnlikeIds("users", "user_id", users.ids["user_id"], ["orders"], ["1.0", "2.0"])],
    )
    assert id_results(batch) == [
        RuleResult("users", "user_ids_alike", "warn", 40, 12, ["1.0", "2.0"]),
        RuleResult("products", "skus_alike", "warn", 7, 0, []),
    ]


def test_ids_with_point_zero_broke_no_rule_when_those_of_all_are_like_that() -> None:
    counts = {name: DatasetCounts() for name in ("prints", "taps", "pays")}
    counts["pays"].ids["user_id"].add(40, 12)
    assert id_results(Batch(cast("Stage", None), counts)) == [
        RuleResult("prints", "user_ids_alike", "warn", 0, 0, []),
        RuleResult("taps", "user_ids_alike", "warn", 0, 0, []),
        RuleResult("pays", "user_ids_alike", "warn", 40, 0, []),
    ]
