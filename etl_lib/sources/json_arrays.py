"""JSON arrays of files and API pages, walked from element to element: each keeps its exact text (1.10 stays 1.10)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pyspark.cloudpickle import register_pickle_by_value

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])

_SPACE = re.compile(r"[ \t\r\n]*")
_BREAKS = bytes.maketrans(b"\r\n", b"  ")

# A control character in a text is refused: a line break there could not be told from one between tokens.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=True)


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


class MalformedPageError(Exception):
    """A page is not JSON in UTF-8, or its array is not where it should be; the message shows nothing of the content."""


class Page:
    """One page: the records of its array, and what names the next page.

    `next` is None where the page has no such member, null, false or an empty text. A number keeps its digits.
    """

    def __init__(self, body: bytes | bytearray, records: str, following: str | None) -> None:
        """Walk the array at the dotted path `records` (empty: the page is the array); `next` is at `following`.

        Raises MalformedPageError, also when `next` is neither text nor number.
        """
        try:
            self._text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise MalformedPageError(f"not UTF-8 at byte {error.start}") from None
        self._records, self._following = _path(records), _path(following)
        self._arrays: list[list[tuple[int, int]]] = []
        self._next: Any = None
        try:
            end = after_space(self._text, self._end_of_value((), after_space(self._text, 0)))
        except json.JSONDecodeError as error:
            raise self._not_json(error.pos) from None
        except RecursionError:
            raise MalformedPageError("nested too deeply") from None
        if end != len(self._text):
            raise self._not_json(end)
        if len(self._arrays) != 1:
            raise MalformedPageError(
                f"{len(self._arrays) or 'no'} array(s) at {records or 'the page itself'}, expected one"
            )
        if self._next is not None and self._next is not False and not isinstance(self._next, str):
            raise MalformedPageError(f"{following} is neither a text nor a number")
        self.next: str | None = self._next or None

    def lines(self) -> Iterator[bytes]:
        """The text of each record, in one line."""
        for begin, end in self._arrays[0]:
            yield self._text[begin:end].encode().translate(_BREAKS)

    def _end_of_value(self, path: tuple[str, ...], at: int) -> int:
        """Where the value at `path` ends, which begins at `at`; the records and `next` are noted on the way."""
        is_array = path == self._records and self._text.startswith("[", at)
        is_on_the_way = path == self._records[: len(path)] and path != self._records
        if is_array or (is_on_the_way and self._text.startswith("{", at)):
            walk = JsonWalk(self._text, at, self._end_of_element if is_array else partial(self._end_of_member, path))
            parts = list(walk)
            if is_array:
                self._arrays.append(parts)
            return walk.at
        value, end = _DECODER.raw_decode(self._text, at)
        if self._following and path == self._following[: len(path)]:
            self._next = _member(value, self._following[len(path) :])
        return end

    def _end_of_element(self, at: int) -> int:
        return _DECODER.raw_decode(self._text, at)[1]

    def _end_of_member(self, path: tuple[str, ...], at: int) -> int:
        expect(self._text, at, '"')
        name, end = _DECODER.raw_decode(self._text, at)
        colon = after_space(self._text, end)
        expect(self._text, colon, ":")
        return self._end_of_value((*path, name), after_space(self._text, colon + 1))

    def _not_json(self, at: int) -> MalformedPageError:
        return MalformedPageError(f"not JSON at character {at + 1} of {len(self._text)}")


def malformed_line(body: bytes | bytearray, raw_name: str) -> bytes:
    """A malformed page as one line that no reader can take for JSON: the bytes with their line breaks as spaces.

    The words before it see to that: without them an array would be walked, or a broken text would become whole
    by losing its line break, or an empty page would be no record at all.
    """
    return f"malformed page, its exact bytes are in {raw_name}: ".encode() + body.translate(_BREAKS)


def _path(dotted: str | None) -> tuple[str, ...]:
    return tuple(dotted.split(".")) if dotted else ()


def _member(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
