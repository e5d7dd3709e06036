"""A page of JSON, walked from element to element: each record keeps its exact text (1.10 stays 1.10)."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_BREAKS = bytes.maketrans(b"\r\n", b"  ")

# A control character in a text is refused: a line break there could not be told from one between tokens.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=True)


class MalformedPageError(Exception):
    """A page is not JSON in UTF-8, or its array is not where it should be; the message shows nothing of the content."""


class Page:
    """One page: `records()` walks its array, once; then `next` is the text at the dotted path `following`.

    `next` is None where the page has no such member, null, false or an empty text. A number keeps its digits.
    """

    def __init__(self, body: bytes | bytearray, records: str, following: str | None) -> None:
        """Raises MalformedPageError when the bytes are not UTF-8."""
        try:
            self._text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise MalformedPageError(f"not UTF-8 at byte {error.start}") from None
        self._records = _path(records)
        self._following = _path(following)
        self._value: Any = None
        self._arrays = 0

    def records(self) -> Iterator[str]:
        """The text of each element, in one line. Raises MalformedPageError where the page cannot be read further.

        What was yielded before that is of a broken page: it is for the caller to throw away.
        """
        try:
            end = self._skip((yield from self._walk(self._skip(0), ())))
        except RecursionError:
            raise MalformedPageError("nested too deeply") from None
        if end != len(self._text):
            raise self._broken(end)
        if self._arrays != 1:
            where = ".".join(self._records) or "the page itself"
            raise MalformedPageError(f"{self._arrays or 'no'} array(s) at {where}, expected one")

    @property
    def next(self) -> str | None:
        """What names the next page. Raises MalformedPageError when it is neither text nor number."""
        if self._value is None or self._value is False or self._value == "":
            return None
        if not isinstance(self._value, str):
            raise MalformedPageError(f"{'.'.join(self._following)} is neither a text nor a number")
        return self._value

    def _walk(self, at: int, here: tuple[str, ...]) -> Generator[str, None, int]:
        """Walk the value that begins at `at`, whose path is `here`; gives where it ends."""
        opening = self._text[at : at + 1]
        if here == self._records and opening == "[":
            self._arrays += 1
            return (yield from self._array(at))
        if here == self._records[: len(here)] and here != self._records and opening == "{":
            return (yield from self._object(at, here))
        value, end = self._decode(at)
        if here == self._following[: len(here)] and self._following:
            self._value = _member(value, self._following[len(here) :])
        return end

    def _array(self, at: int) -> Generator[str, None, int]:
        at = self._skip(at + 1)
        if self._text[at : at + 1] == "]":
            return at + 1
        while True:
            _, end = self._decode(at)
            yield self._text[at:end].replace("\r", " ").replace("\n", " ")
            at = self._skip(end)
            if self._text[at : at + 1] == "]":
                return at + 1
            at = self._skip(self._expect(",", at))

    def _object(self, at: int, here: tuple[str, ...]) -> Generator[str, None, int]:
        at = self._skip(at + 1)
        if self._text[at : at + 1] == "}":
            return at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise self._broken(at)
            key, end = self._decode(at)
            at = self._skip(self._expect(":", self._skip(end)))
            at = self._skip((yield from self._walk(at, (*here, key))))
            if self._text[at : at + 1] == "}":
                return at + 1
            at = self._skip(self._expect(",", at))

    def _decode(self, at: int) -> tuple[Any, int]:
        try:
            return _DECODER.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            raise self._broken(error.pos) from None

    def _expect(self, mark: str, at: int) -> int:
        if self._text[at : at + 1] != mark:
            raise self._broken(at)
        return at + 1

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _broken(self, at: int) -> MalformedPageError:
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
