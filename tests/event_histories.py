"""Random small worlds of prints, taps and pays for the property tests: the same seed gives the same world.

A world has few users, few value propositions and about seven weeks, so that clicks, windows and ties meet often. Its
days are long past and what lies in the future lies in the year 9999: what the clock says does not matter. It always has
a valid print, no line holds a CR but at its end, and a line is broken in one way that cannot be read as another.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from tests.feature_oracle import PAY_COLUMNS, VALUE_PROPS, Options
from tests.histories import ABSENT

Record = dict[str, Any]
File = tuple[bytes, ...]

# Mondays. The weeks of the second and the third go over New Year, those of the last over a 29 February.
BEGINNINGS = (date(2020, 11, 2), date(2020, 11, 30), date(2019, 11, 25), date(2024, 1, 29))

# A user id and the ways to write it in JSON: `<7>` stands for the bare number 7.
USERS: dict[str, tuple[Any, ...]] = {
    "98702": ("98702", "<98702>"),
    "7": ("7", "<7>"),
    "98702.0": ("98702.0", "<98702.0>"),  # not the user 98702
    "0098702": ("0098702",),
    "12345678901234567890": ("12345678901234567890", "<12345678901234567890>"),  # no double holds it
    "true": ("true", True),
    "U-1": ("U-1",),
    "u-1": ("u-1",),
    "a,b": ("a,b",),
    'say "hi"': ('say "hi"',),
    "\u00e9lan": ("\u00e9lan",),
    # By their bytes these two stand in this order, by UTF-16 in the other.
    "\uff5eu": ("\uff5eu",),
    "\U0001f381": ("\U0001f381",),
}
UNKNOWN_PROPS = ("gift_card", "Point", "5")

# Positions as they are written, the plain ones more often.
POSITIONS: tuple[Any, ...] = (
    *(*range(4), *range(4)),
    *("2", "1.0", "<1.0>", "<2e0>", "<-0.0>", None, ABSENT, -1, 2**31 - 1),
)
TOTALS = (
    *("12.5", "12.50", "140.3", "0.0001", "3", "1e2", "1.5E1", "0", "-0.00", "-3.25", "1.50000"),
    *("99999999999999.9999", "12500e-3", "+5", ".5", "5.", " 1 "),
)


@dataclass(frozen=True)
class World:
    """The lines of every file, without their LF, and how the run is asked for."""

    prints: tuple[File, ...]
    taps: tuple[File, ...]
    pays: tuple[File, ...]
    options: Options
    ends_with_newline: bool


def write_world(folder: Path, world: World) -> None:
    """Write the files of a world into the folders prints, taps and pays."""
    for name, ending, files in (
        ("prints", "jsonl", world.prints),
        ("taps", "jsonl", world.taps),
        ("pays", "csv", world.pays),
    ):
        (folder / name).mkdir(parents=True)
        for number, lines in enumerate(files, start=1):
            content = b"".join(line + b"\n" for line in lines)
            if not world.ends_with_newline and lines and lines[-1].strip():  # else the last line would be gone
                content = content.removesuffix(b"\n")
            (folder / name / f"part-{number}.{ending}").write_bytes(content)


def world(seed: int) -> World:
    """The world of a seed."""
    rng = random.Random(seed)  # noqa: S311 - test data
    scene = Scene(rng)
    prints = [scene.event() for _ in range(rng.randint(1, 90))]
    taps = [scene.tap(rng.choice(prints)) for _ in range(rng.randint(0, 40))]
    taps += [scene.event() for _ in range(rng.randint(0, 15))]
    latest = max(event["day"] for event in prints)
    return World(
        prints=scene.json_files([scene.written(event) for event in prints], scene.dirt(prints)),
        taps=scene.json_files([scene.written(event) for event in taps], scene.dirt(prints)),
        pays=tuple(scene.pays_file() for _ in range(rng.randint(1, 2))),
        options=scene.options(date.fromisoformat(latest)),
        ends_with_newline=rng.random() < 0.7,
    )


class Scene:
    """Who and what occurs in a world, and its random numbers."""

    def __init__(self, rng: random.Random) -> None:
        """Choose the users, the value propositions and the days."""
        self.rng = rng
        self.users = rng.sample(sorted(USERS), rng.randint(1, 3))
        self.value_props = rng.sample(VALUE_PROPS, rng.randint(1, 2))
        if rng.random() < 0.3:
            self.value_props.append(rng.choice(UNKNOWN_PROPS))
        self.beginning = rng.choice(BEGINNINGS)
        self.days = rng.randint(38, 49)  # so that the last week is often not complete
        self.is_dirty = rng.random() < 0.7

    def day(self) -> str:
        """One of the days."""
        return (self.beginning + timedelta(days=self.rng.randrange(self.days))).isoformat()

    def event(self) -> Record:
        """A valid print or tap."""
        place = {"position": self.rng.choice(POSITIONS), "value_prop": self.rng.choice(self.value_props)}
        return self.shuffled(
            {
                "day": self.day(),
                "event_data": self.shuffled(place),
                "user_id": self.rng.choice(USERS[self.rng.choice(self.users)]),
            }
        )

    def tap(self, shown: Record) -> Record:
        """A tap on a print, mostly: often of the same position, else perhaps of another or of none."""
        place = dict(shown["event_data"])
        if self.rng.random() < 0.5:
            place["position"] = self.rng.choice(POSITIONS)
        return self.shuffled({**shown, "event_data": self.shuffled(place)})

    def shuffled(self, record: Record) -> Record:
        """The members in another order, without those that are ABSENT, perhaps with one that nobody reads."""
        members = [(name, value) for name, value in record.items() if value is not ABSENT]
        if self.rng.random() < 0.05:
            members.append(("source", "app \u00e9"))
        if self.rng.random() < 0.3:
            self.rng.shuffle(members)
        return dict(members)

    def written(self, record: Record) -> bytes:
        """One of the JSON texts of a record."""
        text = json.dumps(
            {name: value for name, value in record.items() if value is not ABSENT},
            ensure_ascii=self.rng.random() < 0.5,
            separators=(",", ":") if self.rng.random() < 0.8 else (", ", ": "),
        )
        return re.sub(r'"<([^">]*)>"', r"\1", text).encode("utf-8", "surrogatepass")

    def dirt(self, events: Sequence[Record]) -> list[bytes]:
        """Lines that are rejected, for what they say or because they cannot be read."""
        if not self.is_dirty:
            return []
        faults = self.rng.choices(WRONG, k=self.rng.randint(0, 8))
        faults += self.rng.choices(UNREADABLE, k=self.rng.randint(0, 3))
        lines = [
            self.written(self.rng.choice(events) | self.rng.choice((*WRONG, *[{}] * len(WRONG))) | fault)
            for fault in faults
        ]
        lines += [self.rng.choice(BREAKS)(self.written(self.rng.choice(events))) for _ in range(self.rng.randint(0, 4))]
        return lines + self.rng.sample(NO_OBJECTS, self.rng.randint(0, 1))

    def json_files(self, good: list[bytes], dirt: list[bytes]) -> tuple[File, ...]:
        """One or two files of all these lines, some of them twice."""
        lines = self.mixed(good + dirt)
        if self.rng.random() < 0.6:
            return (self.ended(lines),)
        cut = self.rng.randint(0, len(lines))
        return self.ended(lines[:cut]), self.ended(lines[cut:])

    def mixed(self, lines: list[bytes]) -> list[bytes]:
        """The lines with repeated and blank ones among them, in any order."""
        repeated = self.rng.choices(lines, k=self.rng.randint(0, 6)) if lines else []
        blank = self.rng.choices((b"", b" ", b"\t", b" \t "), k=self.rng.choice((0, 0, 1, 3)))
        everything = lines + repeated + blank
        self.rng.shuffle(everything)
        return everything

    def ended(self, lines: list[bytes]) -> File:
        """The lines of a file, which has LF or CRLF at their ends."""
        return tuple(line + b"\r" for line in lines) if self.rng.random() < 0.2 else tuple(lines)

    def pays_file(self) -> File:
        """A CSV file: the columns in any order, perhaps with another one, perhaps with its header again."""
        columns = list(PAY_COLUMNS)
        if self.rng.random() < 0.4:
            columns.append("channel")
        if self.rng.random() < 0.6:
            self.rng.shuffle(columns)
        header = ",".join(f'"{name}"' if self.rng.random() < 0.05 else name for name in columns).encode()
        lines = [self.pay(columns, {}) for _ in range(self.rng.randint(0, 60))]
        if self.is_dirty:
            lines += [self.pay(columns, self.rng.choice(WRONG_PAYS)) for _ in range(self.rng.randint(0, 8))]
            lines += [self.broken_pay(columns) for _ in range(self.rng.randint(0, 4))]
        body = self.mixed(lines + [header] * self.rng.choice((0, 0, 0, 1, 2)))
        return self.ended([*self.rng.choice(([], [], [], [b" "])), header, *body])

    def pay(self, columns: Sequence[str], fault: dict[str, str]) -> bytes:
        """One line of a CSV file, valid where there is no fault."""
        values = {
            "pay_date": self.day(),
            "total": self.rng.choice(TOTALS),
            "user_id": self.rng.choice(self.users),
            "value_prop": self.rng.choice(self.value_props),
            "channel": self.rng.choice(("web", "", "a,b")),
        } | fault
        return ",".join(self.field(values[name]) for name in columns).encode("utf-8", "surrogateescape")

    def field(self, value: str) -> str:
        """A CSV field, in quotes where it must be and sometimes where it need not."""
        if "," in value or '"' in value or self.rng.random() < 0.1:
            return '"' + value.replace('"', '""') + '"'
        return value

    def broken_pay(self, columns: Sequence[str]) -> bytes:
        """A line of a CSV file that cannot be read."""
        return self.rng.choice(CSV_BREAKS)(self.pay(columns, {}))

    def options(self, latest: date) -> Options:
        """A week, a week in the past, the last complete week, or a backfill."""
        rng = self.rng
        window: Literal["calendar", "rolling"] = rng.choice(("calendar", "calendar", "rolling"))
        weeks = rng.choice((3, 3, 3, 1, 2, 5))
        if rng.random() < 0.35:
            first = min(latest, self.beginning + timedelta(days=rng.randrange(self.days)))
            last = first + timedelta(days=rng.randint(0, 40)) if rng.random() < 0.7 else None
            return Options(first=first, last=last, window=window, window_weeks=weeks)
        as_of = self.beginning + timedelta(days=rng.randint(-3, self.days + 14)) if rng.random() < 0.5 else None
        return Options(
            as_of=as_of,
            window=window,
            window_weeks=weeks,
            target_week=rng.choice(("reference", "reference", "last_complete")),
        )


# --- dirt -----------------------------------------------------------------------------------------------------------

NO_DATES = (
    *("", "2020-13-01", "2021-02-29", "2020-11-1", "20201101", " 2020-11-01", "2020-11-01T00:00:00Z", "1899-12-31"),
)
NO_TOTALS = ("abc", "1,5", "0.00001", "100000000000000", "1e14", "1_0", "NaN", "0x1", "5 EUR")

# Each of these, put into a valid record, breaks a rule and leaves well-formed JSON.
WRONG_USERS: tuple[Any, ...] = (ABSENT, None, "")
WRONG_DAYS: tuple[Any, ...] = (ABSENT, None, "9999-12-31", "0000-00-00", "<20201101>", True, *NO_DATES)
WRONG_POSITIONS: tuple[Any, ...] = ("", "one", "<1.5>", "<1e10>", 2**31, -(2**31) - 1, True, " 1", "+-1")
WRONG_PLACES: tuple[Any, ...] = (
    *(ABSENT, None, {}, {"value_prop": None}, {"position": 0, "value_prop": ""}, {"position": "x"}),
    *({"position": value, "value_prop": "point"} for value in WRONG_POSITIONS),
)
WRONG: tuple[Record, ...] = (
    *({"user_id": value} for value in WRONG_USERS),
    *({"day": value} for value in WRONG_DAYS),
    *({"event_data": value} for value in WRONG_PLACES),
)

# Each of these makes it a record that cannot be read, in JSON that is well-formed still.
NO_TEXTS: tuple[Any, ...] = ({}, {"id": 1}, [], ["98702"])
NO_PLACES: tuple[Any, ...] = ("", "point", 5, False, [], [{}], *({"position": value} for value in NO_TEXTS))
BAD_TEXTS: tuple[Any, ...] = ("\0", "u\0", "\ud800", "u\udc00", ["\udc00 \ud83c"])
UNREADABLE: tuple[Record, ...] = (
    *({"user_id": value} for value in NO_TEXTS),
    *({"day": value} for value in NO_TEXTS),
    *({"event_data": value} for value in NO_PLACES),
    {"event_data": {"position": 1, "value_prop": ["point"]}},
    *({"note": value} for value in BAD_TEXTS),
    {"\0": 1},
)

NO_OBJECTS = (b"null", b"7", b'"98702"', b"true", b"[]", b'[{"day": "2020-11-01"}]')

# Each of these makes of a well-formed text one that is not, or that is not UTF-8.
BREAKS: tuple[Callable[[bytes], bytes], ...] = (
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw[:-1],
    lambda raw: raw + b"}",
    lambda raw: raw + b" " + raw,
    lambda raw: b'{"day": "2020-11-01", ' + raw[1:],
    lambda raw: raw[:-1] + b', "event_data": null}',
    lambda raw: raw[:-1] + b', "weight": NaN}',
    lambda raw: raw[:-1] + b', "weight": 01}',
    lambda raw: raw.replace(b'"', b"'"),
    lambda raw: raw[:-1] + b",}",
    lambda _: b"98702 saw point on 2020-11-01",
    lambda raw: raw[:-1] + b', "note": "\xff"}',
    lambda raw: raw[:-1] + b', "note": "\xed\xa0\x80"}',
)

# Each of these, put into a valid pay, breaks a rule and leaves well-formed CSV.
WRONG_PAYS: tuple[dict[str, str], ...] = (
    *({"pay_date": value} for value in (*NO_DATES, "9999-12-31") if value != " 2020-11-01"),
    *({"total": value} for value in ("", *NO_TOTALS)),
    {"user_id": ""},
    {"user_id": "é" * 513},
    {"value_prop": ""},
    {"user_id": "", "value_prop": "", "total": "", "pay_date": ""},
    {"user_id": "", "total": "-1", "value_prop": "gift_card"},
    {"pay_date": "9999-12-31", "total": "free"},
    {"user_id": "u\0"},
    {"user_id": "u\udcff"},  # the byte FF
)

CSV_BREAKS: tuple[Callable[[bytes], bytes], ...] = (
    lambda raw: raw + b",1",
    lambda raw: raw + b",",
    lambda _: b"2020-11-01",
    lambda _: b"2020-11-01,1",
    lambda raw: raw + b',"open',
    lambda raw: b'"98702"7,' + raw,
)
