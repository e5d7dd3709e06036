"""The frame of every job's command: logs on, errors as messages with their exit code."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from etl_lib.process.errors import LakehouseError
from etl_lib.process.logs import configure_logs

log = structlog.get_logger(__name__)


def run_command(command: Callable[[], None]) -> int:
    """Run a job's command; gives the exit code of the contract.

    An expected error is one log line that says what to do; any other is logged with its trace and exits 1.
    """
    configure_logs()
    try:
        command()
    except LakehouseError as error:
        log.error(str(error), error=type(error).__name__)  # noqa: TRY400 - expected: no trace
        return error.exit_code
    except Exception:
        log.exception("unexpected error: nothing is lost, run the command again or report the trace")
        return 1
    return 0
