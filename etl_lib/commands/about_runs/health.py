"""The health command: whether the other jobs are well, for a person, and for what restarts, calls or routes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Column
from rich.table import Table as Grid

from etl_lib.commands.entry import read_settings
from etl_lib.process.errors import UnhealthyError
from etl_lib.process.streams import console_on, printable
from etl_lib.settings.arguments import parse_health_arguments
from etl_lib.settings.config import Settings
from etl_lib.telling.alerts.limits import open_book
from etl_lib.telling.alerts.routes import check_routes
from etl_lib.telling.alerts.sending import send_due
from etl_lib.telling.alerts.silence import alerts_of_silence
from etl_lib.telling.health import Health, health_of


def check_health(argv: Sequence[str]) -> None:
    """Print how the jobs are, and with --alert send the alerts of silence; UnhealthyError when something is not well,
    or cannot be read.
    """
    arguments = parse_health_arguments(argv)
    settings = read_settings(arguments.config, arguments.overrides)
    if arguments.alert:
        check_routes(settings.telling.alerts)
    now = datetime.now(UTC)
    try:
        health = health_of(settings, now)
    except OSError as error:
        raise UnhealthyError(f"{settings.output}: what the jobs left there cannot be read: {error}") from error
    if arguments.as_json:
        sys.stdout.write(json.dumps(as_json(health), ensure_ascii=False) + "\n")
    else:
        print_health(health, console_on(sys.stdout))
    failed = send_alerts(settings, health, now) if arguments.alert else []
    if failed:
        raise UnhealthyError(f"alerts did not arrive by: {', '.join(failed)}; jobs/alert.py test says more")
    if health.problems:
        raise UnhealthyError("not healthy:\n  " + "\n  ".join(health.problems))


def send_alerts(settings: Settings, health: Health, now: datetime) -> list[str]:
    """Send the alerts of what only silence shows; gives the names of the channels that failed."""
    with open_book(settings.output) as book:
        return send_due(alerts_of_silence(settings, health, now), settings.telling.alerts, book, now)


def as_json(health: Health) -> dict[str, object]:
    """What is known; of attempts what tells how they went."""
    jobs = {}
    for name, job in health.jobs.items():
        jobs[name] = asdict(job)
        for one in ("last_attempt", "last_success"):
            attempt = getattr(job, one)
            shown = ("run_id", "status", "started_at", "ended_at", "message")
            jobs[name][one] = attempt and {field: getattr(attempt, field) for field in shown}
    is_healthy = not health.problems
    return {"is_healthy": is_healthy, "problems": health.problems, **asdict(health), "jobs": jobs}


def print_health(health: Health, console: Console) -> None:
    """A row a job, then the lock and the tables."""
    numbers = [Column(heading, justify="right") for heading in ("hours ago", "failed in a row")]
    grid = Grid("job", "last run", "status", "last success", *numbers, title="Jobs", title_justify="left")
    for name, job in health.jobs.items():
        last, success = job.last_attempt, job.last_success
        grid.add_row(
            name,
            last.run_id if last else "none",
            last.status if last else "",
            success.ended_at[:19] if success else "none",
            "" if job.hours_since_success is None else f"{job.hours_since_success:,.1f}",
            str(job.failures_in_a_row),
            style="red" if job.problems else None,
        )
    console.print(grid)
    lock = health.lock
    if lock:
        console.print(f"Held by run {lock.run_id}, process {lock.pid} on {lock.host}, since {lock.since}")
    for problem in health.problems:
        console.print(f"[red]Problem[/red] {printable(problem)}", soft_wrap=True)
    if not health.problems:
        console.print("[green]Healthy[/green]")
