"""Commits that collide with another writer's: tried again with backoff, counted, and given up with a clear error.

Delta refuses a commit that another one has made invalid (optimistic concurrency). Whatever was to be written is there
still, in the stage or in the plan of the query, so the same write is simply done again on the new state of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from etl_lib.process.errors import ConflictError
from etl_lib.process.spark_errors import is_collision

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

ATTEMPTS = 6
LONGEST_WAIT_S = 20


def commit(write: Callable[[], Result], table: str, collisions: Counter[str]) -> Result:
    """Do one write to a table, after a collision again, up to ATTEMPTS times; gives what it gave.

    ConflictError when all collided. `collisions` counts them by table.
    """

    def told(attempt: RetryCallState) -> None:
        collisions[table] += 1
        wait = round(attempt.upcoming_sleep, 1)
        log.warning("another writer came first, trying again", table=table, attempt=attempt.attempt_number, wait_s=wait)

    attempts = Retrying(
        retry=retry_if_exception(is_collision),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT_S),
        before_sleep=told,
    )
    try:
        return attempts(write)
    except RetryError as error:
        collisions[table] += 1
        raise ConflictError(
            f"{table}: another writer came first {ATTEMPTS} times in a row; nothing of this write is in the table. "
            "Find out what writes to it, and run the job again: it goes on where it stopped"
        ) from error.last_attempt.exception()
