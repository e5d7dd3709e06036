"""The memory of the circuit breaker: a small file in the landing folder, so that it holds over pulls and processes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import structlog
from pybreaker import STATE_CLOSED, CircuitBreakerStorage
from pydantic import AwareDatetime, ValidationError

from etl_lib.process.output import read_bytes, write_bytes
from etl_lib.settings.strict_model import Section

BREAKER = "_breaker.json"

log = structlog.get_logger(__name__)


class BreakerState(Section):
    """What is known of one URL: `failures` in a row, and since when nothing is asked (`opened_at`)."""

    state: str = STATE_CLOSED
    failures: int = 0
    successes: int = 0
    opened_at: AwareDatetime | None = None


class FileStorage(CircuitBreakerStorage):
    """The state of the breaker of one URL in `<landing>/_breaker.json`, written when it changes."""

    def __init__(self, landing: str, url: str) -> None:
        """Begins with what the file says; a file that cannot be read counts as a closed breaker."""
        super().__init__(url)
        self.path = f"{landing.rstrip('/')}/{BREAKER}"
        try:
            self._now = BreakerState.model_validate_json(json.dumps(self._all().get(url, {})))
        except ValidationError:
            log.warning("the circuit breaker's file is not readable, it begins anew", path=self.path)
            self._now = BreakerState()

    def _all(self) -> dict[str, Any]:
        try:
            found = json.loads(read_bytes(self.path) or b"{}")
        except ValueError:
            log.warning("the circuit breaker's file is not readable, it begins anew", path=self.path)
            return {}
        return found if isinstance(found, dict) else {}

    def _change(self, **changes: object) -> None:
        changed = self._now.model_copy(update=changes)
        if changed != self._now:
            self._now = changed
            states = {**self._all(), self.name: changed.model_dump(mode="json")}
            write_bytes(self.path, json.dumps(states, indent=1).encode())

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return self._now.state

    @state.setter
    def state(self, state: str) -> None:
        self._change(state=state)

    def increment_counter(self) -> None:
        """One more failure in a row."""
        self._change(failures=self._now.failures + 1)

    def reset_counter(self) -> None:
        """The row of failures is over."""
        self._change(failures=0)

    def increment_success_counter(self) -> None:
        """One more success while half-open."""
        self._change(successes=self._now.successes + 1)

    def reset_success_counter(self) -> None:
        """No success while half-open yet."""
        self._change(successes=0)

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self._now.failures

    @property
    def success_counter(self) -> int:
        """Successes while half-open."""
        return self._now.successes

    @property
    def opened_at(self) -> datetime | None:
        """When it opened."""
        return self._now.opened_at

    @opened_at.setter
    def opened_at(self, moment: datetime) -> None:
        self._change(opened_at=moment)
