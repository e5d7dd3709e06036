"""What a console is given: texts of the input, but nothing that steers a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from etl_lib.process.streams import console_on, printable
from tests.terminal import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("A-1001 é漢", "A-1001 é漢", id="plain"),
        pytest.param("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07", id="terminal commands"),
        pytest.param("a\nb\rc\td", r"a\nb\rc\td", id="line breaks"),
        pytest.param("\u202egnp.exe\u200b", r"\u202egnp.exe\u200b", id="hidden and reversed"),
        pytest.param("[red]a[/red]", "[red]a[/red]", id="markup"),
        pytest.param("\x9b31m", r"\x9b31m", id="the other kind of terminal command"),
    ],
)
def test_a_text_of_the_input_is_shown_and_steers_nothing(text: str, shown: str) -> None:
    stream = io.StringIO()
    console_on(stream).print(printable(text))
    assert stream.getvalue() == f"{shown}\n"


def test_a_console_is_as_wide_as_the_terminal_of_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(columns=160) as (stream, screen):
        monkeypatch.setattr(sys, "stdout", stream)
        console_on(stream).print("x" * 150)
    assert screen.seen == ["x" * 150]
