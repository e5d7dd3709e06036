"""How long a step will take, by what the last runs took for about as much."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from statistics import median

from etl_lib.telling.state import Attempt, JobState

_LAST_RUNS = 10
_ALIKE = 8
"""Runs that had at most so many times more or less to do tell something: a small one is all start-up."""
_STEADY, _MOST = 0.75, 0.95


def expected_seconds(state: JobState, step: str, expected: Mapping[str, int]) -> float | None:
    """What is expected divided by the median rate of the last runs that did about as much; None without any."""
    for unit, amount in expected.items():
        rates = [rate for run in state.attempts[-_LAST_RUNS:] if (rate := _rate_of(run, step, unit, amount))]
        if rates:
            return amount / median(rates)
    return None


def _rate_of(run: Attempt, step: str, unit: str, amount: int) -> float | None:
    rate = run.rates.get(step, {}).get(unit)
    done = (rate or 0) * run.step_seconds.get(step, 0)
    return rate if amount / _ALIKE <= done <= amount * _ALIKE and done else None


def share_done(elapsed: float, expected: float) -> float:
    """How much of a step is done, as far as time can tell: steady at first, then slower and slower; never 95 %."""
    share = elapsed / expected
    return share if share <= _STEADY else _MOST - (_MOST - _STEADY) * exp(-(share - _STEADY) / (_MOST - _STEADY))
