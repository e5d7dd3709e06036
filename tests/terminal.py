"""A terminal of the tests: what is written to it, and what a person sees on it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import TextIO

_PART = re.compile(r"\x1b\[(?P<number>\d*)(?P<command>[AJKm]|\d*(?:;\d+)*m)|(?P<other>[\r\n])|(?P<text>[^\x1b\r\n]+)")


@dataclass
class Screen:
    """Knows the few commands that are used: to go up, to the start of the line, and to clear what is below."""

    columns: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    frames: list[list[str]] = field(default_factory=list)
    """The screen each time before it changed below the cursor, without what is empty."""

    def write(self, text: str) -> None:
        at = 0
        for part in _PART.finditer(text):
            assert part.start() == at, f"a command that this terminal does not know: {text[at : at + 20]!r}"
            at = part.end()
            if part["text"]:
                self._put(part["text"])
            elif part["other"] == "\r":
                self.column = 0
            elif part["other"] == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part["command"] == "A":
                self.row -= int(part["number"])
                assert self.row >= 0
            elif part["command"] == "J":
                self.frames.append([line for line in self.lines if line.strip()])
                self.lines[self.row :] = [self.lines[self.row][: self.column]]
        assert at == len(text)

    def _put(self, text: str) -> None:
        line = self.lines[self.row].ljust(self.column)
        assert len(text) <= self.columns - self.column, f"wrapped: {text}"
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)

    @property
    def seen(self) -> list[str]:
        """What stands there in the end."""
        return [line.rstrip() for line in self.lines if line.strip()]


@contextmanager
def terminal(columns: int = 100, rows: int = 40) -> Iterator[tuple[TextIO, Screen]]:
    """A stream on a terminal of its own, and the screen, which is complete at the end of the block."""
    screen = Screen(columns)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 100_000)
            except OSError:  # as Linux tells that the other end is closed
                return
            if not part:
                return
            shown.append(part)

    reader = Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        yield stream, screen
    reader.join()
    os.close(ours)
    screen.write(b"".join(shown).decode())
