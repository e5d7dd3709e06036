"""Steps that wait for different things, taken at the same time: most of a small query is waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import structlog

log = structlog.get_logger(__name__)


def concurrently(**steps: Callable[[], Any]) -> dict[str, Any]:
    """Take all steps at once and give their results by name.

    An error is raised when all have ended: that of the first step that failed. The others are logged.
    """
    with ThreadPoolExecutor(len(steps)) as pool:
        begun = {name: pool.submit(copy_context().run, step) for name, step in steps.items()}
    for error in [error for step in begun.values() if (error := step.exception())][1:]:
        log.error("another step failed at the same time", reason=f"{type(error).__name__}: {error}")
    return {name: step.result() for name, step in begun.items()}
