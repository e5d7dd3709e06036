"""Charts are drawn where their numbers say, and stay within their frame."""

from __future__ import annotations

from itertools import pairwise

import pytest

from etl_lib.telling.charts import Column, Span, Tick, bar, columns, flow, spans, ticks

TOLERANCE = 0.02


@pytest.mark.parametrize(
    ("value", "most", "width"),
    [(50, 200, 25), (200, 200, 100), (300, 200, 100), (1, 1_000_000, 0.6), (0, 200, 0), (-3, 200, 0), (0, 0, 0)],
)
def test_a_bar_is_as_wide_as_its_share_and_can_be_seen(value: float, most: float, width: float) -> None:
    assert bar(value, most) == Span(0, width)


def test_steps_stand_where_they_began_and_none_leaves_the_chart() -> None:
    assert spans([(0, 5), (5, 15), (19.99, 0.01)], 20) == [Span(0, 25), Span(25, 75), Span(99.4, 0.6)]
    assert spans([(0, 10), (10, 30)], 20) == [Span(0, 25), Span(25, 75)]
    assert spans([(0, 0)], 0) == [Span(0, 0.6)]


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (100, [0, 20, 40, 60, 80, 100]),
        (73.1, [0, 20, 40, 60]),
        (0.4, [0, 0.1, 0.2, 0.3, 0.4]),
        (7, [0, 2, 4, 6]),
        (3600, [0, 1000, 2000, 3000]),
        (0, [0]),
    ],
)
def test_an_axis_has_few_round_marks_each_at_its_place(most: float, marks: list[float]) -> None:
    assert [tick.value for tick in ticks(most)] == marks
    assert ticks(most) == [Tick(round(100 * mark / most, 2) if most else 0, mark) for mark in marks]


def test_columns_go_up_from_zero_and_down_below_it() -> None:
    up, none, down = columns([30, 0, -10])
    assert (up.top, up.height) == (0, 75)
    assert none.height == 0
    assert (down.top, down.height) == (75, 25)
    assert [each.left for each in (up, none, down)] == [4.17, 37.5, 70.83]


def test_a_few_columns_stand_at_the_right_end_of_their_slots() -> None:
    assert columns([1, 1], slots=10, gap=0) == [Column(80, 10, 0, 100), Column(90, 10, 0, 100)]


def test_columns_of_nothing_are_flat() -> None:
    assert [each.height for each in columns([0, 0])] == [0, 0]
    assert columns([]) == []


def test_the_bands_of_a_flow_fill_the_bars_at_both_their_ends() -> None:
    """Kills bands that overlap, leave out a pair, or end at another node."""
    counts = {"orders": {"inserted": 90, "rejected": 10}, "users": {"inserted": 0, "rejected": 50}}
    drawn = flow(counts, ["inserted", "stale", "rejected"])
    assert [node.name for node in drawn.targets] == ["inserted", "rejected"]
    assert [(band.source, band.target) for band in drawn.bands] == [
        ("orders", "inserted"),
        ("orders", "rejected"),
        ("users", "rejected"),
    ]
    for nodes, end, top in ((drawn.sources, "source", "left_top"), (drawn.targets, "target", "right_top")):
        for node in nodes:
            at = node.top
            for band in (each for each in drawn.bands if getattr(each, end) == node.name):
                assert getattr(band, top) == pytest.approx(at, abs=TOLERANCE)
                at += band.thickness
            assert at == pytest.approx(node.top + node.height, abs=TOLERANCE)
    thickness = {(band.source, band.target): band.thickness for band in drawn.bands}
    assert thickness["users", "rejected"] == pytest.approx(5 * thickness["orders", "rejected"], abs=TOLERANCE)


def test_the_labels_of_a_flow_have_room_however_small_its_parts() -> None:
    counts = {"orders": {"inserted": 10**9, "rejected": 1}, "users": {"inserted": 1}, "products": {"inserted": 1}}
    drawn = flow(counts, ["inserted", "rejected"])
    for nodes in (drawn.sources, drawn.targets):
        middles = [0, *(node.middle for node in nodes), drawn.height]
        apart = [after - before for before, after in pairwise(middles)]
        assert min(apart[1:-1]) >= 44
        assert min(apart) >= 22 - TOLERANCE
    assert min(band.thickness for band in drawn.bands) == 2


def test_the_path_of_a_band_goes_there_and_back() -> None:
    assert flow({"a": {"b": 1}}, ["b"]).bands[0].path == (
        "M0 0.0 C50 0.0 50 0.0 100 0.0 V230.0 C50 230.0 50 230.0 0 230.0 Z"
    )
