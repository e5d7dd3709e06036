"""The frame of every command: its configuration, its logs, and its errors as messages with an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import structlog

from etl_lib.process.errors import LakehouseError
from etl_lib.process.logs import configure_logs, log_stream
from etl_lib.run import run
from etl_lib.run.job import Job
from etl_lib.run.metrics import Metrics
from etl_lib.run.run import Run, Surroundings
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.rules import RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.telling.progress import display_of
from etl_lib.telling.ways import tell, ways_on

log = structlog.get_logger(__name__)

Command = Callable[[Sequence[str]], None]
"""What carries a command line out."""


def exit_code(command: Command, argv: Sequence[str] | None = None) -> int:
    """Carry out `argv`, or else this process's own command line; gives the exit code of the contract.

    An expected error is one log line that says what to do; any other is logged with its trace and exits 1.
    """
    configure_logs()
    try:
        command(sys.argv[1:] if argv is None else argv)
    except LakehouseError as error:
        log.error(str(error), error=type(error).__name__)  # noqa: TRY400 - expected: no trace
        return error.exit_code
    except Exception:
        log.exception("unexpected error: nothing is lost, run the command again or report the trace")
        return 1
    return 0


def run_process(command: Command) -> NoReturn:
    """Carry out this process's own command line, and end it with the exit code."""
    sys.exit(exit_code(command))


def nothing_to_check() -> None:
    """What a command checks before Spark that reads nothing from outside."""


@contextmanager
def open_run(
    job: Job,
    settings: Settings,
    arguments: Arguments,
    rules: RuleBook,
    check: Callable[[], None] = nothing_to_check,
) -> Iterator[Run]:
    """A run, whose steps are shown on a terminal while they last, and told at its end in every way that is on."""
    ways, display = ways_on(job, settings, arguments), display_of(settings, job.name)

    def tell_run(metrics: Metrics) -> None:
        if display:
            display.hide()
        tell(ways, metrics)

    with (
        run.open_run(
            job, settings, arguments, rules, Surroundings(check=check, tell=tell_run, watcher=display)
        ) as opened,
        display.following(opened.spark) if display else nullcontext(),
    ):
        yield opened


def read_configuration(arguments: Arguments) -> tuple[Settings, RuleBook]:
    """The settings that the arguments name, and the rules that those name; ConfigError tells every problem."""
    settings = read_settings(arguments.config, arguments.overrides)
    return settings, load_settings(RuleBook, Path(settings.rules))


def read_settings(config: Path, overrides: Sequence[str]) -> Settings:
    """The settings of a file, changed by overrides; from here on the logs are as they say."""
    settings = load_settings(Settings, config, overrides)
    configure_logs(settings.logs.level, settings.logs.file, stream=log_stream())
    return settings
