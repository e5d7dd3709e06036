"""Structured logs on stderr: for people on a terminal, JSON otherwise. No revealed secret is in them."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

import structlog

from etl_lib.process.redaction import redact, redacted
from etl_lib.process.streams import log_stream


def configure_logs(*, debug: bool = False) -> None:
    """Send every log event to stderr; stdout belongs to the summary.

    From here on secrets are also taken out of what other libraries log, and of errors that nobody catches.
    """
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark prints a JSON line of its own for each error that it raises; ours says it once.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _redact_other_outputs()
    stream = log_stream()
    for_people = stream.isatty()
    # The pretty traces of structlog show local variables, secrets among them.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if for_people
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_people else "iso", utc=not for_people),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


class RedactedRecord(logging.LogRecord):
    """A record of Python's own logging, whose message and trace have no secret in them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Handlers that find the trace as text do not make it again."""
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            self.exc_text = redacted(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802 - the name that logging gives it
        """The message, with its arguments in it."""
        return redacted(super().getMessage())


def _redact_other_outputs() -> None:
    """Where somebody else (a debugger, a test runner, the platform) has taken the place already, it keeps it."""
    if logging.getLogRecordFactory() is logging.LogRecord:
        logging.setLogRecordFactory(RedactedRecord)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _show_uncaught_in_thread


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _show_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit and args.exc_value is not None:
        name = args.thread.name if args.thread else "unknown"
        sys.stderr.write(f"Exception in thread {name}:\n")
        _show_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
