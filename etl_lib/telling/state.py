"""How the runs of each job went, kept in a small file without Spark: `<output>/telling/<job>.json`.

Every attempt is in it, also one that found nothing new or ended before its stage. Only a process that was killed leaves
none: that is seen by the time of the last attempt.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from etl_lib.process.errors import WarehouseBusyError
from etl_lib.process.output import names_in, read_bytes, write_bytes
from etl_lib.run.metric_parts import Counts

if TYPE_CHECKING:  # who reads a state waits for no Spark
    from etl_lib.run.metrics import Metrics

BUSY = "busy"
"""The status of an attempt that found another run at work: neither a success nor a failure."""
UP_TO_DATE = ("complete", "nothing new")
"""How a publish ends after which a sink has all that it was to get."""
MOST_RUNS = 500
"""So many attempts of a job are kept, the latest ones."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run, or what was to become one."""

    run_id: str
    job: str
    status: str
    started_at: str
    ended_at: str
    duration_s: float
    error: str | None = None
    message: str | None = None
    has_files: bool = True
    """Whether it left metrics.json and a report of its own."""
    records: int = 0
    outcomes: Counts = field(default_factory=dict)
    conflicts: int = 0
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What its larger steps did a second, by step and unit."""
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long these steps took."""
    closed_gates: tuple[str, ...] = ()
    """The gates that were closed, each with its state, as in `volume held`."""
    publish: str | None = None
    """`held` while a gate keeps the sinks as they are."""
    sinks: Mapping[str, str] = field(default_factory=dict)
    """How the publish to each sink ended."""
    newest: Mapping[str, str] = field(default_factory=dict)
    """The newest version of an accepted record, by dataset."""


@dataclass(frozen=True)
class JobState:
    """What is known of the runs of one job."""

    last_attempt: Attempt | None = None
    last_success: Attempt | None = None
    failures_in_a_row: int = 0
    attempts: tuple[Attempt, ...] = ()
    """The oldest first."""
    newest: Mapping[str, str] = field(default_factory=dict)
    """The newest version that any run has loaded, by dataset; never later than the end of its run."""
    sinks_up_to_date: Mapping[str, str] = field(default_factory=dict)
    """When each sink was last seen to have all that it was to get."""

    def after(self, attempt: Attempt) -> JobState:
        """What is known after one more attempt; one that is told again, such as a run finished later, is replaced."""
        from etl_lib.tables.ledger import DONE  # noqa: PLC0415 - as above

        others = tuple(each for each in self.attempts if each.run_id != attempt.run_id)
        shown = {sink: attempt.ended_at for sink, status in attempt.sinks.items() if status in UP_TO_DATE}
        state = replace(
            self,
            last_attempt=attempt,
            attempts=(*others, attempt)[-MOST_RUNS:],
            sinks_up_to_date={**self.sinks_up_to_date, **shown},
        )
        if attempt.status == DONE or attempt.sinks:  # when a sink fails, the tables have the records all the same
            # a time in the future, of one wrong record, would make the data look fresh until then
            brought = {name: min(newest, attempt.ended_at) for name, newest in attempt.newest.items()}
            newest = {name: max(time, self.newest.get(name, time)) for name, time in brought.items()}
            state = replace(state, newest={**self.newest, **newest})
        if attempt.status == DONE:
            return replace(state, last_success=attempt, failures_in_a_row=0)
        return state if attempt.status == BUSY else replace(state, failures_in_a_row=state.failures_in_a_row + 1)


@dataclass(frozen=True)
class State:
    """Keeps the state of one job."""

    output: str
    job: str

    def tell(self, metrics: Metrics) -> None:
        """Add the run."""
        write_state(self.output, self.job, read_state(self.output, self.job).after(attempt_of(metrics)))


def attempt_of(metrics: Metrics) -> Attempt:
    """A run as the state keeps it."""
    is_busy = metrics.error == WarehouseBusyError.__name__
    batch = metrics.batch.datasets if metrics.batch else {}
    datasets = batch.values()
    larger = [step for step in metrics.steps if step.seconds >= 1 and any(step.counts.values())]
    return Attempt(
        run_id=metrics.run_id,
        job=metrics.job,
        status=BUSY if is_busy else metrics.status,
        started_at=metrics.started_at,
        ended_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        duration_s=metrics.duration_s or 0,
        error=metrics.error,
        message=metrics.message,
        has_files=not metrics.is_refused,
        records=sum(each.records for each in datasets),
        outcomes=dict(sum((Counter(each.outcomes) for each in datasets), Counter())),
        conflicts=getattr(metrics.batch, "conflicts", 0),
        rates={
            step.name: {unit: round(n / step.seconds, 3) for unit, n in step.counts.items() if n} for step in larger
        },
        step_seconds={step.name: step.seconds for step in larger},
        closed_gates=tuple(f"{gate.gate} {gate.state}" for gate in metrics.gates if gate.message),
        publish=metrics.publish,
        sinks={name: publish.status for name, publish in metrics.publishes.items()},
        newest={name: each.newest for name, each in batch.items() if each.newest},
    )


def read_state(output: str, job: str) -> JobState:
    """What is kept of a job; nothing where it has no file, or one that cannot be read."""
    try:
        fields: dict[str, Any] = json.loads(read_bytes(state_path(output, job)) or b"{}")
        attempts = tuple(Attempt(**each) for each in fields.pop("attempts", ()))
        for name in ("last_attempt", "last_success"):
            fields[name] = Attempt(**fields[name]) if fields.get(name) else None
        return JobState(**fields, attempts=attempts)
    except (ValueError, TypeError):  # of another release, or written over: it begins anew
        return JobState()


def jobs_kept(output: str) -> list[str]:
    """The jobs of which there is a state."""
    names = names_in(state_path(output, "").rpartition("/")[0])
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json") and name[0] not in "_.")


def write_state(output: str, job: str, state: JobState) -> None:
    """Keep it; a reader finds the old state or the new one."""
    write_bytes(state_path(output, job), json.dumps(asdict(state), indent=1).encode())


def state_path(output: str, job: str) -> str:
    """Where the state of a job is kept."""
    return f"{output.rstrip('/')}/telling/{job}.json"
