"""How often a channel gets an alert: not the same again and again, and not too many within an hour.

What each channel got is kept in `<output>/telling/alerts/sent.json`: names, keys and times, and no text of an alert.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from etl_lib.process.errors import LakehouseError
from etl_lib.process.lock import folder_lock
from etl_lib.process.output import read_bytes, write_bytes
from etl_lib.settings.telling_settings import AlertSettings

Decision = Literal["send", "repeated", "too many", "muted"]
_LONGEST_WAIT_S = 60
"""So long a run waits for another one that is just sending."""
_MOST_KEYS = 500


@dataclass(frozen=True)
class Received:
    """What one channel got."""

    sent: Mapping[str, str] = field(default_factory=dict)
    """When each alert was sent that is not over, by its key, in ISO 8601."""
    times: tuple[str, ...] = ()
    """When messages were sent within the last hour."""
    held_back: int = 0
    """How many alerts were not sent since the last message, as there were too many."""

    def decide(self, kind: str, key: str, limits: AlertSettings, now: datetime) -> Decision:
        """Whether an alert is sent to this channel now, or why not."""
        muted_until = {str(each): until for each, until in limits.muted_until.items()}.get(kind)
        if muted_until and now < muted_until:
            return "muted"
        last = self.sent.get(key)
        if last and now - datetime.fromisoformat(last) < timedelta(hours=limits.repeat_after_hours):
            return "repeated"
        return "send" if len(self._within_an_hour(now)) < limits.most_per_hour else "too many"

    def after_sending(self, key: str, now: datetime) -> Received:
        """What the channel has got after one more message."""
        time = now.isoformat(timespec="seconds")
        latest = sorted({**self.sent, key: time}.items(), key=lambda each: each[1])[-_MOST_KEYS:]
        return Received(dict(latest), (*self._within_an_hour(now), time), 0)

    def without(self, ended: Iterable[str]) -> Received:
        """The same, but for what is over: it is told at once when it comes again."""
        over = tuple(ended)
        return replace(self, sent={key: time for key, time in self.sent.items() if not _is_among(key, over)})

    def _within_an_hour(self, now: datetime) -> tuple[str, ...]:
        return tuple(time for time in self.times if now - datetime.fromisoformat(time) < timedelta(hours=1))


class SentBook:
    """What all channels got."""

    def __init__(self, received: Mapping[str, Received]) -> None:
        """`received` is by the name of a channel."""
        self.received = dict(received)

    def of(self, route: str) -> Received:
        """What one channel got."""
        return self.received.get(route, Received())

    def is_open(self, *prefixes: str) -> bool:
        """Whether somebody was alerted to something that begins so, and it is not over."""
        return any(_is_among(key, prefixes) for received in self.received.values() for key in received.sent)

    def forget(self, ended: Iterable[str]) -> None:
        """Note what is over: the beginnings of keys."""
        over = tuple(ended)
        self.received = {name: received.without(over) for name, received in self.received.items()}


def _is_among(key: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a key has one of these beginnings, word by word."""
    return any(f"{key} ".startswith(f"{prefix} ") for prefix in prefixes)


@contextmanager
def open_book(output: str) -> Iterator[SentBook]:
    """The book of an output folder, which is kept when the block ends; on a local disk nobody else has it meanwhile.

    One that cannot be read is begun anew.
    """
    folder = f"{output.rstrip('/')}/telling/alerts"

    def busy(place: Path) -> LakehouseError:
        return LakehouseError(f"{place}: another run has been sending alerts for {_LONGEST_WAIT_S} s")

    with folder_lock(folder, ".lock", busy, _LONGEST_WAIT_S):
        path = f"{folder}/sent.json"
        before = _read(path)
        book = SentBook(before)
        try:
            yield book
        finally:
            if book.received != before:
                text = json.dumps({name: asdict(received) for name, received in book.received.items()}, indent=1)
                write_bytes(path, text.encode())


def _read(path: str) -> dict[str, Received]:
    try:
        values = json.loads(read_bytes(path) or b"{}")
        received = {
            name: Received(dict(each["sent"]), tuple(each["times"]), int(each["held_back"]))
            for name, each in values.items()
        }
        for each in received.values():
            for time in (*each.sent.values(), *each.times):
                datetime.fromisoformat(time)
    except (ValueError, TypeError, KeyError, AttributeError):  # written over: it begins anew
        return {}
    return received
