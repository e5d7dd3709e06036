"""Random histories of orders for the property tests, and large seeded files for the others.

`histories()` is a hypothesis strategy: a few orders, few distinct times and every kind of dirt, so that ties, moved
dates, corrections, deletions and repeated records meet often. `generate_orders`, `correct` and `shrink` are seeded: the
same seed gives the same orders on every machine.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from math import ceil
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

from tests.oracle import LandedFile, read_order

Record = dict[str, Any]
Layout = Literal["lines", "array"]

# What the dimension files know. They lack the users u9 and 7 and the skus SKU-9 and 42; None is an empty cell.
USERS: dict[str, str | None] = {"u1": "DE", "u2": "NL", "u3": None}
PRODUCTS: dict[str, str | None] = {"SKU-1": "books", "SKU-2": "games", "SKU-3": None}


@dataclass(frozen=True)
class DroppedFile:
    """One input file before it is written: JSON Lines, or one JSON array."""

    name: str
    modified_at: int  # epoch milliseconds
    layout: Layout
    records: tuple[str, ...]

    def landed(self, path: str) -> LandedFile:
        """The file as the oracle takes it, under the path by which the job knows it."""
        return LandedFile(path, self.modified_at, self.records)


Batch = tuple[DroppedFile, ...]
History = tuple[Batch, ...]


def write_file(folder: Path, file: DroppedFile) -> Path:
    """Write a file into a folder, with its modification time; each record keeps its exact text."""
    path = folder / file.name
    if file.layout == "lines":
        content = "".join(f"{record}\n" for record in file.records)
    else:
        content = "[\n  " + ",\n  ".join(file.records) + "\n]\n"
    path.write_text(content, encoding="utf-8", newline="")
    nanoseconds = file.modified_at * 1_000_000
    os.utime(path, ns=(nanoseconds, nanoseconds))
    return path


def write_users(path: Path) -> Path:
    """Write USERS as users.csv."""
    rows = [f"{user_id},{user_id}@example.org,2024-01-05,{country or ''}\n" for user_id, country in USERS.items()]
    path.write_text("user_id,email,created_at,country\n" + "".join(rows), encoding="utf-8")
    return path


def write_products(path: Path) -> Path:
    """Write PRODUCTS as products.csv."""
    rows = [f"{sku},Product {sku},{category or ''},9.99\n" for sku, category in PRODUCTS.items()]
    path.write_text("sku,name,category,price\n" + "".join(rows), encoding="utf-8")
    return path


# --- strategies -----------------------------------------------------------------------------------------------------


class _Absent(Enum):
    """A member with this value is left out of the record."""

    ABSENT = "absent"


ABSENT = _Absent.ABSENT

# Both sides of a day border, in several zones; one of them is a plain date.
CREATED = tuple(datetime(2024, 3, day, hour, tzinfo=UTC) for day, hour in [(1, 0), (1, 22), (2, 2), (2, 20)])
UPDATED = tuple(datetime(2024, 3, day, hour, tzinfo=UTC) for day, hour in [(1, 22), (3, 0), (3, 12), (4, 1)])
FILE_TIMES = tuple(1_710_000_000_000 + milliseconds for milliseconds in (0, 1, 1_000, 86_400_000))


def _at(minutes: int) -> Callable[[datetime], str]:
    zone = timezone(timedelta(minutes=minutes))
    return lambda moment: moment.astimezone(zone).isoformat()


# The same moment has many texts: they must count as one version.
NOTATIONS: tuple[Callable[[datetime], str], ...] = (
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    lambda moment: moment.strftime("%Y-%m-%d %H:%M"),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S,000000999+00"),  # below a microsecond: cut
    lambda moment: moment.strftime("%Y-%m-%d" if moment.hour == 0 else "%Y-%m-%dT%H:%M:%S.000Z"),
    lambda moment: _at(-480)(moment).replace("-08:00", "-0800"),
    _at(330),
    _at(840),
)


def as_written(record: Record) -> str:
    """The JSON text of a record; a text value `<1.50>` becomes the bare number 1.50, which no float could keep."""
    present = {name: value for name, value in record.items() if value is not ABSENT}
    return re.sub(r'"<([^">]*)>"', r"\1", json.dumps(present))


def times(moments: tuple[datetime, ...]) -> st.SearchStrategy[str]:
    """One of the moments, in one of the notations."""
    return st.builds(lambda moment, notation: notation(moment), st.sampled_from(moments), st.sampled_from(NOTATIONS))


MONEY = st.sampled_from([3, "<0>", "<1.5>", "<1.50>", "<0.0001>", "<12.34000>", "<2e1>", "<-4.125>", "12.50"])

ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "sku": st.sampled_from(["SKU-1", "SKU-2", "SKU-3", "SKU-9", 42]),
            "qty": st.sampled_from([1, 2, 5, "2", "<2.0>", 0, -1]),
            "price": MONEY | st.none() | st.just(ABSENT),
        }
    ).map(lambda item: {name: value for name, value in item.items() if value is not ABSENT}),
    max_size=4,
)

METADATA = st.fixed_dictionaries(
    {}, optional={"source": st.sampled_from(["web", "app", None]), "promo": st.sampled_from(["SPRING", None])}
)


def good_orders(order_ids: list[str]) -> st.SearchStrategy[Record]:
    """Valid records of the given orders."""
    return st.fixed_dictionaries(
        {
            "order_id": st.sampled_from(order_ids),
            "user_id": st.sampled_from(["u1", "u2", "u3", "u9", 7, None]),
            "amount": MONEY | st.none() | st.just(ABSENT),
            "currency": st.sampled_from(["EUR", "USD", "JPY", None, ABSENT]),
            "created_at": times(CREATED),
            "updated_at": times(UPDATED) | st.sampled_from([None, ABSENT]),
            "deleted": st.sampled_from([ABSENT, ABSENT, ABSENT, False, None, True]),
            "items": ITEMS | st.sampled_from([[], None, ABSENT]),
            "metadata": METADATA | st.sampled_from([None, ABSENT]),
            "gift_note": st.sampled_from([ABSENT, ABSENT, ABSENT, "for \u00e9lan \U0001f381"]),  # drift, no content
        }
    )


# Each of these, put into a valid record, breaks one rule and leaves well-formed JSON.
NO_ITEMS: list[Any] = [{}, "none", [None], ["SKU-1"]]
NO_SKU: list[Any] = [None, "", ["SKU-1"]]
NO_QTY: list[Any] = [None, "<1.5>", "two", 2**31, True]
NO_PRICE: list[Any] = ["free", "<0.00001>", {}]
WRONG: tuple[Record, ...] = (
    *({"order_id": value} for value in (ABSENT, None, "", {"id": 1})),
    *({"created_at": value} for value in (ABSENT, None, "", "yesterday", "2024-13-01", "2024-03-01T24:01", 1709290800)),
    *({"updated_at": value} for value in ("", "2024-03-01T12:00:60Z", "1899-12-31T23:59:59Z", 1709290800)),
    *({"amount": value} for value in ("1,25", "<1.23456>", "<123456789012345>", "", True, [1])),
    *({"deleted": value} for value in ("true", 1)),
    *({"items": value} for value in NO_ITEMS),
    *({"items": [{"sku": sku, "qty": 1, "price": 1}]} for sku in NO_SKU),
    *({"items": [{"sku": "SKU-1", "qty": qty, "price": 1}]} for qty in NO_QTY),
    *({"items": [{"sku": "SKU-1", "qty": 1, "price": price}]} for price in NO_PRICE),
    {"items": [{"sku": "SKU-1", "qty": 1, "price": 1}, {"qty": 1}]},
    {"metadata": []},
    {"metadata": {"source": {"name": "web"}}},
    {"user_id": "u\0"},
)

# Each of these makes of a well-formed text one that is not.
BREAKS: tuple[Callable[[str], str], ...] = (
    lambda text: text[: len(text) // 2],
    lambda text: text[:-1],
    lambda text: text + "}",
    lambda text: text + " " + text,
    lambda text: '{"order_id": "again", ' + text[1:],
    lambda text: text[:-1] + ', "weight": NaN}',
    lambda text: text[:-1] + ', "note": "\\ud800"}',
    lambda text: text.replace('"', "'"),
    lambda text: text[:-1] + ",}",
    lambda _: "order o1 was paid",
)


@st.composite
def files(draw: st.DrawFn, *, name: str, well_formed: list[str], broken: list[str]) -> DroppedFile:
    """One file that samples the texts of its history; a text that is no JSON goes into JSON Lines only."""
    layout: Layout = draw(st.sampled_from(("lines", "array")))
    texts = well_formed + broken if layout == "lines" else well_formed
    records = draw(st.lists(st.sampled_from(texts), max_size=6))
    extension = "jsonl" if layout == "lines" else "json"
    letter = draw(st.sampled_from("abc"))  # so that paths do not sort as they arrive
    return DroppedFile(f"{letter}_{name}.{extension}", draw(st.sampled_from(FILE_TIMES)), layout, tuple(records))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """1 to 5 batches of 1 to 3 files about 3 to 6 orders; file names differ within a history.

    All files sample one pool of texts: this is what repeats a record in a file, in a batch and over batches, and brings
    an older version after a newer one or after a deletion. In a rising history, newer versions join the pool batch by
    batch, so that tables are updated often.
    """
    order_ids = [f"o{number}" for number in range(1, draw(st.integers(3, 6)) + 1)]
    orders = good_orders(order_ids)
    good = draw(st.lists(orders.map(as_written), min_size=6, max_size=24))
    wrong = draw(
        st.lists(st.builds(lambda order, fault: as_written(order | fault), orders, st.sampled_from(WRONG)), max_size=3)
    )
    wrong += draw(st.lists(st.sampled_from(["null", "7", '"o1"', "true"]), max_size=1))
    broken = draw(
        st.lists(st.builds(lambda text, fault: fault(text), st.sampled_from(good), st.sampled_from(BREAKS)), max_size=3)
    )
    count = draw(st.integers(1, 5))
    pools = [good] * count
    if draw(st.booleans()):
        rising = sorted(good, key=lambda text: read_order(text).version_at)
        pools = [rising[: ceil(len(rising) * batch / count)] for batch in range(1, count + 1)]
    return tuple(
        tuple(
            draw(files(name=f"{batch}_{number}", well_formed=pool + wrong, broken=broken))
            for number in range(draw(st.integers(1, 3)))
        )
        for batch, pool in enumerate(pools, start=1)
    )


# --- seeded orders in bulk ------------------------------------------------------------------------------------------

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 80


def generate_orders(seed: int, count: int) -> Iterator[Record]:
    """`count` orders of 1 to 7 lines over 80 days; 5 % come in an older version too, half of these at the very end."""
    rng = random.Random(seed)  # noqa: S311 - test data
    late: list[Record] = []
    for number in range(count):
        created_at = FIRST_DAY + timedelta(seconds=rng.randrange(DAYS * 86_400))
        items = [_random_item(rng) for _ in range(rng.randint(1, 7))]
        order = {
            "order_id": f"o-{number:08d}",
            "user_id": f"u-{rng.randrange(1, count // 10 + 2):06d}",
            "amount": _total(items),
            "currency": rng.choice(("EUR", "EUR", "EUR", "USD", "GBP")),
            "created_at": created_at.isoformat(),
            "items": items,
            "metadata": {"source": rng.choice(("web", "app", "shop")), "promo": rng.choice((None, None, "SPRING"))},
        }
        if rng.random() < 0.05:
            older_items = [*items, _random_item(rng)]
            older = order | {"items": older_items, "amount": _total(older_items)}
            order["updated_at"] = (created_at + timedelta(hours=rng.randint(1, 240))).isoformat()
            if rng.random() < 0.5:
                late.append(older)
            else:
                yield older
        yield order
    yield from late


def correct(orders: Iterable[Record], seed: int, *, share: float = 0.02) -> Iterator[Record]:
    """A version 30 days after `created_at` with other quantities, for a share of the orders."""
    for order, rng in _chosen(orders, f"correct {seed}", share):
        items = [item | {"qty": item["qty"] + rng.randint(1, 3)} for item in order["items"]]
        yield order | {"items": items, "amount": _total(items), "updated_at": _later(order, 30)}


def shrink(orders: Iterable[Record], seed: int, *, share: float = 0.02) -> Iterator[Record]:
    """A version 60 days after `created_at` with fewer items, perhaps none, for a share of the orders."""
    for order, rng in _chosen(orders, f"shrink {seed}", share):
        kept = sorted(rng.sample(range(len(order["items"])), rng.randrange(len(order["items"]))))
        items = [order["items"][index] for index in kept]
        yield order | {"items": items, "amount": _total(items), "updated_at": _later(order, 60)}


def _chosen(orders: Iterable[Record], salt: str, share: float) -> Iterator[tuple[Record, random.Random]]:
    """A share of the orders, each once however many versions it has, with a generator of its own."""
    seen: set[str] = set()
    for order in orders:
        rng = random.Random(f"{salt} {order['order_id']}")  # noqa: S311 - test data
        if order["order_id"] not in seen and rng.random() < share:
            seen.add(order["order_id"])
            yield order, rng


def _random_item(rng: random.Random) -> Record:
    return {
        "sku": f"SKU-{rng.randrange(1, 501):04d}",
        "qty": rng.randint(1, 5),
        "price": rng.randint(100, 20_000) / 100,
    }


def _total(items: list[Record]) -> float:
    """The sum of the items, counted in cents so that it is exact."""
    cents: int = sum(item["qty"] * round(item["price"] * 100) for item in items)
    return cents / 100


def _later(order: Record, days: int) -> str:
    return (datetime.fromisoformat(order["created_at"]) + timedelta(days=days)).isoformat()
