"""The command line of the orders job, as the contract has it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from etl_lib.errors import ConfigError
from etl_lib.judge import Window

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "conf" / "local.yaml"


@dataclass(frozen=True)
class Arguments:
    """What a run was asked to do; `given` is the command line as it was."""

    config: Path
    overrides: tuple[str, ...]
    window: Window
    full: bool
    plan: bool
    apply_run_id: str | None
    as_json: bool
    given: tuple[str, ...]

    @property
    def marks_files(self) -> bool:
        """Whether the files of this run count as loaded: not when only a window of their records was."""
        return self.window == Window()


class Parser(argparse.ArgumentParser):
    """A parser whose errors are configuration errors, told like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(f"{message}\n{self.format_usage()}".rstrip())


def parse_arguments(argv: Sequence[str], job: str, description: str) -> Arguments:
    """Read a command line; ConfigError says what is wrong with it."""
    parser = Parser(prog=f"jobs/{job}.py", description=description, allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="PATH", help="settings, a YAML file")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
        help="override one setting by its dotted key, e.g. input.orders=landing/*.json; repeatable",
    )  # fmt: skip
    parser.add_argument("--since", type=_time, metavar="TS", help="only records with TS <= version_at (ISO 8601)")
    parser.add_argument("--until", type=_time, metavar="TS", help="only records with version_at < TS (ISO 8601)")
    parser.add_argument("--full", action="store_true", help="all files again, whatever the ledger says")
    parser.add_argument("--plan", action="store_true", help="show what would change; change no table")
    parser.add_argument("--apply", metavar="RUN_ID", help="apply exactly that plan")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    found = parser.parse_args(argv)
    if found.apply == "":
        raise ConfigError("--apply takes the run id that --plan printed, and it is empty")
    if found.apply and (found.plan or found.full or found.since or found.until):
        raise ConfigError("--apply takes a plan as it is: leave out --plan, --full, --since and --until")
    if found.since and found.until and found.since >= found.until:
        raise ConfigError(f"--since {found.since} is not before --until {found.until}")
    return Arguments(
        config=found.config,
        overrides=tuple(found.overrides),
        window=Window(found.since, found.until),
        full=found.full,
        plan=found.plan,
        apply_run_id=found.apply,
        as_json=found.json,
        given=tuple(argv),
    )


def _time(text: str) -> str:
    """An ISO 8601 date or time as one in UTC; without a zone it counts as UTC."""
    try:
        time = datetime.fromisoformat(text)
        return (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 date or time") from None
