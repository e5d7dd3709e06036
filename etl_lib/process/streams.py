"""What a person reads: logs on stderr, results on stdout.

spark-submit starts Python with stderr merged into stdout, so both streams are looked for anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape


def console_on(stream: TextIO) -> Console:
    """A console for results: in colour and as wide as the terminal, or plain and 110 wide where none is."""
    width = _width_of_stdout() if stream is sys.stdout else None
    return Console(file=stream, width=width or 110, force_terminal=width is not None, highlight=False, emoji=False)


def printable(text: str) -> str:
    """A text of the input as console markup: what could steer a terminal or hide in it is shown as its escape."""
    return escape(visible(text))


def visible(text: str, keep: str = "") -> str:
    """A text of the input in which what could steer its reader's screen, or hide there, is shown as its escape.

    The characters of `keep` stay as they are.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def stream_of_logs() -> TextIO:
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


def _width_of_stdout() -> int | None:
    """The columns of the terminal that stdout comes to; None where it comes to no terminal."""
    try:
        if not _is_merged():
            return _width_of(sys.stdout)
        with Path(f"/proc/{os.getppid()}/fd/1").open("a", encoding="utf-8") as stream:
            return _width_of(stream)
    except OSError:
        return None


def _width_of(stream: TextIO) -> int | None:
    return (os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None


def _is_merged() -> bool:
    """Whether spark-submit started this process: it leaves its gateway's port, and one pipe for both streams."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return False
    out, err = os.fstat(1), os.fstat(2)
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
