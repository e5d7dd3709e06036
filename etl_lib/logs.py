"""Structured logs on stderr: for people on a terminal, JSON otherwise."""

from __future__ import annotations

import logging

import structlog

from etl_lib.streams import log_stream


def configure_logs(*, debug: bool = False) -> None:
    """Send every log event to stderr; stdout belongs to the summary."""
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark prints a JSON line of its own for each error that it raises; ours says it once.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    stream = log_stream()
    for_people = stream.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_people else "iso", utc=not for_people),
            *([] if for_people else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
