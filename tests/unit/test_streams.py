"""What a console is given: texts of the input, but nothing that steers a terminal."""

from __future__ import annotations

import io

import pytest

from etl_lib.process.streams import console_on, printable


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
