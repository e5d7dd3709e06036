"""Whether the jobs are well: by what their last runs left, the lock, and the tables. Nothing of Spark is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from etl_lib.process.lock import Holder, holder_of, local_folder
from etl_lib.settings import config
from etl_lib.telling.state import Attempt, JobState, jobs_kept, read_state

TABLES = {
    "orders": (
        "fact_sales",
        "dim_order",
        "dim_user",
        "dim_product",
        "daily_sales",
        "quarantine",
        "etl_runs",
        "etl_stage",
    ),
    "value_props": ("value_prop_features", "quarantine", "etl_runs", "etl_events"),
}
"""The tables that are there after a success of a job."""


BEHIND = ("failed", "differs")
"""How a publish ends after which a sink does not show what the tables have."""


@dataclass(frozen=True)
class JobHealth:
    """How the runs of one job go."""

    last_attempt: Attempt | None
    last_success: Attempt | None
    hours_since_success: float | None
    failures_in_a_row: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Health:
    """How all is."""

    checked_at: str
    jobs: Mapping[str, JobHealth]
    lock: Holder | None
    """Who holds the warehouse; None where nobody does, and where there is no lock."""
    missing_tables: tuple[str, ...] | None
    """None where the tables are on no local disk: nobody looked."""
    publish: tuple[str, ...] = ()
    """Why sinks do not show what the tables have, as the last attempt said that published."""

    @property
    def problems(self) -> list[str]:
        """All that is not well, a sentence each; empty when all is."""
        problems = [f"{job}: {problem}" for job, health in self.jobs.items() for problem in health.problems]
        if self.lock is not None and self.lock.is_dead:
            problems.append(
                f"run {self.lock.run_id} was killed while it held the warehouse, since {self.lock.since}: run the same "
                "job again, it finishes what was staged"
            )
        if self.missing_tables:
            problems.append(f"tables are not there: {', '.join(self.missing_tables)}")
        problems += self.publish
        return problems


def health_of(settings: config.Settings, now: datetime | None = None) -> Health:
    """How the jobs are, judged by the settings; an OSError where nothing can be read of them."""
    now = now or datetime.now(UTC)
    limits = settings.health
    ages = {str(job): hours for job, hours in limits.max_age_hours.items()}
    states = {name: read_state(settings.output, name) for name in dict.fromkeys([*jobs_kept(settings.output), *ages])}
    return Health(
        checked_at=now.isoformat(timespec="seconds"),
        jobs={name: _job_health(state, ages.get(name), limits.max_failures, now) for name, state in states.items()},
        lock=holder_of(settings.warehouse),
        missing_tables=_missing_tables(settings.warehouse, states),
        publish=tuple(_behind(states)),
    )


def _behind(states: Mapping[str, JobState]) -> Iterator[str]:
    """What the latest attempt says of the sinks that published, or whose run a gate has held."""
    attempts = [state.last_attempt for state in states.values() if state.last_attempt]
    telling = [attempt for attempt in attempts if attempt.sinks or attempt.publish or attempt.job == "publish"]
    if last := max(telling, key=lambda attempt: attempt.ended_at, default=None):
        if last.publish is not None:
            yield f"the publish is {last.publish} since run {last.run_id} or before: jobs/publish.py says by which run"
        for sink, status in last.sinks.items():
            if status in BEHIND:
                yield f"sink {sink} is behind, its last publish ended as {status}: jobs/publish.py tries again"


def _job_health(state: JobState, max_age: float | None, max_failures: int, now: datetime) -> JobHealth:
    success, attempt = state.last_success, state.last_attempt
    hours = (now - datetime.fromisoformat(success.ended_at)).total_seconds() / 3600 if success else None
    problems = []
    if state.failures_in_a_row >= max_failures:
        reason = f", the last one: {attempt.message}" if attempt and attempt.message else ""
        problems.append(f"{state.failures_in_a_row} failed in a row{reason}")
    if max_age is not None and hours is None:
        problems.append("it has never succeeded")
    elif max_age is not None and hours is not None and hours > max_age:
        problems.append(f"its last success was {hours:.1f} hours ago, more than {max_age:g}")
    return JobHealth(
        attempt, success, None if hours is None else round(hours, 2), state.failures_in_a_row, tuple(problems)
    )


def _missing_tables(warehouse: str, states: Mapping[str, JobState]) -> tuple[str, ...] | None:
    folder = local_folder(warehouse)
    if folder is None:
        return None
    wanted = dict.fromkeys(table for job, tables in TABLES.items() for table in tables if _has_tables(states, job))
    return tuple(table for table in wanted if not (folder / table / "_delta_log").is_dir())


def _has_tables(states: Mapping[str, JobState], job: str) -> bool:
    return job in states and states[job].last_success is not None
