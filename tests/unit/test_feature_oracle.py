"""The oracle of the features is right: each definition once, on worlds small enough to check by eye.

2020-11-30 is a Monday: with it as the target week, the calendar window of three weeks is 2020-11-09 to 2020-11-29.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.event_histories import World, world, write_world
from tests.feature_oracle import (
    REJECTING,
    STRUCTURAL,
    VALUE_PROPS,
    WARNING,
    Dataset,
    Features,
    Options,
    features,
    is_complete,
    week_of,
)
from tests.histories import ABSENT, as_written

TODAY = date(2021, 3, 1)
HEADER = "pay_date,total,user_id,value_prop"


def event(
    day: Any = "2020-12-01", position: Any = 1, value_prop: Any = "point", user_id: Any = "u", **more: Any
) -> str:
    """A print or tap; tests state only the members they are about."""
    place = {"position": position, "value_prop": value_prop}
    place = {name: value for name, value in place.items() if value is not ABSENT}
    return as_written({"day": day, "event_data": place, "user_id": user_id} | more)


def pay(day: str = "2020-11-20", total: str = "1", user_id: str = "u", value_prop: str = "point") -> str:
    return f"{day},{total},{user_id},{value_prop}"


def run(
    prints: Sequence[str | bytes], taps: Sequence[str | bytes] = (), pays: Sequence[str | bytes] = (), **options: Any
) -> Features:
    """A run over one file of each dataset; the pays come without their header."""
    return features([prints], [taps], [[HEADER, *pays]], today=TODAY, options=Options(**options))


def numbers(result: Features) -> list[tuple[int, int, int, Decimal]]:
    """views, clicks, payments and amount of every row."""
    return [(views, clicks, payments, amount) for *_, views, clicks, payments, amount in result.rows]


def clicked(result: Features) -> list[int]:
    return [row[5] for row in result.rows]


def counts(dataset: Dataset) -> tuple[int, int, int]:
    return dataset.valid, dataset.rejected, dataset.blank


# --- the whole ------------------------------------------------------------------------------------------------------


def test_a_run_worked_out_by_hand() -> None:
    prints = [
        event("2020-11-08", 0),  # a day too early for the window
        event("2020-11-09", 0),
        event("2020-11-29", 3),
        event("2020-11-15", 0, "prepaid"),
        event("2020-11-30", 0),
        event("2020-12-02", 1),
        event("2020-12-02", 2, "prepaid"),
        event("2020-12-02", 0, "point", "v"),
    ]
    taps = [event("2020-11-09", 0), event("2020-11-30", 0), event("2020-12-02", 3, "prepaid")]
    pays = [pay("2020-11-29", "10.25"), pay("2020-11-10", "0.0001"), pay("2020-11-30", "99"), pay("2020-11-08", "99")]
    result = run(prints, taps, pays)
    monday, wednesday = date(2020, 11, 30), date(2020, 12, 2)
    assert result.rows == [
        (monday, monday, "u", 0, "point", 1, 2, 1, 2, Decimal("10.2501")),
        (monday, wednesday, "u", 1, "point", 0, 2, 1, 2, Decimal("10.2501")),
        (monday, wednesday, "u", 2, "prepaid", 0, 1, 0, 0, Decimal(0)),
        (monday, wednesday, "v", 0, "point", 0, 0, 0, 0, Decimal(0)),
    ]
    assert result.final_csv() == (
        "day,user_id,position,value_prop,clicked,views_3w,clicks_3w,payments_3w,amount_3w\n"
        "2020-11-30,u,0,point,1,2,1,2,10.2501\n"
        "2020-12-02,u,1,point,0,2,1,2,10.2501\n"
        "2020-12-02,u,2,prepaid,0,1,0,0,0.0000\n"
        "2020-12-02,v,0,point,0,0,0,0,0.0000\n"
    )
    assert (result.reference_date, result.target_weeks) == (wednesday, [monday])
    assert result.complete == {monday: False}
    assert (counts(result.prints), counts(result.taps), counts(result.pays)) == ((8, 0, 0), (3, 0, 0), (4, 0, 0))
    assert (result.pays_before, result.pays_after) == (1, 1)


def test_nothing_gives_nothing() -> None:
    result = features([], [], [], today=TODAY)
    assert (result.rows, result.reference_date, result.target_weeks, result.complete) == ([], None, [], {})
    assert result.final_csv().count("\n") == 1


# --- weeks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "monday"),
    [
        ("2020-11-01", "2020-10-26"),
        ("2020-11-02", "2020-11-02"),
        ("2020-12-27", "2020-12-21"),
        ("2020-12-28", "2020-12-28"),
        ("2020-12-31", "2020-12-28"),
        ("2021-01-01", "2020-12-28"),
        ("2021-01-03", "2020-12-28"),
        ("2021-01-04", "2021-01-04"),
        ("2024-02-29", "2024-02-26"),
    ],
)
def test_a_week_goes_from_monday_to_sunday(day: str, monday: str) -> None:
    assert week_of(date.fromisoformat(day)) == date.fromisoformat(monday)


def test_the_week_over_new_year_is_one_week() -> None:
    shown = ["2020-12-06", "2020-12-07", "2020-12-27", "2020-12-28", "2021-01-03"]
    result = run(list(map(event, shown)))
    assert [(row[0], row[1], row[6]) for row in result.rows] == [
        (date(2020, 12, 28), date(2020, 12, 28), 2),
        (date(2020, 12, 28), date(2021, 1, 3), 2),
    ]
    assert result.complete == {date(2020, 12, 28): True}


def test_the_target_week_is_that_of_the_latest_valid_print() -> None:
    prints = [event("2020-12-01"), event("2020-12-14", user_id=""), "broken"]
    result = run(prints, [event("2020-12-14")], [pay("2020-12-14")])
    assert (result.reference_date, result.target_weeks) == (date(2020, 12, 1), [date(2020, 11, 30)])


def test_as_of_names_a_week_and_hides_no_event() -> None:
    prints = [event("2020-11-03"), event("2020-11-09"), event("2020-11-15"), event("2020-12-01")]
    result = run(prints, as_of=date(2020, 11, 10))
    assert result.reference_date == date(2020, 11, 10)
    assert [(row[1], row[6]) for row in result.rows] == [(date(2020, 11, 9), 1), (date(2020, 11, 15), 1)]
    assert result.complete == {date(2020, 11, 9): True}


def test_as_of_a_week_without_prints_gives_no_rows() -> None:
    result = run([event("2020-12-01")], as_of=date(2021, 2, 3))
    assert (result.rows, result.target_weeks) == ([], [date(2021, 2, 1)])
    assert result.complete == {date(2021, 2, 1): False}


@pytest.mark.parametrize(
    ("latest", "complete"), [(None, False), ("2020-12-05", False), ("2020-12-06", True), ("2020-12-07", True)]
)
def test_a_week_is_complete_with_a_print_of_its_sunday_or_later(latest: str | None, complete: bool) -> None:
    assert is_complete(date(2020, 11, 30), date.fromisoformat(latest) if latest else None) is complete


@pytest.mark.parametrize(
    ("latest", "as_of", "week"),
    [
        ("2020-12-05", None, "2020-11-23"),
        ("2020-12-06", None, "2020-11-30"),
        ("2020-12-07", None, "2020-11-30"),
        ("2020-12-05", "2020-11-12", "2020-11-09"),
        ("2020-12-05", "2021-02-03", "2020-11-23"),
        ("2021-01-02", None, "2020-12-21"),
    ],
)
def test_the_last_complete_week_is_the_target_week_or_one_before_it(latest: str, as_of: str | None, week: str) -> None:
    asked = date.fromisoformat(as_of) if as_of else None
    result = run([event(latest)], as_of=asked, target_week="last_complete")
    assert result.target_weeks == [date.fromisoformat(week)]
    assert result.reference_date == (asked or date.fromisoformat(latest))
    assert list(result.complete.values()) == [True]


def test_there_is_no_last_complete_week_without_prints() -> None:
    assert run([], as_of=date(2020, 12, 1), target_week="last_complete").target_weeks == []


def test_a_backfill_has_every_week_from_the_first_to_the_last() -> None:
    prints = [event("2020-12-22"), event("2020-12-27"), event("2021-01-06"), event("2021-01-11")]
    result = run(prints, first=date(2020, 12, 27), last=date(2021, 1, 4))
    assert result.target_weeks == [date(2020, 12, 21), date(2020, 12, 28), date(2021, 1, 4)]
    assert [(row[1], row[6]) for row in result.rows] == [
        (date(2020, 12, 22), 0),
        (date(2020, 12, 27), 0),
        (date(2021, 1, 6), 2),
    ]
    assert result.reference_date == date(2021, 1, 11)
    assert list(result.complete.values()) == [True, True, True]


def test_a_backfill_without_an_end_goes_up_to_the_reference_date() -> None:
    result = run([event("2020-12-16")], first=date(2020, 11, 30))
    assert result.target_weeks == [date(2020, 11, 30), date(2020, 12, 7), date(2020, 12, 14)]
    assert list(result.complete.values()) == [True, True, False]


def test_a_backfill_needs_a_beginning() -> None:
    with pytest.raises(ValueError, match="without"):
        Options(last=date(2020, 12, 1))


# --- windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "inside", "outside"),
    [
        ({}, ["2020-11-09", "2020-11-29"], ["2020-11-08", "2020-11-30"]),
        ({"window_weeks": 1}, ["2020-11-23", "2020-11-29"], ["2020-11-22", "2020-11-30"]),
        ({"window_weeks": 5}, ["2020-10-26", "2020-11-29"], ["2020-10-25", "2020-11-30"]),
        ({"window": "rolling"}, ["2020-11-11", "2020-12-01"], ["2020-11-10", "2020-12-02"]),
        ({"window": "rolling", "window_weeks": 1}, ["2020-11-25", "2020-12-01"], ["2020-11-24", "2020-12-02"]),
    ],
)
def test_a_window_has_a_first_and_a_last_day(options: dict[str, Any], inside: list[str], outside: list[str]) -> None:
    days = inside + outside
    result = run(
        [event("2020-12-02", 5), *(event(day, 0) for day in days if day != "2020-12-02")],
        [event(day, 0) for day in days],
        [pay(day, "0.5") for day in days],
        **options,
    )
    assert {row[3:5] + row[6:] for row in result.rows if row[3] == 5} == {(5, "point", 2, 2, 2, Decimal(1))}


def test_a_rolling_window_is_that_of_the_day() -> None:
    days = ["2020-11-09", "2020-11-30", "2020-12-01", "2020-12-06"]
    result = run(list(map(event, days)), window="rolling")
    # the first is 21 days before the second, and too early for the third
    assert [(row[1].isoformat(), row[6]) for row in result.rows] == [
        ("2020-11-30", 1),
        ("2020-12-01", 1),
        ("2020-12-06", 2),
    ]


def test_only_the_same_user_and_value_proposition_count() -> None:
    result = run(
        [event(), event("2020-11-20", user_id="v"), event("2020-11-20", value_prop="prepaid")],
        [event("2020-11-20", user_id="U"), event("2020-11-20", value_prop="Point")],
        [pay(user_id="u "), pay(value_prop="prepaid")],
    )
    assert numbers(result) == [(0, 0, 0, Decimal(0))]


def test_an_amount_is_exact_and_may_be_negative() -> None:
    totals = ["0.1", "0.2", "-0.3001", "-99999999999999.9999"]
    result = run([event()], pays=[pay(total=total) for total in totals])
    assert numbers(result) == [(0, 0, 4, Decimal("-100000000000000.0000"))]
    assert result.final_csv().endswith(",0,0,0,4,-100000000000000.0000\n")


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [({}, 2, 2), ({"window": "rolling"}, 2, 1), ({"first": date(2020, 11, 23)}, 1, 2), ({"window_weeks": 2}, 3, 2)],
)
def test_pays_that_no_window_could_need_are_counted(options: dict[str, Any], before: int, after: int) -> None:
    # windows from 2020-11-09 to 2020-11-29 (rolling: 2020-12-05)
    days = ["2020-11-01", "2020-11-08", "2020-11-09", "2020-11-29", "2020-12-05", "2020-12-06"]
    result = run(
        [event("2020-12-02")], pays=[*map(pay, days), pay("2020-01-01", "none"), pay("2021-01-01", "")], **options
    )
    assert (result.pays_before, result.pays_after) == (before, after)


# --- clicks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("print_position", "tap_position", "is_clicked"),
    [
        (1, 1, 1),
        (1, 2, 0),
        (0, 0, 1),
        (0, ABSENT, 1),
        (None, 2, 1),
        (ABSENT, None, 1),
        ("1", "<1.0>", 1),
        (-1, 1, 0),
        (-1, -1, 1),
    ],
)
def test_a_tap_clicks_a_print_of_its_position(print_position: Any, tap_position: Any, is_clicked: int) -> None:
    assert clicked(run([event(position=print_position)], [event(position=tap_position)])) == [is_clicked]


@pytest.mark.parametrize(
    "members", [{"day": "2020-11-30"}, {"day": "2020-12-02"}, {"user_id": "v"}, {"value_prop": "prepaid"}]
)
def test_a_tap_of_another_day_user_or_value_proposition_clicks_nothing(members: dict[str, str]) -> None:
    assert clicked(run([event()], [event(**members)])) == [0]


def test_a_rejected_tap_clicks_nothing() -> None:
    assert clicked(run([event()], [event(position="first")])) == [0]


def test_two_taps_on_one_print_are_one_click_of_the_row_and_two_in_the_window() -> None:
    result = run([event("2020-11-25"), event()], [event("2020-11-25"), event("2020-11-25"), event(), event()])
    assert (clicked(result), numbers(result)) == ([1], [(1, 2, 0, Decimal(0))])


def test_one_tap_may_click_several_prints() -> None:
    prints = [event(position=1), event(position=1), event(position=2), event(position=None)]
    assert clicked(run(prints, [event(position=1)])) == [1, 1, 1, 0]  # none comes first
    assert clicked(run(prints, [event(position=None)])) == [1, 1, 1, 1]


# --- rows -----------------------------------------------------------------------------------------------------------


def test_duplicates_are_kept_and_counted() -> None:
    prints = [event(), event(), event() + " ", event("2020-11-20"), event("2020-11-20"), "broken", "broken"]
    result = run(prints, [event("2020-11-20")] * 3, [pay(total="2.5")] * 2)
    assert numbers(result) == [(2, 3, 2, Decimal(5))] * 3
    assert [dataset.duplicates for dataset in (result.prints, result.taps, result.pays)] == [2, 2, 1]


def test_a_record_in_two_files_is_a_duplicate() -> None:
    result = features([[event()], [event() + "\r"]], [], [], today=TODAY)
    assert (len(result.rows), result.prints.duplicates) == (2, 1)


def test_rows_are_in_the_order_of_final_csv() -> None:
    prints = [
        event("2020-12-01", 0, "point", "\U0001f381"),
        event("2020-12-01", 0, "point", "\uff5e"),
        event("2020-12-01", 0, "point", "b"),
        event("2020-12-01", 10, "point", "a"),
        event("2020-12-01", 9, "point", "a"),
        event("2020-12-01", -1, "point", "a"),
        event("2020-12-01", None, "point", "a"),
        event("2020-12-01", 0, "link_cobro", "a"),
        event("2020-12-01", 0, "point", "B"),
        event("2020-12-01", 0, "point", "10"),
        event("2020-12-01", 0, "point", "9"),
        event("2020-11-30", 0, "point", "z"),
    ]
    lines = [line.removesuffix(",0,0,0,0,0.0000") for line in run(prints).final_csv().splitlines()[1:]]
    assert lines == [
        "2020-11-30,z,0,point",
        "2020-12-01,10,0,point",
        "2020-12-01,9,0,point",
        "2020-12-01,B,0,point",
        "2020-12-01,a,0,link_cobro",
        "2020-12-01,a,,point",
        "2020-12-01,a,-1,point",
        "2020-12-01,a,9,point",
        "2020-12-01,a,10,point",
        "2020-12-01,b,0,point",
        "2020-12-01,\uff5e,0,point",
        "2020-12-01,\U0001f381,0,point",
    ]


def test_final_csv_quotes_what_must_be_quoted() -> None:
    lines = run([event(user_id="a,b"), event(user_id='say "hi"')]).final_csv().splitlines()
    assert [line.removesuffix(",1,point,0,0,0,0,0.0000") for line in lines[1:]] == [
        '2020-12-01,"a,b"',
        '2020-12-01,"say ""hi"""',
    ]


def test_a_user_is_the_same_however_the_id_is_written() -> None:
    prints = [event(user_id="<98702>"), event("2020-11-20", user_id="98702"), event("2020-11-21", user_id="<98702.0>")]
    taps = [event("2020-11-20", user_id="<98702>"), event("2020-11-20", user_id="098702")]
    assert numbers(run(prints, taps, [pay(user_id="98702"), pay(user_id="98702.0")])) == [(1, 1, 1, Decimal(1))]


@pytest.mark.parametrize(
    ("written", "text"),
    [("<98702.0>", "98702.0"), (True, "true"), (" u ", " u "), ("<12345678901234567890>", "12345678901234567890")],
)
def test_a_user_id_is_a_text_as_it_was_written(written: Any, text: str) -> None:
    assert [row[2] for row in run([event(user_id=written)]).rows] == [text]


# --- prints and taps that break rules -------------------------------------------------------------------------------


def without(name: str) -> str:
    return event(**{name: ABSENT})


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        (without("user_id"), {"user_id_given"}),
        (event(user_id=None), {"user_id_given"}),
        (event(user_id=""), {"user_id_given"}),
        (without("value_prop"), {"value_prop_given"}),
        (event(value_prop=None), {"value_prop_given"}),
        (event(value_prop=""), {"value_prop_given"}),
        (event(event_data=ABSENT), {"value_prop_given", "position_given"}),
        (event(event_data=None), {"value_prop_given", "position_given"}),
        (event(event_data={}), {"value_prop_given", "position_given"}),
        (without("day"), {"day_given"}),
        (event(None), {"day_given"}),
        *(
            (event(day), {"day_is_date"})
            for day in ("", "2020-02-30", "2020-1-01", "20201101", "1899-12-31", "0000-01-01")
        ),
        *(
            (event(day), {"day_is_date"})
            for day in ("2020-11-01 ", "2020-11-01T00:00", "10000-01-01", "\u0662020-01-01")
        ),
        *((event(day), {"day_is_date"}) for day in (True, "<20201101>")),
        (event("2021-03-03"), {"day_not_in_future"}),
        (event("9999-12-31"), {"day_not_in_future"}),
        *(
            (event(position=position), {"position_is_whole"})
            for position in ("", "one", "<1.5>", True, " 1", "+-1", "1_0")
        ),
        *((event(position=position), {"position_is_whole"}) for position in (2**31, -(2**31) - 1, "<1e10>", "<1e-1>")),
        (event("x", "x", "x", ""), {"user_id_given", "value_prop_known", "day_is_date", "position_is_whole"}),
        (event("2021-03-03", -1, user_id=None), {"user_id_given", "day_not_in_future", "position_not_negative"}),
        (event(None, None, None, None), {"user_id_given", "value_prop_given", "day_given", "position_given"}),
    ],
)
def test_an_event_that_breaks_a_rule_is_rejected(line: str, rules: set[str]) -> None:
    result = run([line], [event(), line])
    assert (counts(result.prints), counts(result.taps)) == ((0, 1, 0), (1, 1, 0))
    assert result.prints.broken == result.taps.broken == dict.fromkeys(rules, 1)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"\xff", "not_utf8"),
        (event()[:-1].encode() + b', "note": "\xed\xa0\x80"}', "not_utf8"),
        ("seen", "malformed_json"),
        (event()[:-1], "malformed_json"),
        (event() + event(), "malformed_json"),
        (event()[:-1] + ', "user_id": "u"}', "malformed_json"),
        (event(note="<NaN>"), "malformed_json"),
        (event(note="<01>"), "malformed_json"),
        (event().replace('"', "'"), "malformed_json"),
        (event(user_id="a\tb").replace("\\t", "\t"), "malformed_json"),
        (event(user_id="a\0b").replace("\\u0000", "\0"), "malformed_json"),
        (event(user_id="u\0"), "nul_in_text"),
        (event(note=["\0"]), "nul_in_text"),
        (event(user_id="u\ud800"), "lone_surrogate"),
        (event(note={"\udc00": 1}), "lone_surrogate"),
        ("null", "not_an_object"),
        ("7", "not_an_object"),
        (f"[{event()}]", "not_an_object"),
        *((event(event_data=place), "wrong_type") for place in ("", "point", 1, True, [], [{}])),
        *((event(**{name: {}}), "wrong_type") for name in ("day", "position", "value_prop", "user_id")),
        (event(user_id=["u"]), "wrong_type"),
        (event(None, [], None, ""), "wrong_type"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_an_event_that_cannot_be_read_breaks_one_rule(line: str | bytes, rule: str) -> None:
    result = run([line, event()])
    assert (counts(result.prints), result.prints.broken) == ((1, 1, 0), {rule: 1})


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        (event(position=None), {"position_given"}),
        (event(position=ABSENT), {"position_given"}),
        (event(position=-1), {"position_not_negative"}),
        (event(position="<-0.0>"), set()),
        (event(value_prop="gift_card"), {"value_prop_known"}),
        (event(value_prop="Point", position=None), {"value_prop_known", "position_given"}),
        (event(value_prop=7), {"value_prop_known"}),
        (event("2021-03-02"), set()),
        (event("1900-01-01"), set()),
        (event(note={"seen": [1.5, None]}), set()),
        *((event(value_prop=value_prop), set()) for value_prop in VALUE_PROPS),
    ],
)
def test_an_event_with_a_warning_is_kept(line: str, rules: set[str]) -> None:
    result = run([line])
    assert (counts(result.prints), result.prints.broken) == ((1, 0, 0), dict.fromkeys(rules, 1))
    assert len(result.rows) == 1


@pytest.mark.parametrize(
    ("written", "position"),
    [(2, 2), ("3", 3), ("<2.0>", 2), ("<2e0>", 2), (2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), (None, None)],
)
def test_a_position_is_a_whole_number_or_none(written: Any, position: int | None) -> None:
    assert [row[3] for row in run([event(position=written)]).rows] == [position]


def test_blank_lines_are_no_records() -> None:
    lines = ["", " ", "\t \r", "\r", event() + "\r", "\u00a0"]
    result = run(lines, lines, lines[:4])
    assert (counts(result.prints), result.prints.records) == ((1, 1, 4), 2)
    assert (counts(result.taps), counts(result.pays)) == ((1, 1, 4), (0, 0, 4))


def test_a_byte_order_mark_may_stand_at_the_beginning_of_a_record() -> None:
    result = features([["\ufeff" + event(), "\ufeff" + event()]], [], [["\ufeff" + HEADER, pay()]], today=TODAY)
    assert (counts(result.prints), counts(result.pays)) == ((2, 0, 0), (1, 0, 0))


# --- pays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        (pay(""), {"day_given"}),
        (pay("20201101"), {"day_is_date"}),
        (pay("2021-03-03"), {"day_not_in_future"}),
        (pay(user_id=""), {"user_id_given"}),
        (pay(user_id='""'), {"user_id_given"}),
        (pay(value_prop=""), {"value_prop_given"}),
        (pay(total=""), {"total_given"}),
        *((pay(total=total), {"total_is_exact"}) for total in ("x", "NaN", "+-1", ".", "\u0661", "1 x")),
        *((pay(total=total), {"numbers_are_plain"}) for total in ('"1,5"', "1_0", "1.000.000", "5 EUR", "€5")),
        (pay(user_id="u" * 1025), {"ids_fit"}),
        *((pay(total=total), {"total_is_exact"}) for total in ("0.00001", "100000000000000", "1e14", "1e-5")),
        (",,,", {"day_given", "total_given", "user_id_given", "value_prop_given"}),
        (pay("x", "x", "", "x"), {"day_is_date", "total_is_exact", "user_id_given", "value_prop_known"}),
        (pay("x", "-1"), {"day_is_date", "total_not_negative"}),
        ("2020-11-20,1,u", {"wrong_column_count"}),
        (pay() + ",", {"wrong_column_count"}),
        (pay(user_id="a,b"), {"wrong_column_count"}),
        (pay(user_id='"u'), {"malformed_csv"}),
        (pay(user_id='"u"v'), {"malformed_csv"}),
        (pay(user_id="u\0"), {"nul_in_text"}),
        (pay().encode() + b"\xff", {"not_utf8"}),
    ],
)
def test_a_pay_that_breaks_a_rule_is_rejected(line: str | bytes, rules: set[str]) -> None:
    result = run([event()], pays=[line, pay()])
    assert (counts(result.pays), result.pays.broken) == ((1, 1, 0), dict.fromkeys(rules, 1))
    assert numbers(result) == [(0, 0, 1, Decimal(1))]


@pytest.mark.parametrize(
    ("written", "total"),
    [
        ("140.3", "140.3"),
        ('"12.50"', "12.5"),
        ("0", "0"),
        ("1e2", "100"),
        ("1.5E+1", "15"),
        ("12500e-3", "12.5"),
        ("1.50000", "1.5"),
        ("99999999999999.9999", "99999999999999.9999"),
    ],
)
def test_a_total_is_read_exactly(written: str, total: str) -> None:
    result = run([event()], pays=[pay(total=written)])
    assert (numbers(result), result.pays.broken) == ([(0, 0, 1, Decimal(total))], {})


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        (pay(total="-0.5"), {"total_not_negative"}),
        (pay(total="-0.00"), set()),
        (pay(value_prop="x"), {"value_prop_known"}),
    ],
)
def test_a_pay_with_a_warning_is_kept(line: str, rules: set[str]) -> None:
    result = run([event()], pays=[line])
    assert (counts(result.pays), result.pays.broken) == ((1, 0, 0), dict.fromkeys(rules, 1))


def test_each_file_of_pays_has_a_header_of_its_own() -> None:
    one = ["", "user_id,pay_date,channel,value_prop,total\r", 'u,2020-11-20,"a,b",point,1\r', "u,2020-11-20,,point,2\r"]
    other = ['value_prop,"total",user_id,pay_date', '"point",4,"u",2020-11-21', "prepaid,8,u,2020-11-21"]
    empty = ["", HEADER]
    result = features([[event()]], [], [one, other, empty, []], today=TODAY)
    assert numbers(result) == [(0, 0, 3, Decimal(7))]
    assert counts(result.pays) == (4, 0, 2)


def test_a_header_that_stands_again_in_its_file_is_no_record() -> None:
    other = "total,pay_date,user_id,value_prop"
    result = features([[event()]], [], [[HEADER, pay(), HEADER, HEADER + "\r", other, pay()]], today=TODAY)
    assert (counts(result.pays), result.pays.broken.total()) == ((2, 1, 0), 3)
    assert result.pays.duplicates == 1


@pytest.mark.parametrize("header", ["pay_date,total,user_id", f"{HEADER},total", pay()])
def test_a_header_must_name_every_column_once(header: str) -> None:
    with pytest.raises(ValueError, match="header"):
        features([], [], [[header, pay()]], today=TODAY)


# --- worlds ---------------------------------------------------------------------------------------------------------

SEEDS = range(100)


def run_world(small: World, today: date = date(2026, 1, 1)) -> Features:
    return features(small.prints, small.taps, small.pays, today=today, options=small.options)


def test_a_world_is_the_same_for_the_same_seed() -> None:
    assert [world(seed) for seed in SEEDS] == [world(seed) for seed in SEEDS]
    assert len({world(seed) for seed in SEEDS}) == len(SEEDS)


def test_worlds_do_not_depend_on_the_clock() -> None:
    assert all(run_world(world(seed)) == run_world(world(seed), date(2099, 1, 1)) for seed in SEEDS)


def test_the_order_of_the_files_does_not_matter() -> None:
    for small in map(world, SEEDS):
        turned = World(small.prints[::-1], small.taps[::-1], small.pays[::-1], small.options, True)
        one, other = run_world(small), run_world(turned)
        assert (one.rows, one.complete, one.pays.broken) == (other.rows, other.complete, other.pays.broken)


def test_most_worlds_have_features_and_clicks() -> None:
    met: Counter[str] = Counter()
    for seed in SEEDS:
        rows = run_world(world(seed)).rows
        met["rows"] += bool(rows)
        met["clicked"] += any(row[5] for row in rows)
        met["not clicked"] += any(not row[5] for row in rows)
        met["a zero"] += any(not all(row[6:9]) for row in rows)
        met["no position"] += any(row[3] is None for row in rows)
        for name, at in (("views", 6), ("clicks", 7), ("payments", 8), ("amount", 9)):
            met[name] += any(row[at] for row in rows)
    assert min(met[name] for name in ("rows", "clicked", "not clicked", "views", "clicks", "payments", "amount")) > 70
    assert min(met.values()) > 30


def test_worlds_meet_every_rule_and_every_option() -> None:
    broken: set[str] = set()
    met: Counter[str] = Counter()
    for small in map(world, SEEDS):
        result, options = run_world(small), small.options
        datasets = (result.prints, result.taps, result.pays)
        for dataset in datasets:
            broken |= dataset.broken.keys()
        assert result.prints.valid
        met["clean"] += not sum(dataset.rejected for dataset in datasets)
        met["duplicates"] += all(dataset.duplicates for dataset in datasets)
        met["blank"] += any(dataset.blank for dataset in datasets)
        met["pays before"] += result.pays_before > 0
        met["pays after"] += result.pays_after > 0
        met["two files"] += min(map(len, (small.prints, small.taps, small.pays))) == 2
        met["as of"] += options.as_of is not None
        met["past"] += options.as_of is not None and options.as_of < max(row.day for row in result.prints.events)
        met["backfill"] += options.first is not None and len(result.target_weeks) > 1
        met["open backfill"] += options.first is not None and options.last is None
        met["rolling"] += options.window == "rolling"
        met["other weeks"] += options.window_weeks != 3
        if options.target_week == "last_complete":
            met["earlier week"] += result.target_weeks != [week_of(result.reference_date or TODAY)]
        met["incomplete"] += not all(result.complete.values())
        met["new year"] += date(2019, 12, 30) in result.target_weeks or date(2020, 12, 28) in result.target_weeks
        assert result.target_weeks
    assert broken == {*STRUCTURAL, *REJECTING, *WARNING}
    assert min(met.values()) >= 5, met


def test_the_files_of_a_world_hold_its_lines(tmp_path: Path) -> None:
    for seed in SEEDS:
        small = world(seed)
        folder = tmp_path / str(seed)
        write_world(folder, small)
        for name, files in (("prints", small.prints), ("taps", small.taps), ("pays", small.pays)):
            written = [path.read_bytes() for path in sorted((folder / name).iterdir())]
            assert len(written) == len(files)
            for content, lines in zip(written, files, strict=True):
                # splitting at LF gives one empty piece more where the last line has one
                assert tuple(content.removesuffix(b"\n").split(b"\n")) == (lines or (b"",))
                assert all(b"\r" not in line.removesuffix(b"\r") for line in lines)
