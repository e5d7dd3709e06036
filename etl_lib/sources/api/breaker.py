"""A circuit breaker whose state is a small file in the landing folder, so that it holds over pulls and processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import structlog
from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreaker, CircuitMemoryStorage
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from etl_lib.process.output import read_bytes, write_bytes
from etl_lib.settings.api_settings import ApiSource, without_query
from etl_lib.settings.strict_model import Section
from etl_lib.sources.api.answers import FailedError

T = TypeVar("T")

log = structlog.get_logger(__name__)


class BreakerState(Section):
    """What is known of one URL: `failures` in a row, and since when nothing is asked (`opened_at`)."""

    state: str = STATE_CLOSED
    failures: int = 0
    successes: int = 0
    opened_at: AwareDatetime | None = None


_STATES = TypeAdapter(dict[str, BreakerState])


class Breaker(CircuitBreaker):
    """The breaker of one URL; its state is in `<landing>/_breaker.json`, written when it changes."""

    def __init__(self, landing: str, settings: ApiSource) -> None:
        """Begins with what the file says; a file that cannot be read counts as a closed breaker."""
        self._path = f"{landing.rstrip('/')}/_breaker.json"
        self._url = without_query(httpx.URL(settings.url))
        self._saved = self._states().get(self._url, BreakerState())
        self._storage = CircuitMemoryStorage(self._saved.state)
        for _ in range(self._saved.failures):
            self._storage.increment_counter()
        if self._saved.opened_at is not None:
            self._storage.opened_at = self._saved.opened_at
        super().__init__(
            fail_max=settings.breaker_failures,
            reset_timeout=settings.breaker_reset_s,
            # a rate limit or a refusal is the answer of a server that works
            exclude=[lambda error: not isinstance(error, FailedError) or error.status == httpx.codes.TOO_MANY_REQUESTS],
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked for a time."""
        return self.current_state == STATE_OPEN

    def call(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function unless the breaker is open. Raises CircuitBreakerError if it is."""
        try:
            return super().call(func, *args, **kwargs)
        finally:
            self._save()

    def since_when(self) -> str:
        """Since when the breaker is open and until when, and how to close it, for a message."""
        opened_at = self._storage.opened_at or datetime.now(UTC)
        until = opened_at + timedelta(seconds=self.reset_timeout)
        return (
            f"the circuit breaker is open since {opened_at:%Y-%m-%dT%H:%M:%SZ} and lets a request through from "
            f"{until:%Y-%m-%dT%H:%M:%SZ} on (breaker_reset_s); delete {self._path} to ask at once"
        )

    def _states(self) -> dict[str, BreakerState]:
        """What the file has, by URL."""
        try:
            return _STATES.validate_json(read_bytes(self._path) or b"{}")
        except ValidationError:
            log.warning("the circuit breaker's file is not readable, it begins anew", path=self._path)
            return {}

    def _save(self) -> None:
        state = BreakerState(state=self.current_state, failures=self.fail_counter, opened_at=self._storage.opened_at)
        if state != self._saved:
            self._saved = state
            write_bytes(self._path, _STATES.dump_json({**self._states(), self._url: state}, indent=1))
