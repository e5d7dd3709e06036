"""The steps of a run: each is timed, logged, and kept for whoever tells the run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from etl_lib.process.faults import reach
from etl_lib.run.metric_parts import StepMetrics

log = structlog.get_logger(__name__)


class Watcher(Protocol):
    """Who wants to see steps while they last, such as a terminal; it may be told by several threads."""

    def began(self, name: str, expected: Mapping[str, int]) -> None:
        """A step begins; `expected` is how much it has to do, by unit, where that is known."""

    def ended(self, name: str) -> None:
        """It has ended, well or not."""


@dataclass
class StepLog:
    """The steps of one run so far, in the order in which they ended."""

    begun: float = field(default_factory=time.monotonic)
    steps: list[StepMetrics] = field(default_factory=list)
    watcher: Watcher | None = None


_of_this_run: ContextVar[StepLog | None] = ContextVar("step_log", default=None)
"""Steps that are taken concurrently have copies of the context, and so the same log."""


@contextmanager
def step_log(watcher: Watcher | None = None) -> Iterator[StepLog]:
    """Keep the steps that are taken in the block."""
    steps = StepLog(watcher=watcher)
    token = _of_this_run.set(steps)
    try:
        yield steps
    finally:
        _of_this_run.reset(token)


@contextmanager
def step(name: str, **expected: int) -> Iterator[dict[str, Any]]:
    """Time a step, and log its end with what it puts into the dictionary; a number that is not 0 also with its rate.

    `expected` is how much it has to do, by unit. Before and after it are the fault points `<name>.before` and
    `<name>.after`. A step that fails is kept, too, and not logged: its error says more.
    """
    kept = _of_this_run.get() or StepLog()
    started = time.monotonic()
    counts: dict[str, Any] = {}
    if kept.watcher:
        kept.watcher.began(name, expected)
    try:
        reach(f"{name}.before")
        yield counts
        reach(f"{name}.after")
    finally:
        seconds = time.monotonic() - started
        numbers = {unit: n for unit, n in {**expected, **counts}.items() if isinstance(n, int)}
        kept.steps.append(StepMetrics(name, round(started - kept.begun, 3), round(seconds, 3), numbers))
        if kept.watcher:
            kept.watcher.ended(name)
    rates = {f"{unit}_per_s": round(n / max(seconds, 1e-3)) for unit, n in counts.items() if isinstance(n, int) and n}
    log.info(name, **counts, **rates, seconds=round(seconds, 1))
