"""The geometry of the charts in a report, as plain numbers: a template draws them as SVG.

Bars stand in percents, so that a chart is as wide as its page. Only the bands of a flow have a height in pixels: their
labels need room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

from etl_lib.run.metric_parts import Counts

_FLOW_HEIGHT, _SLOT, _GAP, _THINNEST = 230.0, 44.0, 10.0, 2.0
_LEAST_BAR = 0.6
"""A value that is not 0 has a bar that can be seen."""


@dataclass(frozen=True)
class Span:
    """A bar from left to right, in percents."""

    left: float
    width: float


@dataclass(frozen=True)
class Column:
    """A bar upwards, in percents of the width and, from the top, of the height; downwards below zero."""

    left: float
    width: float
    top: float
    height: float


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    value: float


@dataclass(frozen=True)
class Node:
    """One end of a flow: its bar, and the middle at which its label stands."""

    name: str
    top: float
    height: float

    @property
    def middle(self) -> float:
        """Where the label stands."""
        return round(self.top + self.height / 2, 2)


@dataclass(frozen=True)
class Band:
    """What goes from one node to another: the left and the right end of its upper edge, and how thick it is."""

    source: str
    target: str
    left_top: float
    right_top: float
    thickness: float

    @property
    def path(self) -> str:
        """The band as an SVG path, from x = 0 to x = 100."""
        upper, lower = self.left_top, self.right_top
        left_end, right_end = round(upper + self.thickness, 2), round(lower + self.thickness, 2)
        return (
            f"M0 {upper} C50 {upper} 50 {lower} 100 {lower} V{right_end} C50 {right_end} 50 {left_end} 0 {left_end} Z"
        )


@dataclass(frozen=True)
class Flow:
    """Where the records of some datasets went."""

    height: float
    sources: Sequence[Node]
    targets: Sequence[Node]
    bands: Sequence[Band]


def bar(value: float, most: float) -> Span:
    """A bar from the left edge; `most` fills the width."""
    share = 100 * max(value, 0) / most if most > 0 else 0
    return Span(0, round(min(max(share, _LEAST_BAR), 100), 2) if value > 0 else 0)


def spans(pieces: Sequence[tuple[float, float]], whole: float) -> list[Span]:
    """Bars of a Gantt chart, from where each piece begins and how long it is; none leaves the chart."""
    whole = max([whole, *(begin + length for begin, length in pieces)])
    drawn = []
    for begin, length in pieces:
        width = max(100 * length / whole, _LEAST_BAR) if whole > 0 else _LEAST_BAR
        left = 100 * begin / whole if whole > 0 else 0
        drawn.append(Span(round(min(left, 100 - width), 2), round(width, 2)))
    return drawn


def ticks(most: float, about: int = 5) -> list[Tick]:
    """Round marks from 0 up to `most`: 1, 2 or 5 times a power of ten apart."""
    if most <= 0:
        return [Tick(0, 0)]
    power = 10.0 ** floor(log10(most / about))
    apart = next(power * factor for factor in (1, 2, 5, 10) if power * factor * about >= most * (1 - 1e-9))
    marks = [round(apart * number, 3) for number in range(int(most / apart + 1e-9) + 1)]
    return [Tick(round(100 * mark / most, 2), mark) for mark in marks]


def columns(values: Sequence[float], *, gap: float = 0.25, slots: int = 0) -> list[Column]:
    """A bar for each value, from zero up or down; `gap` is the free part of each one's place.

    With fewer values than `slots` the bars stand at the right end, each as wide as if all slots were filled.
    """
    low, high = min([0.0, *values]), max([0.0, *values])
    reach, places = high - low, max(len(values), slots, 1)
    place, drawn = 100 / places, []
    for number, value in enumerate(values):
        height = 100 * abs(value) / reach if reach else 0
        height = max(height, 1.5) if value else 0
        zero = 100 * high / reach if reach else 100
        top = max(zero - height, 0) if value > 0 else min(zero, 100 - height)
        left = place * (places - len(values) + number + gap / 2)
        drawn.append(Column(*(round(each, 2) for each in (left, place * (1 - gap), top, height))))
    return drawn


def flow(counts: Mapping[str, Counts], targets: Sequence[str]) -> Flow:
    """Bands from each of `counts` to each of its targets that is not 0, as thick as what goes there.

    Even the smallest band can be seen, and every node has the room of a label.
    """
    total = sum(sum(numbers.values()) for numbers in counts.values())
    thick = {
        (source, target): max(_FLOW_HEIGHT * numbers[target] / total, _THINNEST)
        for source, numbers in counts.items()
        for target in targets
        if numbers.get(target)
    }
    left = {source: sum(size for (one, _), size in thick.items() if one == source) for source in counts}
    right = {target: sum(size for (_, one), size in thick.items() if one == target) for target in targets}
    left, right = ({name: size for name, size in side.items() if size} for side in (left, right))
    height = max(_stacked(left), _stacked(right))
    sources, ends = _nodes(left, height), _nodes(right, height)
    return Flow(round(height, 2), sources, ends, _bands(thick, sources, ends))


def _stacked(sizes: Mapping[str, float]) -> float:
    return sum(max(size, _SLOT) for size in sizes.values()) + _GAP * max(len(sizes) - 1, 0)


def _nodes(sizes: Mapping[str, float], height: float) -> list[Node]:
    """Nodes below each other, in the middle of the height."""
    at, nodes = (height - _stacked(sizes)) / 2, []
    for name, size in sizes.items():
        slot = max(size, _SLOT)
        nodes.append(Node(name, round(at + (slot - size) / 2, 2), round(size, 2)))
        at += slot + _GAP
    return nodes


def _bands(thick: Mapping[tuple[str, str], float], sources: Sequence[Node], ends: Sequence[Node]) -> list[Band]:
    """The bands leave and reach each node side by side, in the order of the nodes."""
    left, right = ({node.name: node.top for node in nodes} for nodes in (sources, ends))
    drawn = []
    for (source, target), size in thick.items():
        drawn.append(Band(source, target, round(left[source], 2), round(right[target], 2), round(size, 2)))
        left[source] += size
        right[target] += size
    return drawn
