"""One alert: what is wrong, where, and what to do, as a message for a person. Nothing of Spark is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etl_lib.process.redaction import impersonal, redacted
from etl_lib.process.streams import visible
from etl_lib.settings import config
from etl_lib.settings.telling_settings import AlertKind

_MOST_CHARACTERS = 700
_RUNBOOK = "docs/how-to/operations.md"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What somebody is alerted to."""

    kind: AlertKind
    key: str
    """The same for the same thing told again: its first words are the kind and the job or the sink."""
    title: str
    text: str
    where: str
    steps: Sequence[tuple[str, str | None]]
    """What to do, each with the command to type, if there is one."""
    link: str
    """The URL or the path of the report; empty without one."""


@dataclass(frozen=True)
class Message:
    """A message for a channel, and its tone: `failure`, `warning` or `success`."""

    title: str
    body: str
    tone: str


_TONES = {"recovered": "success", "conflicts": "warning", "drift": "warning", "too_many_rejected": "warning"}


def message_of(alert: Alert, held_back: int = 0) -> Message:
    """The alert in plain text: what, where, what to do, and the report; `held_back` are those that nobody got."""
    lines = [shown(alert.text.strip()), f"Where: {shown(alert.where)}"]
    for number, (sentence, command) in enumerate(alert.steps, 1):
        lines.append(f"Do {number}: {shown(sentence)}")
        lines += [f"    {shown(command)}"] if command else []
    if alert.link:
        lines.append(f"Report: {shown(alert.link)}")
    lines.append(f"Runbook: {_RUNBOOK}, entry {alert.kind}")
    if held_back:
        lines.append(f"Held back since the last message, as telling.alerts.most_per_hour says: {held_back}")
    return Message(shown(alert.title), "\n".join(lines), _TONES.get(alert.kind, "failure"))


def shown(text: str) -> str:
    """A text that may leave this machine: short, without secrets, personal samples and control characters."""
    safe = visible(impersonal(redacted(text)), keep="\n")
    return safe if len(safe) <= _MOST_CHARACTERS else f"{safe[:_MOST_CHARACTERS]} ..."


def link_to(settings: config.Settings, run_id: str | None) -> str:
    """Where the report of a run is, or the index of all for None; empty where no reports are drawn."""
    if not settings.telling.report:
        return ""
    folder = (settings.telling.report_url or settings.output).rstrip("/")
    return f"{folder}/runs/{run_id}/report.html" if run_id else f"{folder}/index.html"
