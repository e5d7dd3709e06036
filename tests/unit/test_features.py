"""The features of prints: each definition on events small enough to check by eye.

The target week is that of 2020-11-30, a Monday; its calendar window of three weeks is 2020-11-09 to 2020-11-29.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from etl_lib.settings.config import FeatureWindow
from etl_lib.tables.schemas import VALUE_PROP_FEATURES
from etl_lib.value_props.features import features
from etl_lib.value_props.weeks import WEEK, Windows, week_of
from tests.frames import assert_same, frame

EVENTS = "dataset STRING, day DATE, user_id STRING, value_prop STRING, position INT, amount DECIMAL(18,4)"
FEATURES = VALUE_PROP_FEATURES.columns.replace(" NOT NULL", "")
SUMS = "day DATE, user_id STRING, views_3w BIGINT, clicks_3w BIGINT, payments_3w BIGINT, amount_3w DECIMAL(38,4)"
CLICKS = "user_id STRING, position INT, clicked INT"
MONDAY = date(2020, 11, 30)
KINDS: tuple[FeatureWindow, ...] = ("calendar", "rolling")

Event = tuple[str, date, str, str, int | None, Decimal | None]


def seen(day: str, user: str = "u", prop: str = "point", position: int | None = 1) -> Event:
    return "prints", date.fromisoformat(day), user, prop, position, None


def tap(day: str, user: str = "u", prop: str = "point", position: int | None = 1) -> Event:
    return "taps", date.fromisoformat(day), user, prop, position, None


def pay(day: str, total: str = "1", user: str = "u", prop: str = "point") -> Event:
    return "pays", date.fromisoformat(day), user, prop, None, Decimal(total)


def windows(kind: FeatureWindow = "calendar", length: int = 3, weeks: Sequence[date] = (MONDAY,)) -> Windows:
    return Windows(tuple(weeks), kind, length)


def one_part(spark: SparkSession, columns: str, *rows: Sequence[Any]) -> DataFrame:
    """A literal frame of one partition, which Spark need not shuffle."""
    return frame(spark, columns, *rows).coalesce(1)


def compute(spark: SparkSession, events: Sequence[Event], over: Windows | None = None) -> DataFrame:
    """The features of these events, computed once however often they are looked at, and without shuffles."""
    found = features(one_part(spark, EVENTS, *events), over or windows())
    return spark.createDataFrame(found.toArrow(), found.schema).coalesce(1)


def assert_sums(actual: DataFrame, *rows: tuple[str, str, int, int, int, str]) -> None:
    """Rows of day, user, views, clicks, payments and amount."""
    expected = ((date.fromisoformat(day), *counts, Decimal(amount)) for day, *counts, amount in rows)
    names = ("day", "user_id", "views_3w", "clicks_3w", "payments_3w", "amount_3w")
    assert_same(actual.select(*names), one_part(actual.sparkSession, SUMS, *expected))


def test_a_row_has_the_columns_of_the_table(spark: SparkSession) -> None:
    found = features(
        frame(
            spark,
            EVENTS,
            *(seen("2020-12-01"), tap("2020-12-01")),
            *(seen("2020-11-20"), tap("2020-11-20"), pay("2020-11-20", "7.04")),
            seen("2020-11-30", "nobody knew", position=None),
        ),
        windows("rolling", 2),
    )
    past, nothing = (1, 1, 1, Decimal("7.04")), (0, 0, 0, Decimal(0))
    expected = one_part(
        spark,
        FEATURES,
        (MONDAY, date(2020, 12, 1), "u", 1, "point", 1, *past, "rolling", 2),
        (MONDAY, MONDAY, "nobody knew", None, "point", 0, *nothing, "rolling", 2),
    )
    assert_same(found, expected)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="no events"),
        pytest.param(
            [seen("2020-11-29"), seen("2020-12-07"), tap("2020-12-01"), pay("2020-11-20"), pay("2020-12-01")],
            id="no prints in the week",
        ),
    ],
)
def test_without_prints_there_are_no_rows(spark: SparkSession, events: list[Event]) -> None:
    assert compute(spark, events).collect() == []


# --- weeks and windows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "inside", "after"),
    [
        pytest.param(
            "2020-12-27", ["2020-12-28", "2020-12-31", "2021-01-01", "2021-01-03"], "2021-01-04", id="2020 ends"
        ),
        pytest.param("2024-12-29", ["2024-12-30", "2025-01-01", "2025-01-05"], "2025-01-06", id="2024 ends"),
    ],
)
def test_rows_are_the_prints_from_the_monday_to_the_sunday(
    spark: SparkSession, before: str, inside: list[str], after: str
) -> None:
    monday = date.fromisoformat(inside[0])
    events = [event(day) for day in (before, *inside, after) for event in (seen, tap, pay)]
    actual = compute(spark, events, windows(weeks=[monday]))
    # the Sunday before is in the window, the days of the week itself are not
    rows = ((monday, date.fromisoformat(day), 1, 1, 1, 1, Decimal(1)) for day in inside)
    columns = "week DATE, day DATE, clicked INT, views_3w BIGINT, clicks_3w BIGINT, payments_3w BIGINT"
    expected = one_part(spark, f"{columns}, amount_3w DECIMAL(38,4)", *rows)
    assert_same(actual.select(expected.columns), expected)


@pytest.mark.parametrize(
    ("length", "first", "outside"),
    [(1, "2020-11-23", "2020-11-22"), (3, "2020-11-09", "2020-11-08"), (4, "2020-11-02", "2020-11-01")],
)
def test_a_calendar_window_is_the_whole_weeks_before_the_target_week(
    spark: SparkSession, length: int, first: str, outside: str
) -> None:
    days = {"out": outside, "first": first, "last": "2020-11-29", "own week": "2020-12-03", "after": "2020-12-07"}
    target = [seen(day, user) for day in ("2020-11-30", "2020-12-06") for user in days]
    past = [event(day, user=user) for user, day in days.items() for event in (seen, tap, pay)]
    nothing, one = (0, 0, 0, "0"), (1, 1, 1, "1")
    assert_sums(
        compute(spark, [*target, *past], windows("calendar", length)),
        *((day, user, *one) for day in ("2020-11-30", "2020-12-06") for user in ("first", "last")),
        *((day, user, *nothing) for day in ("2020-11-30", "2020-12-06") for user in ("out", "own week", "after")),
        ("2020-12-03", "own week", *nothing),
    )


@pytest.mark.parametrize(
    ("length", "first", "outside"),
    [(1, "2020-11-25", "2020-11-24"), (3, "2020-11-11", "2020-11-10"), (4, "2020-11-04", "2020-11-03")],
)
def test_a_rolling_window_is_the_days_before_the_day_of_the_print(
    spark: SparkSession, length: int, first: str, outside: str
) -> None:
    own, days = "2020-12-02", {"out": outside, "first": first, "yesterday": "2020-12-01", "tomorrow": "2020-12-03"}
    target = [seen(own, user) for user in (*days, "own day", "after")]
    days |= {"own day": own, "after": "2020-12-07"}
    past = [event(day, user=user) for user, day in days.items() for event in (tap, pay)]
    nothing, one = (0, 0, 0, "0"), (0, 1, 1, "1")
    assert_sums(
        compute(spark, [*target, *past], windows("rolling", length)),
        *((own, user, *one) for user in ("first", "yesterday")),
        *((own, user, *nothing) for user in ("out", "own day", "tomorrow", "after")),
    )


def test_each_day_of_the_week_has_a_rolling_window_of_its_own(spark: SparkSession) -> None:
    target = [seen(day) for day in ("2020-11-30", "2020-12-02", "2020-12-02", "2020-12-06")]
    past = [
        pay("2020-11-08", "1000"),  # before the window of the Monday
        pay("2020-11-09", "100"),  # its first day
        pay("2020-11-15", "10"),  # the first day of that of the Sunday
        pay("2020-12-02", "1"),  # in that of the Sunday alone
        pay("2020-12-06", "0.1"),
    ]
    assert_sums(
        compute(spark, [*target, *past], windows("rolling")),
        ("2020-11-30", "u", 0, 0, 2, "110"),
        ("2020-12-02", "u", 1, 0, 1, "10"),
        ("2020-12-02", "u", 1, 0, 1, "10"),
        ("2020-12-06", "u", 3, 0, 2, "11"),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_reaches_over_the_end_of_a_year(spark: SparkSession, kind: FeatureWindow) -> None:
    events = [seen("2021-01-04"), pay("2020-12-13", "100"), pay("2020-12-14", "10"), pay("2021-01-01", "1")]
    over = windows(kind, weeks=[date(2021, 1, 4)])
    assert_sums(compute(spark, [*events, tap("2021-01-03")], over), ("2021-01-04", "u", 0, 1, 2, "11"))


# --- sums -------------------------------------------------------------------------------------------------------------

DAYS = ("2020-11-09", "2020-11-20", "2020-11-20", "2020-11-29")
LARGEST = "99999999999999.9999"


def pays(*totals: str) -> list[Event]:
    """Pays with these totals, on days here and there in the window."""
    return [pay(DAYS[at % len(DAYS)], total) for at, total in enumerate(totals)]


PASTS: dict[str, tuple[list[Event], tuple[int, int, int, str]]] = {
    "nothing": ([], (0, 0, 0, "0")),
    "only views": ([seen("2020-11-20")], (1, 0, 0, "0")),
    "only taps": ([tap("2020-11-20")], (0, 1, 0, "0")),
    # weeks and sources without data
    "a week without data": ([pay("2020-11-10"), tap("2020-11-28")], (0, 1, 1, "1")),
    "one source a week": ([seen("2020-11-12"), tap("2020-11-20"), *pays("5", "6")], (1, 1, 2, "11")),
    "only older": ([pay("2020-11-01"), tap("2020-10-20"), seen("2020-11-08")], (0, 0, 0, "0")),
    "only later": ([pay("2020-12-07"), tap("2020-12-08"), seen("2021-03-01")], (0, 0, 0, "0")),
    "older, later and in between": ([pay("2020-11-01"), pay("2020-11-20"), pay("2021-03-01")], (0, 0, 1, "1")),
    "taps elsewhere": ([tap("2020-11-20", position=9), tap("2020-11-20", position=None)], (0, 2, 0, "0")),
    # equal records are all counted
    "twice, three times, four times": (
        [*[seen("2020-11-20")] * 2, *[tap("2020-11-20")] * 3, *[pay("2020-11-20", "1.5")] * 4],
        (2, 3, 4, "6"),
    ),
    # exact amounts
    "thirds": (pays("0.1", "0.2"), (0, 0, 2, "0.3")),
    "cents": (pays(*["0.01"] * 10), (0, 0, 10, "0.1")),
    "smallest": (pays("0.0001", "0.0002"), (0, 0, 2, "0.0003")),
    "large and small": (pays(LARGEST, "0.0001"), (0, 0, 2, "100000000000000")),
    "largest": (pays(*[LARGEST] * 12), (0, 0, 12, "1199999999999999.9988")),
    "largest below zero": (pays(*[f"-{LARGEST}"] * 2), (0, 0, 2, "-199999999999999.9998")),
    "negative": (pays("-7.04", "1"), (0, 0, 2, "-6.04")),
    "nothing left": (pays("7.04", "-7.04"), (0, 0, 2, "0")),
    "zeros": (pays("0", "0"), (0, 0, 2, "0")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_past_of_a_user_is_counted_and_added_up(spark: SparkSession, kind: FeatureWindow) -> None:
    """A print of the Monday looks back on the same days in both kinds of window."""
    past = [(event[0], event[1], user, *event[3:]) for user, (events, _) in PASTS.items() for event in events]
    target = [seen("2020-11-30", user) for user in PASTS]
    assert_sums(
        compute(spark, [*past, *target], windows(kind)),
        *(("2020-11-30", user, *sums) for user, (_, sums) in PASTS.items()),
    )


ODD = [
    "1",
    "01",
    " 1",
    "1 ",
    "1.0",
    "u",
    "U",
    "ü",
    "u\u0308",
    "ß",
    "ss",
    "😀",
    "a,b",
    'a"b',
    "a\nb",
    "\t",
    "%",
    "'",
    "\\",
]


def test_users_and_value_props_are_told_apart_by_every_character(spark: SparkSession) -> None:
    past = [pay("2020-11-20", str(at), user) for at, user in enumerate(ODD)]
    past += [pay("2020-11-20", str(at), "same", prop) for at, prop in enumerate(ODD)]
    target = [seen("2020-11-30", user) for user in ODD] + [seen("2020-11-30", "same", prop) for prop in ODD]
    actual = compute(spark, [*past, *target, *(tap("2020-11-30", user) for user in ODD[::2])])
    columns = "user_id STRING, value_prop STRING, clicked INT, payments_3w BIGINT, amount_3w DECIMAL(38,4)"
    of_users = ((user, "point", 1 - at % 2, 1, Decimal(at)) for at, user in enumerate(ODD))
    of_props = (("same", prop, 0, 1, Decimal(at)) for at, prop in enumerate(ODD))
    expected = one_part(spark, columns, *of_users, *of_props)
    assert_same(actual.select(expected.columns), expected)


# --- clicks -----------------------------------------------------------------------------------------------------------

DAY, LAST = "2020-12-02", 2**31 - 1
TAPS: dict[str, tuple[list[int | None], list[Event], list[int]]] = {
    "no tap": ([1, None], [], [0, 0]),
    "same position": ([1], [tap(DAY)], [1]),
    "position 0": ([0, 1, -1], [tap(DAY, position=0)], [1, 0, 0]),
    "negative position": ([-1, 1], [tap(DAY, position=-1)], [1, 0]),
    "largest position": ([LAST, -LAST - 1], [tap(DAY, position=LAST)], [1, 0]),
    "another position": ([1, 0], [tap(DAY, position=2)], [0, 0]),
    "tap without position": ([0, 1, None], [tap(DAY, position=None)], [1, 1, 1]),
    "print without position": ([None], [tap(DAY, position=3)], [1]),
    "several taps": ([1, 2, 4, None], [tap(DAY, position=2), tap(DAY), tap(DAY, position=3)], [1, 1, 0, 1]),
    "one of them without": ([1, 2], [tap(DAY, position=2), tap(DAY, position=None)], [1, 1]),
    "two equal taps": ([1, 2], [tap(DAY), tap(DAY)], [1, 0]),
    "two taps without": ([1, None], [tap(DAY, position=None)] * 2, [1, 1]),
    "equal prints": ([1, 1, 2, 2, None, None], [tap(DAY)], [1, 1, 0, 0, 1, 1]),
    "the day before": ([1, None], [tap("2020-12-01")], [0, 0]),
    "the day after": ([1, None], [tap("2020-12-03")], [0, 0]),
    "a week before": ([1, None], [tap("2020-11-25")], [0, 0]),
    "another value prop": ([1, None], [tap(DAY, prop="credits"), tap(DAY, prop="Point")], [0, 0]),
    "only a pay": ([1, None], [pay(DAY)], [0, 0]),
}


def test_a_print_was_clicked_when_it_was_tapped_on_its_day_where_it_stood(spark: SparkSession) -> None:
    """A row for each print, however many taps it has."""
    prints = [seen(DAY, user, position=position) for user, (positions, _, _) in TAPS.items() for position in positions]
    taps = [(event[0], event[1], user, *event[3:]) for user, (_, events, _) in TAPS.items() for event in events]
    actual = compute(spark, [*prints, *taps, tap(DAY, "somebody else")])
    rows = [
        (user, position, clicked)
        for user, (positions, _, clicks) in TAPS.items()
        for position, clicked in zip(positions, clicks, strict=True)
    ]
    expected = one_part(spark, CLICKS, *rows)
    assert_same(actual.select(expected.columns), expected)


# --- several weeks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_week_of_several_is_a_target_and_in_the_window_of_the_next(spark: SparkSession, kind: FeatureWindow) -> None:
    events = [seen("2020-11-30"), tap("2020-11-30"), pay("2020-11-29"), seen("2020-12-07"), seen("2020-12-07")]
    actual = compute(spark, events, windows(kind, 1, [MONDAY, MONDAY + WEEK]))
    assert_sums(actual, ("2020-11-30", "u", 0, 0, 1, "1"), *[("2020-12-07", "u", 1, 1, 0, "0")] * 2)


def random_events(seed: int) -> list[Event]:
    """Events of a few users over seven weeks, the fifth without prints."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    start = date(2020, 11, 2)
    events: list[Event] = []
    for _ in range(300):
        day = start + timedelta(days=dice.randrange(49))
        dataset = dice.choice(("prints", "prints", "taps", "pays"))
        if dataset == "prints" and week_of(day) == MONDAY:
            continue
        amount = Decimal(dice.randrange(-(10**6), 10**7)).scaleb(-4) if dataset == "pays" else None
        position = None if dataset == "pays" else dice.choice((None, 0, 1, 2))
        events.append((dataset, day, dice.choice("abc"), dice.choice(("point", "credits")), position, amount))
    return events


@pytest.mark.parametrize(("kind", "length"), [("calendar", 3), ("rolling", 2)])
def test_several_weeks_at_once_are_as_each_week_alone(spark: SparkSession, kind: FeatureWindow, length: int) -> None:
    events, weeks = random_events(20201130), [MONDAY - WEEK, MONDAY, MONDAY + WEEK]
    together = features(frame(spark, EVENTS, *events), windows(kind, length, weeks)).collect()
    alone = [compute(spark, events, windows(kind, length, [week])).collect() for week in weeks]
    assert Counter(together) == Counter(row for rows in alone for row in rows)
    assert [len(rows) > 0 for rows in alone] == [True, False, True]


# --- the plan ---------------------------------------------------------------------------------------------------------


@contextmanager
def setting(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    """A setting of the session, for a while."""
    before = spark.conf.get(name)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        spark.conf.set(name, before)


def plan_nodes(rows: DataFrame) -> list[str]:
    """The names of the nodes of the physical plan."""

    def names(node: Any) -> Iterator[str]:
        yield node.nodeName()
        children = node.children()
        for at in range(children.size()):
            yield from names(children.apply(at))

    return list(names(rows._jdf.queryExecution().executedPlan()))


MOST_EXCHANGES = 6


@pytest.mark.classic
@pytest.mark.parametrize("kind", KINDS)
def test_events_are_joined_by_their_keys_with_few_shuffles(spark: SparkSession, kind: FeatureWindow) -> None:
    with setting(spark, "spark.sql.autoBroadcastJoinThreshold", "-1"):
        events = frame(spark, EVENTS, *random_events(1))
        nodes = plan_nodes(features(events, windows(kind, weeks=[MONDAY, MONDAY + WEEK])))
    assert not {"BroadcastNestedLoopJoin", "CartesianProduct"} & set(nodes)
    assert 0 < nodes.count("Exchange") <= MOST_EXCHANGES
