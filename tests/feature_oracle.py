"""What a run of the features must give, in plain Python: for every print it looks at every event.

The job is held against this oracle, so it shares no line with it. A dataset is some files, a file its lines without
their LF; a line may end with the CR of a CRLF. Each line is a record of its own, in CSV too.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from tests.oracle import RecordError, read_money, read_number, read_object, read_text

VALUE_PROPS = ("cellphone_recharge", "credits_consumer", "link_cobro", "point", "prepaid", "send_money", "transport")
PAY_COLUMNS = ("pay_date", "total", "user_id", "value_prop")
FINAL_COLUMNS = (
    *("day", "user_id", "position", "value_prop", "clicked"),
    *("views_3w", "clicks_3w", "payments_3w", "amount_3w"),
)

STRUCTURAL = (
    *("not_utf8", "malformed_json", "nul_in_text", "lone_surrogate", "not_an_object", "wrong_type"),
    *("malformed_csv", "wrong_column_count"),
)
REJECTING = (
    *("user_id_given", "value_prop_given", "day_given", "day_is_date", "day_not_in_future", "position_is_whole"),
    *("total_given", "total_is_exact", "numbers_are_plain", "ids_fit"),
)
WARNING = ("position_given", "position_not_negative", "value_prop_known", "total_not_negative")

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
BLANKS = " \t\u00a0\u202f"
SIGNS = re.compile(r"(?<=\d)[.,'\u2019 _\u00a0\u202f](?=\d)")
CURRENCY = re.compile("[$€£¥]|[A-Z]{3}")

File = Sequence[str | bytes]
Row = tuple[date, date, str, int | None, str, int, int, int, int, Decimal]
"""week, day, user_id, position, value_prop, clicked, views, clicks, payments, amount"""


class Event(NamedTuple):
    """A valid print, tap or pay; a pay has no position, the others have no total."""

    day: date
    user_id: str
    value_prop: str
    position: int | None = None
    total: Decimal = Decimal(0)


class Judged(NamedTuple):
    """What a record says, or None where it is rejected; and the rules that it breaks."""

    event: Event | None
    broken: set[str]


@dataclass(frozen=True)
class Options:
    """How a run was asked for; `first` and `last` are --from and --to."""

    as_of: date | None = None
    first: date | None = None
    last: date | None = None
    window: Literal["calendar", "rolling"] = "calendar"
    window_weeks: int = 3
    target_week: Literal["reference", "last_complete"] = "reference"

    def __post_init__(self) -> None:
        """A backfill has a beginning."""
        if self.last is not None and self.first is None:
            raise ValueError("`last` without `first`")

    def window_of(self, day: date) -> tuple[date, date]:
        """The first and the last day that count for a print of this day."""
        after = week_of(day) if self.window == "calendar" else day
        return after - self.window_weeks * WEEK, after - DAY


@dataclass
class Dataset:
    """The valid events of one dataset, and what became of its lines."""

    events: list[Event] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)  # of the valid records
    rejected: int = 0
    blank: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    @property
    def valid(self) -> int:
        """Records that are not rejected, with a warning or without."""
        return len(self.events)

    @property
    def records(self) -> int:
        """Lines that are neither blank nor a header."""
        return self.valid + self.rejected

    @property
    def duplicates(self) -> int:
        """Valid records whose exact text was there before."""
        return len(self.texts) - len(set(self.texts))

    def take(self, raw: bytes, judged: Judged) -> None:
        """Count one record."""
        self.broken.update(judged.broken)
        if judged.event is None:
            self.rejected += 1
        else:
            self.events.append(judged.event)
            self.texts.append(raw)


@dataclass(frozen=True)
class Features:
    """All that a run must give; the rows stand in the order of final.csv."""

    rows: list[Row]
    reference_date: date | None
    target_weeks: list[date]
    complete: dict[date, bool]
    prints: Dataset
    taps: Dataset
    pays: Dataset
    pays_before: int
    pays_after: int

    def final_csv(self) -> str:
        """The text of final.csv."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(FINAL_COLUMNS)
        for _, day, user_id, position, value_prop, *numbers, amount in self.rows:
            writer.writerow((day, user_id, position, value_prop, *numbers, f"{amount:.4f}"))  # None becomes empty
        return text.getvalue()


def features(
    prints: Sequence[File], taps: Sequence[File], pays: Sequence[File], *, today: date, options: Options | None = None
) -> Features:
    """Run over all files; `today` is the UTC date after whose next day a record lies in the future."""
    options = options or Options()
    printed, tapped, paid = read_events(prints, today), read_events(taps, today), read_pays(pays, today)
    latest = max((event.day for event in printed.events), default=None)
    reference = options.as_of or latest
    weeks = target_weeks(options, reference, latest)
    rows = [
        row_of(event, options, printed.events, tapped.events, paid.events)
        for event in printed.events
        if week_of(event.day) in weeks
    ]
    first_day, last_day = used_days(options, weeks)
    return Features(
        rows=sorted(rows, key=final_order),
        reference_date=reference,
        target_weeks=weeks,
        complete={week: is_complete(week, latest) for week in weeks},
        prints=printed,
        taps=tapped,
        pays=paid,
        pays_before=sum(first_day is not None and pay.day < first_day for pay in paid.events),
        pays_after=sum(last_day is not None and pay.day > last_day for pay in paid.events),
    )


# --- weeks and features ---------------------------------------------------------------------------------------------


def week_of(day: date) -> date:
    """The Monday on or before a day."""
    return day - day.weekday() * DAY


def is_complete(week: date, latest: date | None) -> bool:
    """Whether there are prints of the week's Sunday or later."""
    return latest is not None and latest >= week + 6 * DAY


def target_weeks(options: Options, reference: date | None, latest: date | None) -> list[date]:
    """The Mondays of the weeks whose prints become rows; `target_week` does not matter to a backfill."""
    end = options.last or reference
    if end is None:
        return []
    week = week_of(end)
    if options.first is not None:
        weeks: list[date] = []
        while week >= week_of(options.first):
            weeks.insert(0, week)
            week -= WEEK
        return weeks
    if options.target_week == "last_complete":
        if latest is None:
            return []
        while not is_complete(week, latest):
            week -= WEEK
    return [week]


def used_days(options: Options, weeks: list[date]) -> tuple[date | None, date | None]:
    """The first and the last day that the windows of all target weeks may need."""
    if not weeks:
        return None, None
    return options.window_of(weeks[0])[0], options.window_of(weeks[-1] + 6 * DAY)[1]


def row_of(shown: Event, options: Options, prints: list[Event], taps: list[Event], pays: list[Event]) -> Row:
    """The row of one print."""
    first, last = options.window_of(shown.day)

    def in_window(events: list[Event]) -> list[Event]:
        return [event for event in events if is_alike(event, shown) and first <= event.day <= last]

    return (
        week_of(shown.day),
        shown.day,
        shown.user_id,
        shown.position,
        shown.value_prop,
        int(any(is_tap_of(tap, shown) for tap in taps)),
        len(in_window(prints)),
        len(in_window(taps)),
        len(in_window(pays)),
        sum((pay.total for pay in in_window(pays)), Decimal(0)),
    )


def is_alike(event: Event, shown: Event) -> bool:
    """Whether an event has the user and the value proposition of a print."""
    return event.user_id == shown.user_id and event.value_prop == shown.value_prop


def is_tap_of(tap: Event, shown: Event) -> bool:
    """Whether a tap may be one on this print: a position that is not known is no objection."""
    same_place = tap.position is None or shown.position is None or tap.position == shown.position
    return is_alike(tap, shown) and tap.day == shown.day and same_place


def final_order(row: Row) -> tuple[date, bytes, bytes, bool, int]:
    """By day, user, value proposition, position: texts by their bytes, no position first."""
    _, day, user_id, position, value_prop, *_ = row
    return day, user_id.encode(), value_prop.encode(), position is not None, position or 0


# --- reading --------------------------------------------------------------------------------------------------------


def read_events(files: Sequence[File], today: date) -> Dataset:
    """The prints or taps of some files."""
    dataset = Dataset()
    for file in files:
        for raw in lines_of(file):
            if is_blank(raw):
                dataset.blank += 1
            else:
                dataset.take(raw, judge_event(raw, today))
    return dataset


def read_pays(files: Sequence[File], today: date) -> Dataset:
    """The pays of some files, each with its own header: its first line that is not blank."""
    dataset = Dataset()
    for file in files:
        header, columns = b"", list[str]()
        for raw in lines_of(file):
            if is_blank(raw):
                dataset.blank += 1
            elif not header:
                header, columns = raw, columns_of(raw)
            elif raw != header:
                dataset.take(raw, judge_pay(raw, columns, today))
    return dataset


def lines_of(file: File) -> Iterator[bytes]:
    """The lines of a file without the CR of a CRLF, and without a byte order mark."""
    for line in file:
        raw = line.encode() if isinstance(line, str) else line
        yield raw.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\r")


def is_blank(raw: bytes) -> bool:
    """Whether a line has nothing but spaces, tabs and CR."""
    return not raw.strip(b" \t\r")


def judge_event(raw: bytes, today: date) -> Judged:
    """One print or tap."""
    try:
        record = read_object(raw.decode())
    except UnicodeDecodeError:
        return Judged(None, {"not_utf8"})
    except RecordError as error:
        return Judged(None, {unreadable(error)})
    place: Any = record.get("event_data")
    if not isinstance(place, dict | None):
        return Judged(None, {"wrong_type"})
    place = place or {}
    try:
        user_id, day_text = read_text(record, "user_id"), read_text(record, "day")
        value_prop, position_text = read_text(place, "value_prop"), read_text(place, "position")
    except RecordError:
        return Judged(None, {"wrong_type"})
    day = read_day(day_text)
    position = read_position(position_text)
    broken = broken_by_any(user_id, value_prop, day_text, today)
    if position_text is None:
        broken.add("position_given")
    elif position is None:
        broken.add("position_is_whole")
    elif position < 0:
        broken.add("position_not_negative")
    if day is None or user_id is None or value_prop is None or not broken <= set(WARNING):
        return Judged(None, broken)
    return Judged(Event(day, user_id, value_prop, position=position), broken)


def judge_pay(raw: bytes, columns: list[str], today: date) -> Judged:
    """One pay; an empty field is one that is not given."""
    try:
        text = raw.decode()
        fields = fields_of(text)
    except UnicodeDecodeError:
        return Judged(None, {"not_utf8"})
    except csv.Error:
        return Judged(None, {"malformed_csv"})
    if len(fields) != len(columns):
        return Judged(None, {"wrong_column_count"})
    if "\0" in text:
        return Judged(None, {"nul_in_text"})
    day_text, total_text, user_id, value_prop = (fields[columns.index(name)] or None for name in PAY_COLUMNS)
    day_text, total_text = ((text or "").strip(BLANKS) or None for text in (day_text, total_text))
    day = read_day(day_text)
    total = read_total(total_text)
    broken = broken_by_any(user_id, value_prop, day_text, today)
    if total_text is None:
        broken.add("total_given")
    elif total is None:
        broken.add("numbers_are_plain" if is_styled(total_text) else "total_is_exact")
    elif total < 0:
        broken.add("total_not_negative")
    if day is None or user_id is None or value_prop is None or total is None or not broken <= set(WARNING):
        return Judged(None, broken)
    return Judged(Event(day, user_id, value_prop, total=total), broken)


def is_styled(text: str) -> bool:
    """Whether a text is digits once the signs that people write between and around them are gone."""
    inner = SIGNS.sub("", text)
    bare = CURRENCY.sub("", inner, count=1).strip(BLANKS)
    return re.fullmatch(r"[+-]?\d+", bare) is not None and (bare != inner or not re.fullmatch(r"[+-]?\d*\.?\d*", text))


def broken_by_any(user_id: str | None, value_prop: str | None, day_text: str | None, today: date) -> set[str]:
    """The rules that prints, taps and pays have in common."""
    broken = set()
    if not user_id:
        broken.add("user_id_given")
    if not value_prop:
        broken.add("value_prop_given")
    elif value_prop not in VALUE_PROPS:
        broken.add("value_prop_known")
    if max(len((text or "").encode()) for text in (user_id, value_prop)) > 1024:
        broken.add("ids_fit")
    day = read_day(day_text)
    if day_text is None:
        broken.add("day_given")
    elif day is None:
        broken.add("day_is_date")
    elif day > today + DAY:
        broken.add("day_not_in_future")
    return broken


def unreadable(error: RecordError) -> str:
    """The name of the rule for what `read_object` refuses."""
    if isinstance(error.__cause__, UnicodeEncodeError):
        return "lone_surrogate"
    if error.__cause__ is not None:
        return "malformed_json"
    return {"NUL in a text": "nul_in_text", "not an object": "not_an_object"}[str(error)]


def columns_of(header: bytes) -> list[str]:
    """The names in a header; ValueError where a needed one does not stand there once."""
    names = fields_of(header.decode())
    if any(names.count(name) != 1 for name in PAY_COLUMNS):
        raise ValueError(f"the header has not each of {PAY_COLUMNS} once: {names}")
    return names


def fields_of(line: str) -> list[str]:
    """The fields of one CSV line; csv.Error where its quoting is wrong or not closed."""
    return next(csv.reader([line], strict=True))


def read_day(text: str | None) -> date | None:
    """The date that a text `YYYY-MM-DD` says, from 1900 to 9999."""
    if text is None or not DATE.fullmatch(text):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.year >= 1900 else None


def read_position(text: str | None) -> int | None:
    """The whole number of 32 bits that a text says."""
    try:
        number = read_number({"position": text}, "position", decimals=0)
    except RecordError:
        return None
    return int(number) if number is not None and -(2**31) <= number < 2**31 else None


def read_total(text: str | None) -> Decimal | None:
    """The amount that a text says, never rounded."""
    try:
        return read_money({"total": text}, "total")
    except RecordError:
        return None
