"""How every command begins and ends: its logs, its settings, and its errors as messages with an exit code.

Nothing of Spark is imported: some commands need none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from etl_lib.process.errors import LakehouseError
from etl_lib.process.logs import configure_logs, log_stream
from etl_lib.settings.config import Settings
from etl_lib.settings.strict_model import load_settings

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


def run_process(command: Command) -> None:
    """Carry out this process's own command line, and end it with the exit code if that is not 0.

    Databricks counts every SystemExit of a Python task as a failure, that of 0 too.
    """
    if code := exit_code(command):
        sys.exit(code)


def read_settings(config: Path, overrides: Sequence[str]) -> Settings:
    """The settings of a file, changed by overrides; from here on the logs are as they say."""
    settings = load_settings(Settings, config, overrides)
    configure_logs(settings.logs.level, settings.logs.file, stream=log_stream())
    return settings
