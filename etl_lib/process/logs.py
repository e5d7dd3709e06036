"""The logs: what this project and all other libraries tell, in one form, without a secret.

On a terminal they are for people, otherwise JSON, one object a line. Spark's Java writes the same two forms
(deploy/spark/log4j2.properties).
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from etl_lib.process.errors import ConfigError
from etl_lib.process.log_stream import LogStream
from etl_lib.process.redaction import redact, redacted
from etl_lib.process.streams import stream_of_logs

_OURS = "etl_lib"
_current: LogStream | None = None


def configure_logs(level: str = "info", file: str | None = None, *, stream: LogStream | None = None) -> None:
    """Send every log event of this level or above to stderr, and to a local file if one is named; stdout belongs to the
    summary. ConfigError when the file cannot be opened.

    Other libraries tell their warnings and errors alone. From here on secrets are also taken out of what they log, and
    of errors that nobody catches.
    """
    global _current  # noqa: PLW0603 - a process has one stream for its logs, as it has one structlog
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark prints a JSON line of its own for each error that it raises; ours says it once.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    _redact_other_outputs()
    _current = stream or LogStream(stream_of_logs())
    handlers: list[logging.Handler] = [logging.StreamHandler(_current)]
    handlers[0].setFormatter(_formatter(for_people=_current.isatty()))
    if file is not None:
        handlers.append(_file_handler(file))
    _replace_handlers(handlers)
    logging.getLogger(_OURS).setLevel(level.upper())
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def log_stream() -> LogStream:
    """Where the logs of this process go."""
    return LogStream(sys.stderr) if _current is None or _current.is_closed else _current


def _formatter(*, for_people: bool) -> ProcessorFormatter:
    # The pretty traces of structlog show local variables, secrets among them.
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if for_people
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    return ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_people else "iso", utc=not for_people),
            *([_without_our_name] if for_people else []),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
    )


def _without_our_name(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A person need not know which module of ours tells something."""
    if str(event.get("logger")).startswith(_OURS):
        del event["logger"]
    return event


def _file_handler(file: str) -> logging.Handler:
    """JSON lines behind what the file has; when it was moved away, a new one is begun."""
    path = Path(file.removeprefix("file:"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"logs.file: {path} cannot be written: {error.strerror}") from error
    handler.setFormatter(_formatter(for_people=False))
    return handler


def _replace_handlers(handlers: list[logging.Handler]) -> None:
    """Those of an earlier call go; those of others (a platform, a test runner) stay."""
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, ProcessorFormatter)]:
        root.removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            handler.close()
    for handler in handlers:
        root.addHandler(handler)


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
