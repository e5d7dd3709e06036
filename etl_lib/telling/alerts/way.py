"""The way of telling that alerts people to what a run gives to be alerted to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from etl_lib.process.errors import WarehouseBusyError
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.settings.config import Settings
from etl_lib.telling.alerts.kinds import RunEnd, alerts_of, ended_by
from etl_lib.telling.alerts.limits import open_book
from etl_lib.telling.alerts.sending import send_due
from etl_lib.telling.state import read_state

_TOLD_BEFORE = ("run_failed", "retries_used_up", "gate_stopped", "silent")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Alerts:
    """Sends the alerts of a run; stands behind the state, which it reads."""

    settings: Settings
    job: str
    clock: Callable[[], datetime] = _now

    def tell(self, metrics: Metrics) -> None:
        """Send what is due to each channel. A run that found the warehouse taken gives nothing."""
        if metrics.error == WarehouseBusyError.__name__:
            return
        values, now = json.loads(as_json(metrics)), self.clock()
        state = read_state(self.settings.output, self.job)
        end = RunEnd(values, state, self.settings, has_report=not metrics.is_refused)
        with open_book(self.settings.output) as book:
            was_told = book.is_open(*(f"{kind} {end.job}" for kind in _TOLD_BEFORE))
            book.forget(ended_by(end))
            send_due(alerts_of(end, now, was_told=was_told), self.settings.telling.alerts, book, now)
