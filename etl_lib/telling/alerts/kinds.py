"""What a run gives to be alerted to, from its metrics as JSON and from how the runs of its job went before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from etl_lib.process.errors import ConflictError, QualityGateError
from etl_lib.run.job import DRIFT_MEANINGS
from etl_lib.settings import config
from etl_lib.settings.telling_settings import AlertKind
from etl_lib.tables.holds import HELD
from etl_lib.tables.ledger import DONE, FAILED, STOPPED
from etl_lib.telling.alerts.alert import Alert, link_to
from etl_lib.telling.alerts.silence import no_data_alert
from etl_lib.telling.next_steps import next_steps, rejected, unwell_sinks
from etl_lib.telling.state import BUSY, JobState

_SINK_ERROR = "SinkError"
_OF_ANOTHER_RUN = (
    "jobs/publish.py says which run and gate hold it. Release that run, undo it, or let a later run pass the same gate."
)
_AGAIN = "Nobody has to do anything."


@dataclass(frozen=True)
class RunEnd:
    """How a run ended, and what is known besides."""

    values: Mapping[str, Any]
    """Its metrics as JSON."""
    state: JobState
    """The runs of its job, this one among them."""
    settings: config.Settings
    has_report: bool = True
    """Whether it left a report of its own."""

    @property
    def job(self) -> str:
        """The job of the run."""
        return str(self.values.get("job") or "orders")

    @property
    def is_held(self) -> bool:
        """Whether a gate keeps the sinks as they are."""
        return self.values.get("publish") == HELD

    @property
    def is_stopped(self) -> bool:
        """Whether a gate stopped it before any table changed."""
        is_refused = self.values.get("error") == QualityGateError.__name__ and not self.is_held
        return self.values.get("status") == STOPPED or (self.values.get("status") == FAILED and is_refused)

    @property
    def is_failed(self) -> bool:
        """Whether it failed in a way that neither a gate nor a sink explains."""
        error = self.values.get("error")
        is_explained = (error == QualityGateError.__name__ and self.is_held) or (
            error == _SINK_ERROR and bool(unwell_sinks(self.values))
        )
        ended_badly = error is not None or self.values.get("status") == FAILED
        return ended_badly and not is_explained and not self.is_stopped

    @property
    def is_well(self) -> bool:
        """Whether it did all that it was to do; what it says of records and sinks is another matter."""
        return self.values.get("status") == DONE and not self.is_failed

    def alert(self, kind: AlertKind, key: str, title: str, text: str, *shown: str) -> Alert:
        """An alert of this run, with the next steps that these of its metrics ask for."""
        told = {name: self.values[name] for name in ("job", "run_id", "arguments", *shown) if name in self.values}
        run_id = str(self.values.get("run_id", ""))
        return Alert(
            kind=kind,
            key=f"{kind} {key}",
            title=title,
            text=text,
            where=f"run {run_id} of the job {self.job}, warehouse {self.settings.warehouse}",
            steps=[(step.sentence, step.command) for step in next_steps(told)],
            link=link_to(self.settings, run_id if self.has_report else None),
        )


def alerts_of(end: RunEnd, now: datetime, *, was_told: bool) -> list[Alert]:
    """All alerts of a run that has ended, the most urgent first.

    `was_told` is whether somebody was alerted to a failure of this job, or to its silence, and it is not over.
    """
    return [*_of_its_end(end, was_told=was_told), *_of_its_sinks(end), *_of_its_records(end), *_of_its_input(end, now)]


def ended_by(end: RunEnd) -> list[str]:
    """What is over after this run: the beginnings of the keys of alerts."""
    over = [f"recovered {end.job}"]
    if end.is_well:
        kinds = ("run_failed", "retries_used_up", "gate_stopped", "silent")
        over += [f"{kind} {end.job}" for kind in kinds]
        if end.state.last_attempt and end.state.last_attempt.records:
            over.append(f"no_data {end.job}")
        if not end.is_held and (end.values.get("publishes") or end.job == "value_props"):
            over.append(_held_key(end))
    unwell = unwell_sinks(end.values)
    return over + [f"sink {name}" for name in end.values.get("publishes") or {} if name not in unwell]


def _of_its_end(end: RunEnd, *, was_told: bool) -> Iterator[Alert]:
    job, error = end.job, end.values.get("error")
    failures = end.state.failures_in_a_row
    if end.is_failed:
        yield end.alert(
            "run_failed", f"{job} {error}", f"{job}: the run failed ({error or 'interrupted'})", _reason(end), "status"
        )
        if failures >= end.settings.telling.alerts.retries or error == ConflictError.__name__:
            tries = "Every try of one commit" if error == ConflictError.__name__ else f"{failures} runs in a row"
            text = f"{tries} failed. To run it again alone will not help. The last reason: {_reason(end)}"
            yield end.alert("retries_used_up", job, f"{job}: the retries are used up", text, "status")
    elif end.is_stopped:
        gates = _closed(end, STOPPED)
        key = " ".join([job, *gates])
        text = f"No table was changed. {end.values.get('message') or ''}"
        title = f"{job}: a gate stopped the run ({', '.join(gates) or 'quality'})"
        yield end.alert("gate_stopped", key, title, text, "status", "gates")
    elif end.is_well and (was_told or _failed_before(end)):
        yield end.alert("recovered", job, f"{job}: it works again", f"This run succeeded. {_AGAIN}")


def _of_its_sinks(end: RunEnd) -> Iterator[Alert]:
    if end.is_held:
        yield _held_alert(end)
    publishes = end.values.get("publishes") or {}
    for name in unwell_sinks(end.values):
        publish = publishes[name]
        text = f"The sink {name} does not show what the tables say. {publish.get('message') or ''}"
        only = RunEnd({**end.values, "publishes": {name: publish}}, end.state, end.settings, end.has_report)
        title = f"sink {name}: its publish ended as {publish['status']}"
        yield only.alert("sink", f"{name} {publish['status']}", title, text, "publishes")


def _held_alert(end: RunEnd) -> Alert:
    """The alert of a hold: by a gate of this run, or of one before it, as always with the job publish."""
    gates = ", ".join(_closed(end, HELD))
    why = f"The gates that hold it: {gates}." if gates else str(end.values.get("message") or "A run before holds it.")
    text = f"The sinks (of value_props: the files) stay as they were. {why}"
    key = _held_key(end).removeprefix("gate_held ")
    alert = end.alert("gate_held", key, f"{end.job}: the publish is held", text, "publish")
    return alert if gates else replace(alert, steps=[(_OF_ANOTHER_RUN, None)])


def _of_its_records(end: RunEnd) -> Iterator[Alert]:
    if not end.is_well:
        return
    limit, datasets = end.settings.telling.alerts.rejected_share, end.values.get("datasets") or {}
    for name, number in rejected(end.values).items():
        records = datasets[name]["records"]
        if number > limit * records:
            text = f"{number:,} of {records:,} records of {name} were rejected, more than {limit:.1%}."
            title = f"{end.job}: {number / records:.1%} of {name} rejected"
            only = RunEnd({**end.values, "datasets": {name: datasets[name]}}, end.state, end.settings)
            yield only.alert("too_many_rejected", f"{end.job} {name}", title, text, "status", "datasets")
    if conflicts := end.values.get("conflicts"):
        text = f"Conflicting orders: {conflicts:,}. One version of each came with two contents."
        yield end.alert("conflicts", end.job, f"{end.job}: conflicting orders", text, "conflicts")


def _of_its_input(end: RunEnd, now: datetime) -> Iterator[Alert]:
    if not end.is_well:
        return
    if drifted := _drifted(end):
        # the names come from the sender, who may call a field anything: they are in the report, not here
        counted = [f"{dataset}, {meaning}: {len(names)}" for (dataset, meaning), names in drifted.items()]
        names = sha256(repr(sorted(drifted.items())).encode(errors="surrogatepass")).hexdigest()[:12]
        text = f"Fields that are not as declared, by dataset and kind: {'; '.join(counted)}."
        yield end.alert("drift", f"{end.job} {names}", f"{end.job}: the schema of the input drifted", text, "drift")
    if alert := no_data_alert(end.settings, end.job, end.state, now):
        yield alert


def _drifted(end: RunEnd) -> dict[tuple[str, str], list[str]]:
    """The fields that drifted and are to be told, by dataset and what that means."""
    drift, policies = end.values.get("drift") or {}, end.settings.drift
    return {
        (dataset, meaning): sorted(kinds[kind])
        for dataset, kinds in drift.items()
        for kind, meaning in DRIFT_MEANINGS.items()
        if kinds.get(kind) and getattr(policies, kind) != "ignore"
    }


def _reason(end: RunEnd) -> str:
    """Why a run failed. Of an error that nobody foresaw only its kind: its text may quote a record."""
    error, message = end.values.get("error"), str(end.values.get("message") or "")
    if error is None:
        return "It was interrupted."
    if message.startswith(f"{error}: "):
        return f"An error that nobody foresaw, {error}. Its text is in the log and in the report."
    return message


def _closed(end: RunEnd, state: str) -> list[str]:
    """The gates that are in this state, each once."""
    return list(dict.fromkeys(gate["gate"] for gate in end.values.get("gates") or () if gate["state"] == state))


def _held_key(end: RunEnd) -> str:
    """One hold keeps all sinks as they are, whichever job tells it; only value_props has files of its own."""
    return f"gate_held {end.job if end.job == 'value_props' else 'sinks'}"


def _failed_before(end: RunEnd) -> bool:
    """Whether the attempt before this run was no success."""
    run_id = end.values.get("run_id")
    before = [each for each in end.state.attempts if each.run_id != run_id and each.status != BUSY]
    return bool(before) and before[-1].status != DONE
