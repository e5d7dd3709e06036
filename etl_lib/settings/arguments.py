"""The command lines of the jobs, as the contract has them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

from etl_lib.process.errors import ConfigError
from etl_lib.settings.config import DEFAULT_CONFIG

EARLIEST, LATEST = date(1900, 1, 1), date(9999, 12, 26)
"""The weeks of these days have all their days in the calendar."""
RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")
"""The form of every run id."""


@dataclass(frozen=True)
class Arguments:
    """What every job is told; `given` is the command line as it was."""

    config: Path
    overrides: tuple[str, ...]
    plan: bool
    as_json: bool
    given: tuple[str, ...]

    @property
    def applied_run_id(self) -> str | None:
        """The run that is to be applied from its stage; None for every other job and run."""
        return None

    @property
    def accepted_gates(self) -> tuple[str, ...]:
        """The gates that do not matter to this run."""
        return ()


@dataclass(frozen=True)
class Window:
    """`since <= version_at < until`, each an ISO 8601 time or None for no bound."""

    since: str | None = None
    until: str | None = None


EVERYTHING = Window()


@dataclass(frozen=True)
class Scope:
    """Which files and records of the input an orders run is about."""

    window: Window = EVERYTHING
    full: bool = False

    @property
    def marks_files(self) -> bool:
        """Whether the files of this run count as loaded: not when only a window of their records was."""
        return self.window == EVERYTHING


@dataclass(frozen=True)
class OrderArguments(Arguments):
    """What a run of the orders job was asked to do."""

    scope: Scope
    apply_run_id: str | None
    overruled: tuple[str, ...] = ()
    """The gates that stopped the run to apply, and do not matter."""

    @property
    def applied_run_id(self) -> str | None:
        """That of `--apply`."""
        return self.apply_run_id


@dataclass(frozen=True)
class FeatureArguments(Arguments):
    """What a run of the value-props job was asked to do: `first` and `last` are days of the weeks to fill again."""

    as_of: date | None
    first: date | None
    last: date | None
    overruled: tuple[str, ...] = ()

    @property
    def accepted_gates(self) -> tuple[str, ...]:
        """Those of `--accept-gate`."""
        return self.overruled


@dataclass(frozen=True)
class MaintainArguments(Arguments):
    """What a run of the maintain job was asked to do: one of UPKEEP."""

    task: str
    restored_run_id: str | None
    force: bool


@dataclass(frozen=True)
class HealthArguments(Arguments):
    """What the health job was asked to do."""

    alert: bool


@dataclass(frozen=True)
class PublishArguments(Arguments):
    """What a run of the publish job was asked to do: no `sinks` are all that are configured."""

    full: bool
    sinks: tuple[str, ...]
    released_run_id: str | None
    """The run whose hold is to be lifted first."""


GATES = ("rules", "drift", "rejected", "records", "freshness", "volume", "profile")
"""The gates that may stop a run."""

UPKEEP = {
    "compact": "join small files",
    "vacuum": "delete files that no version within the retention needs",
    "purge": "remove old stages of finished runs, and old entries of the quarantine that are settled",
    "check": "verify the invariants of the tables",
    "restore": "bring the tables back to before the run that --run names",
}
"""The tasks of the maintain job."""


class Parser(argparse.ArgumentParser):
    """A parser with the options of every job, whose errors are configuration errors, told like all others."""

    def __init__(
        self, job: str, description: str, overrides_at_once: int | str = "+", *, add_help: bool = True
    ) -> None:
        """`overrides_at_once` is how many values may follow one `--set`: one where a bare word may follow."""
        super().__init__(prog=f"jobs/{job}.py", description=description, allow_abbrev=False, add_help=add_help)
        self.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="PATH", help="settings, a YAML file")
        self.add_argument(
            "--set", action="extend", nargs=overrides_at_once, default=[], dest="overrides", metavar="KEY=VALUE",
            help="override settings by their dotted keys, e.g. input.orders=landing/*.json; repeatable",
        )  # fmt: skip

    def add_plan(self, text: str = "show what would change; change no table") -> None:
        """Add the options of a job that can show what it would do."""
        self.add_argument("--plan", action="store_true", help=text)
        self.add_json("print the summary as one JSON object")

    def add_json(self, text: str) -> None:
        """Add the option of a job that prints JSON."""
        self.add_argument("--json", action="store_true", dest="as_json", help=text)

    def add_accepted_gates(self, text: str) -> None:
        """Add the option that overrules gates."""
        self.add_argument(
            "--accept-gate", action="append", default=[], dest="overruled", choices=GATES, metavar="GATE", help=text
        )

    def read(self, argv: Sequence[str]) -> dict[str, Any]:
        """The values of a command line by the names of the fields of its Arguments."""
        values = {"plan": False, **vars(self.parse_intermixed_args(argv)), "given": tuple(argv)}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(f"{message}\n{self.format_usage()}".rstrip())


def parse_order_arguments(argv: Sequence[str]) -> OrderArguments:
    """Read the command line of the orders job; ConfigError says what is wrong with it."""
    parser = Parser("orders", "Load order events into trusted Delta tables.")
    parser.add_argument("--since", type=_time, metavar="TS", help="only records with TS <= version_at (ISO 8601)")
    parser.add_argument("--until", type=_time, metavar="TS", help="only records with version_at < TS (ISO 8601)")
    parser.add_argument("--full", action="store_true", help="all files again, whatever the ledger says")
    parser.add_plan()
    parser.add_argument("--apply", dest="apply_run_id", metavar="RUN_ID", help="apply exactly that plan")
    parser.add_accepted_gates("with --apply: carry out the run although this gate stopped it; repeatable")
    values = parser.read(argv)
    run_id, since, until, full = (values.pop(name) for name in ("apply_run_id", "since", "until", "full"))
    if run_id and (values["plan"] or full or since or until):
        raise ConfigError("--apply takes a plan as it is: leave out --plan, --full, --since and --until")
    if values["overruled"] and run_id is None:
        raise ConfigError("--accept-gate goes with --apply RUN_ID, which carries out a run that was stopped")
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        raise ConfigError(f"--apply takes the run id that --plan printed, not {run_id!r}")
    if since and until and since >= until:
        raise ConfigError(f"--since {since} is not before --until {until}")
    return OrderArguments(**values, scope=Scope(Window(since, until), full), apply_run_id=run_id)


def parse_feature_arguments(argv: Sequence[str]) -> FeatureArguments:
    """Read the command line of the value-props job; ConfigError says what is wrong with it."""
    parser = Parser("value_props", "Compute the features of value propositions from prints, taps and payments.")
    parser.add_argument("--as-of", type=_date, metavar="DATE", help="the target week is the week of DATE")
    parser.add_argument("--from", type=_date, dest="first", metavar="DATE", help="all weeks from the week of DATE")
    parser.add_argument("--to", type=_date, dest="last", metavar="DATE", help="with --from: to the week of DATE")
    parser.add_accepted_gates("go on although this gate is closed; repeatable")
    parser.add_plan()
    arguments = FeatureArguments(**parser.read(argv))
    if arguments.as_of and (arguments.first or arguments.last):
        raise ConfigError("--as-of names one week, --from and --to several: leave out one of the two")
    if arguments.last and not arguments.first:
        raise ConfigError("--to needs --from, the first of the weeks")
    if arguments.first and arguments.last and arguments.first > arguments.last:
        raise ConfigError(f"--from {arguments.first} is after --to {arguments.last}")
    return arguments


def parse_pull_arguments(argv: Sequence[str]) -> Arguments:
    """Read the command line of the pull job; ConfigError says what is wrong with it."""
    parser = Parser("pull", "Pull orders from the configured source into landing files.")
    parser.add_json("print the summary as one JSON object")
    return Arguments(**parser.read(argv))


def parse_health_arguments(argv: Sequence[str]) -> HealthArguments:
    """Read the command line of the health job; ConfigError says what is wrong with it."""
    parser = Parser("health", "Say whether the jobs are healthy, without Spark.")
    parser.add_argument("--alert", action="store_true", help="send an alert of what only silence shows")
    parser.add_json("print what is known as one JSON object")
    return HealthArguments(**parser.read(argv))


def parse_publish_arguments(argv: Sequence[str]) -> PublishArguments:
    """Read the command line of the publish job; ConfigError says what is wrong with it."""
    parser = Parser("publish", "Publish the tables to the configured sinks: what changed since their last publish.")
    parser.add_argument("--full", action="store_true", help="publish everything, whatever the sinks show")
    parser.add_argument(
        "--sink", action="append", default=[], dest="sinks", metavar="NAME", help="only this sink; repeatable"
    )
    parser.add_argument(
        "--release", dest="released_run_id", metavar="RUN_ID", help="first lift the hold of this run: publish it, too"
    )
    parser.add_plan("show what each sink would receive; write nothing")
    arguments = PublishArguments(**parser.read(argv))
    if arguments.plan and arguments.released_run_id:
        raise ConfigError("--release changes the ledger, and --plan changes nothing: leave out one of the two")
    return arguments


def parse_maintain_arguments(argv: Sequence[str]) -> MaintainArguments:
    """Read the command line of the maintain job; ConfigError says what is wrong with it."""
    parser = Parser("maintain", "Look after the tables.", overrides_at_once=1)
    tasks = "; ".join(f"{task}: {purpose}" for task, purpose in UPKEEP.items())
    parser.add_argument("task", choices=UPKEEP, metavar="TASK", help=tasks)
    parser.add_argument("--run", dest="restored_run_id", metavar="RUN_ID", help="restore: the run to undo")
    parser.add_argument("--force", action="store_true", help="vacuum: also with a retention that is not safe")
    parser.add_plan()
    arguments = MaintainArguments(**parser.read(argv))
    if arguments.task == "restore" and not RUN_ID.fullmatch(arguments.restored_run_id or ""):
        raise ConfigError("restore takes --run RUN_ID, the run to undo: etl_runs has them all")
    for option, is_given, tasks_of in (
        ("--run", arguments.restored_run_id is not None, ("restore",)),
        ("--force", arguments.force, ("vacuum",)),
        ("--plan", arguments.plan, ("restore", "purge")),
    ):
        if is_given and arguments.task not in tasks_of:
            raise ConfigError(f"{option} is an option of {' and '.join(tasks_of)}, not of {arguments.task}")
    return arguments


def _time(text: str) -> str:
    """An ISO 8601 date or time as one in UTC; without a zone it counts as UTC."""
    try:
        time = datetime.fromisoformat(text)
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 date or time") from None


def _date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # fromisoformat knows further forms, such as 2020-W01-1
    if day is None or day.isoformat() != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date YYYY-MM-DD")
    if not EARLIEST <= day <= LATEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not between {EARLIEST} and {LATEST}")
    return day
