"""Steps that wait for different things, taken at the same time: most of a small query is waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def together(*steps: Callable[[], Any]) -> list[Any]:
    """Take all steps at once and give their results in order; an error is raised when all have ended."""
    with ThreadPoolExecutor(len(steps)) as pool:
        begun = [pool.submit(copy_context().run, step) for step in steps]
    return [step.result() for step in begun]
