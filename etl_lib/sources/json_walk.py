"""A walk over the parts of a JSON array or object: where each begins and ends, so that it keeps its exact text."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator

from pyspark.cloudpickle import register_pickle_by_value

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])

_SPACE = re.compile(r"[ \t\r\n]*")


class JsonWalk:
    """Iterates once over the array or object that begins at `at`: the begin and the end of each of its parts.

    `end_of` gives the end of the part that begins at a place. What it raises ends the iteration, and JSONDecodeError
    where a comma or the closing bracket is missing: then `at` is where the rest begins, else it is behind the bracket.
    """

    def __init__(self, text: str, at: int, end_of: Callable[[int], int]) -> None:
        """Nothing is read yet."""
        self.at = at
        self._text = text
        self._end_of = end_of

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Walk from part to part."""
        closing = "]" if self._text[self.at] == "[" else "}"
        self.at = after_space(self._text, self.at + 1)
        is_closed = self._text.startswith(closing, self.at)
        while not is_closed:
            end = self._end_of(self.at)
            yield self.at, end
            self.at = after_space(self._text, end)
            is_closed = self._text.startswith(closing, self.at)
            if not is_closed:
                expect(self._text, self.at, ",")
                self.at = after_space(self._text, self.at + 1)
        self.at += 1


def after_space(text: str, at: int) -> int:
    """Where the white space that begins at `at` ends."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def expect(text: str, at: int, sign: str) -> None:
    """JSONDecodeError when a sign does not stand at `at`."""
    if not text.startswith(sign, at):
        raise json.JSONDecodeError(f"expected {sign}", text, at)
