"""The command lines of the jobs, as the contract has them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

from etl_lib.errors import ConfigError
from etl_lib.judge import EVERYTHING, Window

EARLIEST, LATEST = date(1900, 1, 1), date(9999, 12, 26)
"""The weeks of these days have all their days in the calendar."""
DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "conf" / "local.yaml"


@dataclass(frozen=True)
class Arguments:
    """What every job is told; `given` is the command line as it was."""

    config: Path
    overrides: tuple[str, ...]
    plan: bool
    as_json: bool
    given: tuple[str, ...]


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


@dataclass(frozen=True)
class FeatureArguments(Arguments):
    """What a run of the value-props job was asked to do: `first` and `last` are days of the weeks to fill again."""

    as_of: date | None
    first: date | None
    last: date | None


class Parser(argparse.ArgumentParser):
    """A parser with the options of every job, whose errors are configuration errors, told like all others."""

    def __init__(self, job: str, description: str, overrides_at_once: int | str = "+") -> None:
        """`overrides_at_once` is how many values may follow one `--set`: one where a bare word may follow."""
        super().__init__(prog=f"jobs/{job}.py", description=description, allow_abbrev=False)
        self.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="PATH", help="settings, a YAML file")
        self.add_argument(
            "--set", action="extend", nargs=overrides_at_once, default=[], dest="overrides", metavar="KEY=VALUE",
            help="override settings by their dotted keys, e.g. input.orders=landing/*.json; repeatable",
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(f"{message}\n{self.format_usage()}".rstrip())


def parse_order_arguments(argv: Sequence[str]) -> OrderArguments:
    """Read the command line of the orders job; ConfigError says what is wrong with it."""
    parser = Parser("orders", "Load order events into trusted Delta tables.")
    parser.add_argument("--since", type=_time, metavar="TS", help="only records with TS <= version_at (ISO 8601)")
    parser.add_argument("--until", type=_time, metavar="TS", help="only records with version_at < TS (ISO 8601)")
    parser.add_argument("--full", action="store_true", help="all files again, whatever the ledger says")
    _add_telling(parser)
    parser.add_argument("--apply", metavar="RUN_ID", help="apply exactly that plan")
    found = parser.parse_args(argv)
    if found.apply == "":
        raise ConfigError("--apply takes the run id that --plan printed, and it is empty")
    if found.apply and (found.plan or found.full or found.since or found.until):
        raise ConfigError("--apply takes a plan as it is: leave out --plan, --full, --since and --until")
    if found.since and found.until and found.since >= found.until:
        raise ConfigError(f"--since {found.since} is not before --until {found.until}")
    scope = Scope(Window(found.since, found.until), found.full)
    return OrderArguments(**_common(found, argv), scope=scope, apply_run_id=found.apply)


def parse_feature_arguments(argv: Sequence[str]) -> FeatureArguments:
    """Read the command line of the value-props job; ConfigError says what is wrong with it."""
    parser = Parser("value_props", "Compute the features of value propositions from prints, taps and payments.")
    parser.add_argument("--as-of", type=_date, metavar="DATE", help="the target week is the week of DATE")
    parser.add_argument("--from", type=_date, dest="first", metavar="DATE", help="all weeks from the week of DATE")
    parser.add_argument("--to", type=_date, dest="last", metavar="DATE", help="with --from: to the week of DATE")
    _add_telling(parser)
    found = parser.parse_args(argv)
    if found.as_of and (found.first or found.last):
        raise ConfigError("--as-of names one week, --from and --to several: leave out one of the two")
    if found.last and not found.first:
        raise ConfigError("--to needs --from, the first of the weeks")
    if found.first and found.last and found.first > found.last:
        raise ConfigError(f"--from {found.first} is after --to {found.last}")
    return FeatureArguments(**_common(found, argv), as_of=found.as_of, first=found.first, last=found.last)


def _add_telling(parser: Parser) -> None:
    parser.add_argument("--plan", action="store_true", help="show what would change; change no table")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def _common(found: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    return {
        "config": found.config,
        "overrides": tuple(found.overrides),
        "plan": found.plan,
        "as_json": found.json,
        "given": tuple(argv),
    }


def _time(text: str) -> str:
    """An ISO 8601 date or time as one in UTC; without a zone it counts as UTC."""
    try:
        time = datetime.fromisoformat(text)
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 date or time") from None


def _date(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # fromisoformat knows further forms, such as 2020-W01-1
    if found is None or found.isoformat() != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date YYYY-MM-DD")
    if not EARLIEST <= found <= LATEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not between {EARLIEST} and {LATEST}")
    return found
