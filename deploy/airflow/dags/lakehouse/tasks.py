"""What is run, in which order, the same on each platform. Nothing of Airflow is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

LONGEST = timedelta(hours=6)
"""A job that takes longer is ended. The next run finishes what it has begun."""


@dataclass(frozen=True)
class Task:
    """One run of one job. The arguments may be templates of Airflow; `--config` is the platform's."""

    name: str
    """The id of the task in its DAG."""
    job: str
    """`orders` for `jobs/orders.py`, which is also the entry point of the wheel (there `-` stands for `_`)."""
    arguments: tuple[str, ...] = ()
    behind: str | None = None
    """The task that must be done before."""


SCHEDULED = (
    # Publishing is a task of its own, so that it can fail, be held, and be tried again by itself.
    Task("orders", "orders", ("--set", "sinks=[]")),
    Task("value_props", "value_props", ("--set", "target_week=last_complete"), behind="orders"),
    # The last one, which a DAG leaves out where the configuration names no sinks.
    Task("publish", "publish", behind="value_props"),
)
"""What the schedule runs. No window of time: the ledger knows which files are new, however late they come."""

APPROVE = "approve"
"""The task of the backfill in which a person decides."""

PLAN = Task("plan", "orders", ("--plan", "--json", "--since", "{{ params.since }}", "--until", "{{ params.until }}"))
APPLY = Task("apply", "orders", ("--apply", "{{ ti.xcom_pull(task_ids='plan')['run_id'] }}"), behind=APPROVE)
"""Applies exactly what was planned, and publishes it where the configuration names sinks."""
