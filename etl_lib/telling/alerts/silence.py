"""What only silence shows: a job that does not run, a run that was killed, runs that find nothing new.."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from etl_lib.settings import config
from etl_lib.telling.alerts.alert import Alert, link_to
from etl_lib.telling.health import Health
from etl_lib.telling.state import JobState, read_state


def alerts_of_silence(settings: config.Settings, health: Health, now: datetime) -> list[Alert]:
    """What the health of the jobs gives to be alerted to; their failures they told themselves."""
    return [*_silent_jobs(settings, health), *_killed_runs(settings, health), *_without_data(settings, now)]


def no_data_alert(settings: config.Settings, job: str, state: JobState, now: datetime) -> Alert | None:
    """The alert of a job whose runs have found nothing new for longer than they may; None while that is not so."""
    limit = {str(name): hours for name, hours in settings.telling.alerts.no_data_hours.items()}.get(job)
    hours = hours_without_data(state, now)
    if limit is None or hours is None or hours <= limit:
        return None
    return Alert(
        kind="no_data",
        key=f"no_data {job}",
        title=f"{job}: no new data for {hours:.0f} hours",
        text=f"The last run that read a record ended {hours:.1f} hours ago, more than {limit:g}.",
        where=f"the job {job}, warehouse {settings.warehouse}",
        steps=[
            ("Look whether the sender still delivers into the landing folder, or the source is still pulled.", None),
            ("If files are there, see in the log of the last run why it did not take them.", None),
        ],
        link=link_to(settings, None),
    )


def hours_without_data(state: JobState, now: datetime) -> float | None:
    """How long ago an attempt read a record, or the first one known began that read none; None without any attempt."""
    ends = [attempt.ended_at for attempt in state.attempts if attempt.records]
    since = ends[-1] if ends else next((attempt.started_at for attempt in state.attempts), None)
    return None if since is None else (now - datetime.fromisoformat(since)).total_seconds() / 3600


def _silent_jobs(settings: config.Settings, health: Health) -> Iterator[Alert]:
    for job, limit in settings.health.max_age_hours.items():
        hours = health.jobs[job].hours_since_success
        if hours is None or hours > limit:
            said = "It has never succeeded." if hours is None else f"Its last success was {hours:.1f} hours ago."
            yield Alert(
                kind="silent",
                key=f"silent {job} late",
                title=f"{job}: no success for more than {limit:g} hours",
                text=f"{said} It may be at most {limit:g} hours ago (health.max_age_hours).",
                where=f"the job {job}, warehouse {settings.warehouse}",
                steps=[
                    ("Look whether the scheduler started it, and at the log of its last run.", None),
                    ("Start it by hand with the command of the scheduler.", None),
                ],
                link=link_to(settings, None),
            )


def _killed_runs(settings: config.Settings, health: Health) -> Iterator[Alert]:
    lock = health.lock
    if lock is not None and lock.is_dead:
        yield Alert(
            kind="silent",
            key=f"silent killed {lock.run_id}",
            title=f"run {lock.run_id} was killed",
            text=f"Its process {lock.pid} on {lock.host} is gone, and it held the warehouse since {lock.since}.",
            where=f"run {lock.run_id}, warehouse {settings.warehouse}",
            steps=[("Run the same job again: it finishes what was staged.", None)],
            link=link_to(settings, None),
        )


def _without_data(settings: config.Settings, now: datetime) -> Iterator[Alert]:
    for job in settings.telling.alerts.no_data_hours:
        if alert := no_data_alert(settings, job, read_state(settings.output, job), now):
            yield alert
