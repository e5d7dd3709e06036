"""Prints, taps and pays for the benchmark: the same seed, scale and dirt give the same bytes on every machine.

    python bench/generate_events.py FOLDER --scale 1

Scale 1 is a month of a wallet's start page: 508,617 prints, 50,859 taps and 756,483 pays of some 100,000 users and the
7 value propositions, as `prints.jsonl`, `taps.jsonl` and `pays.csv`, in the order of their days. `--dirt 0.05` makes
about 5 % of the records of each file dirty, in the ways of `EVENT_DIRT` and `PAY_DIRT` by turns; the other records stay
as they are without it.
"""

from __future__ import annotations

import argparse
import calendar
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

PRINTS_AT_SCALE_1 = 508_617
TAPS_AT_SCALE_1 = 50_859
PAYS_AT_SCALE_1 = 756_483
USERS_AT_SCALE_1 = 100_000
FEWEST_USERS = 10
LARGEST_TOTAL = 30_000  # cents
MONTH = "2020-11"
VALUE_PROPS = (
    "cellphone_recharge",
    "credits_consumer",
    "link_cobro",
    "point",
    "prepaid",
    "send_money",
    "transport",
)
# What one user may see on one day; the first of them at position 0.
SHELVES = tuple(itertools.permutations(VALUE_PROPS, 4))
PAY_HEADER = "pay_date,total,user_id,value_prop"

Print = tuple[str, int, str, int]
"""Day, position, value proposition, user."""
Pay = tuple[str, str, int, str]
"""Day, total, user, value proposition."""
Event = dict[str, Any]


def days_of(month: str) -> list[str]:
    """The days of a month such as `2020-11`."""
    first = date.fromisoformat(f"{month}-01")
    return [str(first.replace(day=day)) for day in range(1, calendar.monthrange(first.year, first.month)[1] + 1)]


def shares(count: int, days: Sequence[str]) -> Iterator[tuple[str, int]]:
    """How many of `count` records fall on each day: equally many, as far as that goes."""
    for at, day in enumerate(days):
        yield day, count * (at + 1) // len(days) - count * at // len(days)


def skewed(random_number: Callable[[], float], greatest: int) -> int:
    """A whole number from 1 on, small ones more often: half of them are within the first quarter."""
    number = random_number()
    return int(greatest * number * number) + 1


def prints(count: int, users: int, days: Sequence[str], seed: int) -> Iterator[Print]:
    """Exactly `count` prints, no two of them equal; a user sees 1 to 4 value propositions on a day, or none.

    At scale 1 the first hundred users come on most days, the last ones about once a month.
    """
    if count > users * len(days):
        raise ValueError(f"{users} users are too few for {count} prints on {len(days)} days")
    random_number = random.Random(f"prints {seed}").random  # noqa: S311 - test data
    for day, share in shares(count, days):
        seen: set[int] = set()
        left = share
        while left:
            user = skewed(random_number, users)
            if user in seen:
                continue
            seen.add(user)
            size = min(int(4 * random_number()) + 1, left)
            shelf = SHELVES[int(len(SHELVES) * random_number())]
            for position in range(size):
                yield day, position, shelf[position], user
            left -= size


def taps(shown: Iterable[Print], of: int, count: int) -> Iterator[tuple[Print, bool]]:
    """Each of the `of` prints and whether it is tapped: exactly `count` of them, evenly spread."""
    owed = 0
    for one in shown:
        owed += count
        is_tapped = owed >= of
        if is_tapped:
            owed -= of
        yield one, is_tapped


def pays(count: int, users: int, days: Sequence[str], seed: int) -> Iterator[Pay]:
    """Exactly `count` pays of the same users, whatever was printed for them."""
    random_number = random.Random(f"pays {seed}").random  # noqa: S311 - test data
    for day, share in shares(count, days):
        for _ in range(share):
            total = skewed(random_number, LARGEST_TOTAL) / 100
            yield day, f"{total:g}", skewed(random_number, users), VALUE_PROPS[int(len(VALUE_PROPS) * random_number())]


def event_line(day: str, position: int, value_prop: str, user: int) -> str:
    """A print or a tap as JSON; `json.dumps` gives the same text, but takes many times as long."""
    return f'{{"day":"{day}","event_data":{{"position":{position},"value_prop":"{value_prop}"}},"user_id":{user}}}'


def compact(event: Event) -> str:
    """JSON without spaces."""
    return json.dumps(event, separators=(",", ":"))


def without(members: Event, name: str) -> Event:
    """A copy without one member."""
    return {key: value for key, value in members.items() if key != name}


def with_data(event: Event, **members: Any) -> Event:
    """A copy with other members in its `event_data`."""
    return event | {"event_data": event["event_data"] | members}


EVENT_DIRT: dict[str, Callable[[Event], str]] = {
    "truncated": lambda event: compact(event)[:-20],
    "no user_id": lambda event: compact(without(event, "user_id")),
    "null user_id": lambda event: compact(event | {"user_id": None}),
    "user_id as text": lambda event: compact(event | {"user_id": str(event["user_id"])}),
    "no value_prop": lambda event: compact(event | {"event_data": without(event["event_data"], "value_prop")}),
    "empty value_prop": lambda event: compact(with_data(event, value_prop="")),
    "unknown value_prop": lambda event: compact(with_data(event, value_prop="gift_card")),
    "no such day": lambda event: compact(event | {"day": "2020-13-45"}),
    "day before 1900": lambda event: compact(event | {"day": "1899-12-31"}),
    "day in words": lambda event: compact(event | {"day": "not a day"}),
    "day as number": lambda event: compact(event | {"day": 20201101}),
    "null position": lambda event: compact(with_data(event, position=None)),
    "negative position": lambda event: compact(with_data(event, position=-1)),
    "extra member": lambda event: compact(event | {"app_version": "2.114"}),
    "duplicate": lambda event: f"{compact(event)}\n{compact(event)}",
    "blank line": lambda event: f"\n{compact(event)}",
}
"""A dirty line, or lines, in place of an event; extra members, texts as user_id and duplicates are valid."""

PAY_DIRT = {
    "blank total": "{day},,{user},{value_prop}",
    "total in words": "{day},abc,{user},{value_prop}",
    "negative total": "{day},-{total},{user},{value_prop}",
    "no user_id": "{day},{total},,{value_prop}",
    "no such day": "2020-13-45,{total},{user},{value_prop}",
    "too few fields": "{day},{total},{user}",
    "too many fields": "{day},{total},{user},{value_prop},EUR",
    "quoted fields": '"{day}","{total}","{user}","{value_prop}"',
    "unknown value_prop": "{day},{total},{user},gift_card",
    "month before": "{month_before},{total},{user},{value_prop}",
    "month after": "{month_after},{total},{user},{value_prop}",
    "duplicate": "{day},{total},{user},{value_prop}\n{day},{total},{user},{value_prop}",
    "blank line": "\n{day},{total},{user},{value_prop}",
}
"""A dirty line, or lines, in place of a pay; negative totals, quotes, other months and duplicates are valid."""


class Dirt:
    """Decides record by record which are dirty, and takes the ways of being dirty by turns."""

    def __init__(self, share: float, file: str, seed: int) -> None:
        """A `share` of the records of one file, which has its own random numbers: the records keep theirs."""
        self._share = share
        self._random_number = random.Random(f"dirt {file} {seed}").random  # noqa: S311 - test data
        self._event_ways = itertools.cycle(EVENT_DIRT.values())
        self._pay_ways = itertools.cycle(PAY_DIRT.values())

    def event(self, line: str) -> str:
        """The line, or what stands in its place."""
        if self._random_number() >= self._share:
            return line
        return next(self._event_ways)(json.loads(line))

    def pay(self, one: Pay) -> str:
        """The pay as a line, or what stands in its place."""
        day, total, user, value_prop = one
        if self._random_number() >= self._share:
            return f"{day},{total},{user},{value_prop}"
        month_before, month_after = (date.fromisoformat(day) + timedelta(days=days) for days in (-31, 31))
        return next(self._pay_ways).format(
            day=day,
            total=total,
            user=user,
            value_prop=value_prop,
            month_before=month_before,
            month_after=month_after,
        )


def generate(folder: Path, *, scale: float = 1, seed: int = 7, dirt: float = 0, month: str = MONTH) -> None:
    """Write the three files; at each scale the days, value propositions and prints a user are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    days = days_of(month)
    users = max(int(USERS_AT_SCALE_1 * scale), FEWEST_USERS)
    print_count, tap_count, pay_count = (
        max(int(count * scale), 1) for count in (PRINTS_AT_SCALE_1, TAPS_AT_SCALE_1, PAYS_AT_SCALE_1)
    )
    on_prints, on_taps, on_pays = (Dirt(dirt, file, seed) for file in ("prints", "taps", "pays"))
    # The same line ends everywhere, else the bytes would depend on the machine.
    with (
        (folder / "prints.jsonl").open("w", encoding="utf-8", newline="\n") as prints_file,
        (folder / "taps.jsonl").open("w", encoding="utf-8", newline="\n") as taps_file,
    ):
        for one, is_tapped in taps(prints(print_count, users, days, seed), print_count, tap_count):
            line = event_line(*one)
            prints_file.write(on_prints.event(line) + "\n")
            if is_tapped:
                taps_file.write(on_taps.event(line) + "\n")
    with (folder / "pays.csv").open("w", encoding="utf-8", newline="\n") as pays_file:
        pays_file.write(PAY_HEADER + "\n")
        for pay in pays(pay_count, users, days, seed):
            pays_file.write(on_pays.pay(pay) + "\n")


def main() -> None:
    """Write the three files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dirt", type=float, default=0, help="share of dirty records, 0 to 1")
    parser.add_argument("--month", default=MONTH, help="such as 2020-11")
    arguments = parser.parse_args()
    generate(arguments.folder, scale=arguments.scale, seed=arguments.seed, dirt=arguments.dirt, month=arguments.month)


if __name__ == "__main__":
    main()
