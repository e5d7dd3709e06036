"""What the tables must hold after any run of batches, in plain Python: slow, small and made to be read.

The job is held against this oracle, so it shares no line with it. The state is one arrival for each order (its current
version); every table is worked out anew from that state when it is asked for.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

OUTCOMES = ("rejected", "out_of_window", "superseded", "stale", "unchanged", "inserted", "updated")

Row = dict[str, Any]
LineKey = tuple[str, int]
DailyKey = tuple[date, str, str, str, str]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2}|\d{8}(?=[Tt ]))(?:[Tt ](\d{2}):?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?"
    r"(?: ?(?:[Zz]|UTC|GMT|([+-])(\d{2})(?::?(\d{2}))?)(?:\[[^\[\]!]{1,64}\]){0,4})?)?",
    re.ASCII,
)
LONGEST_ID = 1024
"""Bytes of UTF-8."""
LARGEST_OFFSET = timedelta(hours=18)


class RecordError(ValueError):
    """The record is rejected; the message says why."""


class Item(NamedTuple):
    """One line of an order, as it was sent."""

    sku: str
    qty: int
    price: Decimal | None


@dataclass(frozen=True)
class Order:
    """The content of a valid record, normalised: two records say the same exactly when their orders are equal."""

    order_id: str
    created_at: datetime
    version_at: datetime
    user_id: str | None
    amount: Decimal | None
    currency: str | None
    source: str | None
    promo: str | None
    is_deleted: bool
    items: tuple[Item, ...]

    @property
    def order_date(self) -> date:
        """The UTC date of `created_at`."""
        return self.created_at.date()

    @property
    def lines(self) -> tuple[Item, ...]:
        """The items that count: a deleted order has none."""
        return () if self.is_deleted else self.items


@dataclass(frozen=True)
class LandedFile:
    """One input file: its path, its modification time in epoch milliseconds, its raw records in file order."""

    path: str
    modified_at: int
    records: Sequence[str]


class Arrival(NamedTuple):
    """A valid record and where it came from."""

    order: Order
    modified_at: int
    path: str
    position: int

    @property
    def rank(self) -> tuple[datetime, int, str]:
        """What decides between a record and the table's row; the greater wins."""
        return self.order.version_at, self.modified_at, self.path


@dataclass
class Quarantined:
    """Why a raw text was rejected, and how often it was met."""

    reason: str
    occurrences: int = 0


@dataclass
class BatchResult:
    """What became of a batch: how many records had each of the seven outcomes, and the order ids in conflict."""

    outcomes: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OUTCOMES, 0)))
    conflicts: set[str] = field(default_factory=set)


@dataclass
class Warehouse:
    """The tables after the batches loaded so far."""

    current: dict[str, Arrival] = field(default_factory=dict)
    quarantine: dict[tuple[str, str], Quarantined] = field(default_factory=dict)

    def load(
        self, files: Iterable[LandedFile], *, since: datetime | None = None, until: datetime | None = None
    ) -> BatchResult:
        """Take one batch; only versions with `since <= version_at < until` (aware times) compete."""
        result = BatchResult()
        competing: defaultdict[str, list[Arrival]] = defaultdict(list)
        for file in files:
            for position, raw in enumerate(file.records):
                try:
                    order = read_order(raw)
                except RecordError as error:
                    self.quarantine.setdefault((file.path, raw), Quarantined(str(error))).occurrences += 1
                    result.outcomes["rejected"] += 1
                    continue
                if (since and order.version_at < since) or (until and order.version_at >= until):
                    result.outcomes["out_of_window"] += 1
                else:
                    competing[order.order_id].append(Arrival(order, file.modified_at, file.path, position))
        for order_id, arrivals in competing.items():
            winner = max(arrivals, key=lambda arrival: (*arrival.rank, arrival.position))
            stored = self.current.get(order_id)
            outcome = outcome_of(winner, stored)
            result.outcomes["superseded"] += len(arrivals) - 1
            result.outcomes[outcome] += 1
            if is_conflict(arrivals, winner, stored):
                result.conflicts.add(order_id)
            if outcome in ("inserted", "updated"):
                self.current[order_id] = winner
        return result

    @property
    def fact_sales(self) -> dict[LineKey, Row]:
        """One row for each line of the current version of each order."""
        return {
            (order.order_id, line_no): {
                "order_id": order.order_id,
                "line_no": line_no,
                "order_date": order.order_date,
                "created_at": order.created_at,
                "user_id": order.user_id,
                "sku": line.sku,
                "qty": line.qty,
                "unit_price": line.price,
                "line_amount": None if line.price is None else line.qty * line.price,
                "currency": order.currency,
                "version_at": order.version_at,
            }
            for order in self._orders()
            for line_no, line in enumerate(order.lines, start=1)
        }

    @property
    def dim_order(self) -> dict[str, Row]:
        """One row for each order, deleted ones too."""
        return {
            order.order_id: {
                "order_id": order.order_id,
                "order_date": order.order_date,
                "created_at": order.created_at,
                "version_at": order.version_at,
                "user_id": order.user_id,
                "amount": order.amount,
                "currency": order.currency,
                "source": order.source,
                "promo": order.promo,
                "line_count": len(order.lines),
                "is_deleted": order.is_deleted,
            }
            for order in self._orders()
        }

    def daily_sales(self, users: Mapping[str, str | None], products: Mapping[str, str | None]) -> dict[DailyKey, Row]:
        """Sales by (order_date, currency, country, category, source); users give countries, products categories."""
        orders: defaultdict[DailyKey, set[str]] = defaultdict(set)
        units: Counter[DailyKey] = Counter()
        revenue: defaultdict[DailyKey, Decimal] = defaultdict(Decimal)
        for order in self._orders():
            country = users.get(order.user_id) if order.user_id is not None else None
            for line in order.lines:
                names = (order.currency, country, products.get(line.sku), order.source)
                currency, place, category, source = ("unknown" if name is None else name for name in names)
                key = (order.order_date, currency, place, category, source)
                orders[key].add(order.order_id)
                units[key] += line.qty
                revenue[key] += 0 if line.price is None else line.qty * line.price
        return {key: {"orders": len(orders[key]), "units": units[key], "revenue": revenue[key]} for key in orders}

    def _orders(self) -> Iterator[Order]:
        return (arrival.order for arrival in self.current.values())


def outcome_of(winner: Arrival, stored: Arrival | None) -> str:
    """The outcome of a batch's winner against the table's row of the same order."""
    if stored is None:
        return "inserted"
    if winner.order == stored.order:  # the version is a part of the content
        return "unchanged"
    return "stale" if stored.rank > winner.rank else "updated"


def is_conflict(arrivals: Iterable[Arrival], winner: Arrival, stored: Arrival | None) -> bool:
    """Whether one version of an order has two contents: within the batch, or between its winner and the table."""
    contents = {arrival.order for arrival in arrivals}
    versions = {order.version_at for order in contents}
    if len(contents) > len(versions):
        return True
    if stored is None or winner.order.version_at != stored.order.version_at:
        return False
    return winner.order != stored.order


def read_order(raw: str) -> Order:
    """The order that a raw record holds. Raises RecordError for what a run must reject."""
    record = read_object(raw)
    order_id = read_text(record, "order_id", most=LONGEST_ID)
    if not order_id:
        raise RecordError("order_id is missing")
    created_at = read_time(record, "created_at")
    if created_at is None:
        raise RecordError("created_at is missing")
    deleted = record.get("deleted")
    if deleted not in (None, True, False):
        raise RecordError("deleted is neither true nor false")
    items = record.get("items")
    if not isinstance(items, list | None):
        raise RecordError("items is no array")
    metadata = record.get("metadata")
    if not isinstance(metadata, dict | None):
        raise RecordError("metadata is no object")
    return Order(
        order_id=order_id,
        created_at=created_at,
        version_at=read_time(record, "updated_at") or created_at,
        user_id=read_text(record, "user_id", most=LONGEST_ID),
        amount=read_money(record, "amount"),
        currency=read_text(record, "currency", most=512),
        source=read_text(metadata or {}, "source", most=512),
        promo=read_text(metadata or {}, "promo", most=65_535),
        is_deleted=deleted is True,
        items=tuple(read_item(item) for item in items or []),
    )


def read_item(item: object) -> Item:
    """One element of `items`; a broken one rejects its order."""
    if not isinstance(item, dict):
        raise RecordError("an item is no object")
    sku = read_text(item, "sku", most=LONGEST_ID)
    qty = read_number(item, "qty", decimals=0)
    if not sku:
        raise RecordError("an item has no sku")
    if qty is None or not -(2**31) <= qty < 2**31:
        raise RecordError("an item has no 32-bit qty")
    return Item(sku, int(qty), read_money(item, "price"))


def read_object(raw: str) -> dict[str, Any]:
    """The JSON object of a raw record, read strictly; a number comes as its text, so that nothing is rounded."""
    try:
        record = json.loads(
            raw.removeprefix("\ufeff"),
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_members,
        )
        bad_text = any("\0" in text for text in _texts(record))
    except (ValueError, RecursionError) as error:  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        raise RecordError(f"not well-formed: {error}") from error
    if bad_text:
        raise RecordError("NUL in a text")
    if not isinstance(record, dict):
        raise RecordError("not an object")
    return record


def read_text(parent: dict[str, Any], name: str, *, most: int | None = None) -> str | None:
    """A text member of so many bytes of UTF-8 at most; a number or a boolean counts as its text."""
    value = parent.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | None):
        raise RecordError(f"{name} is no text")
    if most is not None and len((value or "").encode()) > most:
        raise RecordError(f"{name} is longer than {most} bytes")
    return value


def read_money(parent: dict[str, Any], name: str) -> Decimal | None:
    """An amount with at most 14 integer digits and 4 decimals, trailing zeros aside."""
    return read_number(parent, name, decimals=4)


def read_number(parent: dict[str, Any], name: str, *, decimals: int) -> Decimal | None:
    """A number, or a string that holds one; never rounded."""
    value = parent.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise RecordError(f"{name} is no number")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise RecordError(f"{name} has an impossible exponent") from error
    if number == 0:
        return Decimal(0)
    if not -decimals <= number.adjusted() < 14 or number != number.quantize(Decimal(1).scaleb(-decimals)):
        raise RecordError(f"{name} has more than 14 integer digits or {decimals} decimals")
    return number


def read_time(parent: dict[str, Any], name: str) -> datetime | None:
    """An ISO 8601 date or time in UTC, cut to microseconds; without a zone it is UTC. No JSON number looks like one."""
    value = parent.get(name)
    if value is None:
        return None
    parts = TIME.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        raise RecordError(f"{name} is no ISO 8601 time")
    day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = parts.groups(default="")
    offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    if offset > LARGEST_OFFSET or int(zone_minutes or 0) > 59:
        raise RecordError(f"{name} has an impossible offset")
    is_end_of_day = hour == "24" and {minute, second or "00", fraction.rstrip("0")} <= {"00", ""}
    try:
        hours = 0 if is_end_of_day else int(hour or 0)
        clock = time(hours, int(minute or 0), int(second or 0), int(fraction[:6].ljust(6, "0")), UTC)
        moment = datetime.combine(date.fromisoformat(day), clock) - (-offset if sign == "-" else offset)
        moment += timedelta(days=is_end_of_day)
    except (ValueError, OverflowError) as error:
        raise RecordError(f"{name} is no time that exists: {error}") from error
    if moment.year < 1900:
        raise RecordError(f"{name} is before 1900")
    return moment


def _refuse_constant(name: str) -> None:
    raise RecordError(f"{name} is no JSON number")


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(members)
    if len(unique) < len(members):
        raise RecordError("an object has one name twice")
    return unique


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, names too. Raises UnicodeEncodeError for a lone surrogate."""
    if isinstance(value, str):
        value.encode("utf-8")
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _texts(name)
            yield from _texts(member)
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)
