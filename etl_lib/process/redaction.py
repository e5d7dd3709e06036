"""What is shown has no secret in it: `***` stands for each that was revealed, in every form in which it travels.

What leaves this machine has no personal sample in it either (`impersonal`).
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus

from structlog.typing import EventDict

MASK = "***"

_WRITINGS: tuple[Callable[[str], str], ...] = (
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="!'()*~"),  # as JavaScript does it
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text).replace("/", r"\/")[1:-1],
    # Python chooses the quotes that need no escape, by the whole text; behind both kinds ' is escaped.
    lambda text: repr(text)[1:-1],
    lambda text: repr("'\"" + text)[4:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: repr(text.encode())[2:-1],
    html.escape,
    lambda text: html.escape(text, quote=False),
)
"""How a text is written in URLs, JSON, Python and HTML."""
_HEX = re.compile(r"(?<=%)[0-9A-F]{2}|(?<=\\u)[0-9a-f]{4}|(?<=\\x)[0-9a-f]{2}")
"""The digits of an escape."""
_DIGIT = "(?:[A-Za-z0-9+/_-]|%2[BbFf])"
"""One digit of base64, of its form for URLs, or of what a URL makes of it."""

_EMAIL = re.compile(r"(?<![\w.+/:-])[\w.+-]+@[\w-]+\.[\w.-]*\w")
_USER_SAMPLE = re.compile(r"(user_id[^()\n]*) \([^)\n]*\)")
_KEYS = re.compile(r", e\.g\. [^\n]*")
"""Sample keys in the message about broken invariants."""


class _Revealed:
    """The secrets that this process has read, in all their forms."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._lock = Lock()
        self.texts: tuple[str, ...] = ()
        """The longest first: one may be a part of another."""
        self.in_base64 = re.compile("(?!)")

    def add(self, secret: str) -> None:
        with self._lock:
            if secret not in self._secrets:
                self._secrets.add(secret)
                self.texts = tuple(sorted({*self.texts, *_forms(secret)}, key=len, reverse=True))
                longest_first = sorted(self._secrets, key=len, reverse=True)
                self.in_base64 = re.compile("|".join(form for each in longest_first for form in _in_base64(each)))


_REVEALED = _Revealed()


def remember(secret: str) -> None:
    """From here on `redacted` knows this secret."""
    _REVEALED.add(secret)


def redacted(text: str) -> str:
    """The text with `***` for every secret revealed so far: as it is, in URLs, JSON, Python and HTML, in base64."""
    before = None
    # What is left can be a secret again, until nothing changes; each time the text gets shorter.
    while text != before:
        before = text
        for secret in _REVEALED.texts:
            text = text.replace(secret, MASK)
        text = _REVEALED.in_base64.sub(MASK, text)
    return text


def impersonal(text: str) -> str:
    """A text of the metrics without the ids of users and the addresses that may stand in it as samples."""
    return _KEYS.sub("", _USER_SAMPLE.sub(r"\1", _EMAIL.sub("(an address)", text)))


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no secret in any key or value of an event, at any depth.

    Stands before the renderer, and after what turns exceptions into text.
    """
    return {redacted(key): _shown(value) for key, value in event.items()} if _REVEALED.texts else event


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(each) for each in value]
    # Renderers show any other object as its repr.
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes | bytearray) else repr(value)
    return value if redacted(text) == text else redacted(text)


def _forms(secret: str) -> set[str]:
    """A secret as it is, written in one way, and that in another way: JSON in JSON, a URL in a URL."""
    once = set(_written(secret))
    if "latin-1" in _encodings(secret):
        once.add(quote(secret, safe="", encoding="latin-1"))
    return {form for each in once for form in _written(each)}


def _written(text: str) -> Iterator[str]:
    """A text as it is, and in each of the writings, whose escapes have letters of either case."""
    yield text
    for writing in _WRITINGS:
        yield writing(text)
        yield _HEX.sub(lambda digits: digits[0].swapcase(), writing(text))


def _encodings(text: str) -> list[str]:
    """What URLs and basic authentication make bytes of a text with; the longer first, or its end would be left."""
    return ["utf-8"] if text.isascii() or max(text) > "\u00ff" else ["utf-8", "latin-1"]


def _in_base64(secret: str) -> Iterator[str]:
    """Patterns for the digits of base64 that a secret makes, behind 0, 1 or 2 bytes more than a multiple of three.

    The first and the last digit may have bits of their neighbours: any digit is taken there.
    """
    for encoded in map(secret.encode, _encodings(secret)):
        for before in range(3):
            end = 8 * (before + len(encoded))
            digits = base64.b64encode(bytes(before) + encoded).decode()[-(-8 * before // 6) : end // 6]
            own = digits.replace("+", "(?:[+-]|%2[Bb])").replace("/", "(?:[/_]|%2[Ff])")
            yield (_DIGIT if before else "") + own + (_DIGIT if end % 6 else "")
