"""What a run tells Prometheus: gauges of the last run of a job, and of what its runs have left.

Every value of a label is a name of the configuration or of the code (a rule, a table, a step): never an id, a path or a
text of the input. Prometheus gives each scraped series a label `job` of its own, so a job is told as `job_name`.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TypeVar

from prometheus_client import CollectorRegistry, Gauge

from etl_lib import RELEASE
from etl_lib.run.metrics import Metrics
from etl_lib.tables.ledger import DONE, FAILED, STOPPED
from etl_lib.telling.state import Attempt, JobState

Values = TypeVar("Values", bound=tuple[str, ...])
"""The values of some labels."""

PREFIX = "orders_lakehouse"
_TABLE_FILES = {"files": ("files_added", "files_removed"), "bytes": ("bytes_added", "bytes_removed")}


class _Gauges:
    """The gauges of one job."""

    def __init__(self, job: str) -> None:
        self.registry = CollectorRegistry()
        self._job = job

    def one(self, name: str, help_text: str, value: float | None) -> None:
        """A gauge with one value for the job; None where it is not known, so that nobody reads a 0."""
        if value is not None:
            self._gauge(name, help_text, ("job_name",)).labels(self._job).set(value)

    def many(self, name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Values, float | None]) -> None:
        """A gauge with a value for each combination of further labels."""
        known = {each: value for each, value in values.items() if value is not None}
        if known:
            gauge = self._gauge(name, help_text, ("job_name", *labels))
            for each, value in known.items():
                gauge.labels(self._job, *each).set(value)

    def _gauge(self, name: str, help_text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", help_text, labels, registry=self.registry)


def registry_of(metrics: Metrics, state: JobState, sinks: Collection[str]) -> CollectorRegistry:
    """All that is told of a job, from the metrics of its last run and its state after it; `sinks` are those in use."""
    gauges = _Gauges(metrics.job)
    build = {(RELEASE, platform.python_version()): 1}
    gauges.many("build_info", "The release that ran.", ("version", "python"), build)
    _attempts(gauges, state)
    _sinks(gauges, state, sinks)
    _records(gauges, metrics)
    _work(gauges, metrics)
    _tables(gauges, metrics)
    return gauges.registry


def _attempts(gauges: _Gauges, state: JobState) -> None:
    """What lasts from run to run: how the job goes, how new its data is."""
    last, success = state.last_attempt, state.last_success
    if last is not None:
        statuses = {(status,): float(last.status == status) for status in (DONE, FAILED, STOPPED)}
        gauges.many("last_run_status", "1 for the status with which the last run ended.", ("status",), statuses)
        gauges.one("last_run_timestamp_seconds", "When the last run ended.", _seconds(last.ended_at))
        gauges.one("last_run_duration_seconds", "How long the last run took.", last.duration_s)
        _publish(gauges, last)
    ended = _seconds(success.ended_at) if success else 0
    gauges.one("last_success_timestamp_seconds", "When a run last succeeded; 0: never.", ended)
    gauges.one("failures_in_a_row", "Runs that failed or were stopped since the last success.", state.failures_in_a_row)
    newest = {(name,): _seconds(time) for name, time in state.newest.items()}
    text = "The newest version of an accepted record."
    gauges.many("dataset_newest_timestamp_seconds", text, ("dataset",), newest)


def _sinks(gauges: _Gauges, state: JobState, sinks: Collection[str]) -> None:
    """When each was last published to, well or not. One that is no longer in use is behind for ever: nobody waits."""
    attempts = {sink: each.ended_at for each in state.attempts for sink in each.sinks}
    tried = {(sink,): _seconds(time) for sink, time in attempts.items() if sink in sinks}
    shown = {(sink,): _seconds(time) for sink, time in state.sinks_up_to_date.items() if sink in sinks}
    text = "When a publish to a sink last succeeded; 0: never."
    gauges.many("sink_up_to_date_timestamp_seconds", text, ("sink",), dict.fromkeys(tried, 0.0) | shown)
    gauges.many("sink_attempt_timestamp_seconds", "When a sink was last published to.", ("sink",), tried)


def _publish(gauges: _Gauges, last: Attempt) -> None:
    """Whether sinks wait for a gate. As times, because another job, later, may release them."""
    is_publishing = bool(last.sinks) or last.publish is not None or last.job == "publish"
    is_free = is_publishing and last.publish is None and last.status == DONE
    ended = _seconds(last.ended_at)
    text = "When the last run ended, if it found the publish held; else 0."
    gauges.one("publish_held_timestamp_seconds", text, ended if last.publish is not None else 0)
    text = "When the last run ended, if it published and nothing was held; else 0."
    gauges.one("publish_free_timestamp_seconds", text, ended if is_free else 0)


def _records(gauges: _Gauges, metrics: Metrics) -> None:
    datasets = metrics.batch.datasets if metrics.batch else {}
    outcomes = {(name, outcome): n for name, each in datasets.items() for outcome, n in each.outcomes.items()}
    gauges.many("last_run_records", "The records of the last run by outcome.", ("dataset", "outcome"), outcomes)
    rules = {(name, rule): n for name, each in datasets.items() for rule, n in each.rules.items()}
    gauges.many("last_run_rule_records", "The records that broke a rule.", ("dataset", "rule"), rules)
    gauges.one("last_run_conflicts", "Orders of which two contents claim one version.", _conflicts(metrics))
    gauges.one("last_run_set_aside_files", "Files that could not be read and wait.", len(metrics.set_aside or ()))
    pulled = {(name,): pull.records for name, pull in metrics.pulls.items()}
    gauges.many("last_run_pulled_records", "The records that were pulled.", ("dataset",), pulled)


def _work(gauges: _Gauges, metrics: Metrics) -> None:
    seconds: dict[tuple[str, ...], float | None] = {}
    for step in metrics.steps:
        seconds[step.name,] = (seconds.get((step.name,)) or 0) + step.seconds
    gauges.many("last_run_step_seconds", "How long the steps of the last run took.", ("step",), seconds)
    gates = {
        (gate.gate, gate.dataset, gate.effect): float(gate.state in ("stopped", "held", "warned"))
        for gate in metrics.gates
    }
    gauges.many("last_run_gate_closed", "1 for a gate that closed.", ("gate", "dataset", "effect"), gates)
    gauges.one("last_run_commit_retries", "Commits done again: another writer came first.", metrics.commit_retries)


def _tables(gauges: _Gauges, metrics: Metrics) -> None:
    tables = metrics.tables or {}
    rows = {(name,): each.rows_after for name, each in tables.items()}
    gauges.many("table_rows", "The rows of a table after the last run.", ("table",), rows)
    for unit, fields in _TABLE_FILES.items():
        for field in fields:
            done = field.removeprefix(f"{unit}_")
            values = {(name,): getattr(each, field) for name, each in tables.items()}
            gauges.many(f"last_run_table_{done}_{unit}", f"The {unit} {done} by the last run.", ("table",), values)


def _conflicts(metrics: Metrics) -> int | None:
    conflicts: int | None = getattr(metrics.batch, "conflicts", None)
    return conflicts


def _seconds(time: str) -> float:
    """Seconds since 1970 of a time in ISO 8601."""
    return datetime.fromisoformat(time).timestamp()
