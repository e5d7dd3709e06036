"""The stream of the logs, on which something live may stand below the lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from threading import RLock
from typing import TextIO

CLEAR_BELOW = "\x1b[J"
"""What a terminal takes as: clear all from the cursor on."""
_NO_TERMINALS = ("", "dumb", "unknown")
_USUAL_SIZE = os.terminal_size((80, 24))


class LogStream:
    """Takes whole lines from any thread, and on a terminal shows live ones below them.

    The cursor always stands above the live lines: a line of another program, such as Java, goes to the right place, and
    what it left of the live lines is cleared when they are shown again.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to this stream."""
        self._stream = stream
        self._lock = RLock()
        self._live = ""

    def write(self, text: str) -> int:
        """Write text that ends with a line break, above what is live."""
        with self._lock:
            self._put(f"{CLEAR_BELOW}{text}{self._live}" if self._live else text)
        return len(text)

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines instead of those that are live; none ends the show."""
        with self._lock:
            # The empty line keeps them apart from the logs, and is where others write.
            live = "".join(f"\n{line}" for line in lines) + f"\x1b[{len(lines)}A\r" if lines else ""
            if live or self._live:
                self._put(f"{CLEAR_BELOW}{live}")
            self._live = live

    def flush(self) -> None:
        """Hand over what was written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._stream.closed

    @property
    def can_show(self) -> bool:
        """Whether it is a terminal that can move its cursor."""
        return self.isatty() and os.environ.get("TERM", "") not in _NO_TERMINALS

    @property
    def size(self) -> os.terminal_size:
        """How many columns and lines the terminal has now."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return _USUAL_SIZE
        return size if size.columns and size.lines else _USUAL_SIZE

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
