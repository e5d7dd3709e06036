"""What a person reads: structured logs on stderr, results on stdout. No revealed secret is in the logs.

On a terminal logs are for people, otherwise JSON. spark-submit starts Python with stderr merged into stdout, so both
streams are looked for anew.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from rich.console import Console
from rich.markup import escape

from etl_lib.process.log_stream import LogStream
from etl_lib.process.redaction import redact, redacted


def configure_logs() -> None:
    """Send every log event to stderr; stdout belongs to the summary.

    From here on secrets are also taken out of what other libraries log, and of errors that nobody catches.
    """
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark prints a JSON line of its own for each error that it raises; ours says it once.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _redact_other_outputs()
    global _current  # noqa: PLW0603 - there is one stream for the logs of a process, as there is one structlog
    _current = stream = LogStream(_log_stream())
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
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream)),
        cache_logger_on_first_use=False,
    )


_current: LogStream | None = None


def log_stream() -> LogStream:
    """Where the logs of this process go."""
    return _current or LogStream(sys.stderr)


def console_on(stream: TextIO) -> Console:
    """A console for results: in colour and as wide as the terminal, or plain and 110 wide where none is."""
    on_terminal = stream is sys.stdout and _stdout_is_terminal()
    width = None if on_terminal else 110
    return Console(file=stream, width=width, force_terminal=on_terminal, highlight=False, emoji=False)


def printable(text: str) -> str:
    """A text of the input as console markup: what could steer a terminal or hide in it is shown as its escape."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


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


def _log_stream() -> TextIO:
    """Where logs go: stderr; under spark-submit the stderr of spark-submit itself, so that stdout has only results.

    Needs /proc, and a terminal or a pipe (./spark-submit.sh puts one before a file): two writers with positions of
    their own would overwrite each other's lines in a file. Else Python's own stderr has to do.
    """
    if not _is_merged():
        return sys.stderr
    descriptor = Path(f"/proc/{os.getppid()}/fd/2")
    try:
        return sys.stderr if descriptor.is_file() else descriptor.open("a", encoding="utf-8", buffering=1)
    except OSError:
        return sys.stderr


def _stdout_is_terminal() -> bool:
    if not _is_merged():
        return sys.stdout.isatty()
    try:
        with Path(f"/proc/{os.getppid()}/fd/1").open("a", encoding="utf-8") as stream:
            return stream.isatty()
    except OSError:
        return False


def _is_merged() -> bool:
    """Whether spark-submit started this process: it leaves its gateway's port, and one pipe for both streams."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return False
    out, err = os.fstat(1), os.fstat(2)
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
