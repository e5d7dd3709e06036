"""Orders for the benchmark: the same seed and scale give the same bytes on every machine.

    python bench/generate.py FOLDER --scale 1

Scale 1 is 1.5 million orders with 6 million lines over 90 days (about 620 MB); 5 % of the orders come in an older
version too. Beside `load/` there are batches of 1 %: `recent/` (new orders and corrections of the last days), `spread/`
(corrections over all days), and `tiny/` (150 orders).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ORDERS_AT_SCALE_1 = 1_500_000
DAYS = 90
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
FILES = 8
TINY = 150

Order = dict[str, Any]


def order(number: int, orders: int) -> Order:
    """The first version of one order, from its number alone."""
    rng = random.Random(number)  # noqa: S311 - test data
    # Numbers rise with time, as they do in a shop.
    created = FIRST_DAY + timedelta(seconds=int(number * DAYS * 86_400 / orders), milliseconds=rng.randrange(1000))
    items = [
        {"sku": f"SKU-{rng.randrange(20_000):05}", "qty": rng.randint(1, 5), "price": rng.randrange(99, 50_000) / 100}
        for _ in range(rng.randint(1, 7))
    ]
    return {
        "order_id": f"ORD-2024-{number:09}",
        "user_id": f"user-{rng.randrange(orders // 5 + 1):07}",
        "amount": total(items),
        "currency": rng.choice(("EUR", "EUR", "USD", "GBP")),
        "created_at": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "items": items,
        "metadata": {"source": rng.choice(("web", "app", "store")), "promo": rng.choice((None, None, "SPRING24"))},
    }


def total(items: list[Order]) -> float:
    """The sum of the lines, in cents and so exact."""
    cents: int = sum(item["qty"] * round(item["price"] * 100) for item in items)
    return cents / 100


def corrected(first: Order, days_later: int) -> Order:
    """A later version: one more of the first item, and the last one gone if there were several."""
    items = [first["items"][0] | {"qty": first["items"][0]["qty"] + 1}, *first["items"][1:-1]]
    updated = datetime.fromisoformat(first["created_at"]) + timedelta(days=days_later)
    return first | {"items": items, "amount": total(items), "updated_at": updated.isoformat()}


def load(orders: int) -> Iterator[Order]:
    """All orders; every twentieth in an older version before it."""
    for number in range(orders):
        first = order(number, orders)
        if number % 20 == 0:
            yield first
            yield corrected(first, 1)
        else:
            yield first


def recent(orders: int) -> Iterator[Order]:
    """1 %: half new orders after the last day, half corrections of the last three days."""
    half = orders // 200
    for number in range(orders, orders + half):
        yield order(number, orders)
    last_days = range(orders - orders * 3 // DAYS, orders)
    for number in last_days[:: max(len(last_days) // half, 1)][:half]:
        yield corrected(order(number, orders), 5)


def spread(orders: int) -> Iterator[Order]:
    """1 %: corrections over all days."""
    for number in range(7, orders, 100):
        yield corrected(order(number, orders), 9)


def tiny(orders: int) -> Iterator[Order]:
    """150 corrections of the last day."""
    for number in range(orders - TINY, orders):
        yield corrected(order(number, orders), 20)


def write(folder: Path, orders: Iterator[Order], files: int = 1) -> None:
    """Write orders as JSON Lines, dealt out to files in runs, so that each file is a stretch of time."""
    folder.mkdir(parents=True, exist_ok=True)
    streams = [(folder / f"part-{at:02}.jsonl").open("w", encoding="utf-8") for at in range(files)]
    for at, found in enumerate(orders):
        streams[at // 50_000 % files].write(json.dumps(found, separators=(",", ":")) + "\n")
    for stream in streams:
        stream.close()


def main() -> None:
    """Write the load and the batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=0.1)
    arguments = parser.parse_args()
    orders = int(ORDERS_AT_SCALE_1 * arguments.scale)
    write(arguments.folder / "load", load(orders), FILES)
    for batch in (recent, spread, tiny):
        write(arguments.folder / batch.__name__, batch(orders))


if __name__ == "__main__":
    main()
