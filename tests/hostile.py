"""Hostile records: each text of `hostile_texts` in several places. `strict_value` is the judge of their labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from tests.hostile_texts import ID, ORDER, Label, hostile_texts, large_texts

Placement = Literal["whole", "field", "item", "text"]

PLACEMENTS: dict[Placement, tuple[bytes, bytes]] = {
    "whole": (b"", b""),
    "field": (ORDER[:-1] + b',"note":', b"}"),
    "item": (ORDER[:-1] + b',"items":[{"sku":"s","qty":1,"price":1,"note":', b"}]}"),
    "text": (ORDER[:-1] + b',"metadata":{"promo":', b"}}"),
}
"""Whole record, value of a member that no table has, the same inside an item, and value of a declared text."""


@dataclass(frozen=True)
class Case:
    """A text of one category, and what it is as JSON."""

    category: str
    text: bytes
    label: Label


@dataclass(frozen=True)
class Record:
    """A case in its place: `raw` is what stands in the file."""

    case: Case
    placement: Placement
    order_id: str
    raw: bytes


def hostile_cases() -> list[Case]:
    """All cases but the large ones, each text once."""
    found: dict[bytes, Case] = {}
    for category, labelled in hostile_texts().items():
        for label, texts in labelled.items():
            for text in texts:
                found.setdefault(text, Case(category, text, label))
    return list(found.values())


def large_cases(size: int) -> list[Case]:
    """Texts, names, numbers and white space of about `size` bytes."""
    return [Case("large", text, label) for label, texts in large_texts(size).items() for text in texts]


def placed(case: Case, order_ids: Iterator[str]) -> list[Record]:
    """The case in every placement, each with an order id of its own."""
    return [placed_at(case, placement, next(order_ids)) for placement in PLACEMENTS]


def placed_at(case: Case, placement: Placement, order_id: str) -> Record:
    """The case in one placement."""
    before, after = PLACEMENTS[placement]
    return Record(case, placement, order_id, (before + case.text + after).replace(ID, order_id.encode()))


def numbered(prefix: str) -> Iterator[str]:
    """Order ids that no other prefix has."""
    return (f"{prefix}{number}" for number in count())


def good(order_id: str) -> bytes:
    """A record without fault: the neighbour of hostile ones."""
    return ORDER.replace(ID, order_id.encode())


def strict_value(raw: bytes) -> Any:
    """The one JSON value of a text, numbers as they are written; ValueError or RecursionError where there is none.

    A byte order mark before it is no part of it.
    """
    text = raw.decode("utf-8").removeprefix("\ufeff")
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse, object_pairs_hook=_unique)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(members)) < len(members):
        raise ValueError("a key stands twice")
    return dict(members)
