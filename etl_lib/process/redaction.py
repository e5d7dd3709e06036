"""What is shown has no secret in it: `***` stands for each that was revealed, in every form in which it travels."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

from structlog.typing import EventDict

MASK = "***"


class _Revealed:
    """The secrets that this process has read, and one pattern for all their forms."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._lock = Lock()
        self.pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        with self._lock:
            if value in self._values:
                return
            self._values |= {value}
            longest_first = sorted(self._values, key=len, reverse=True)
            self.pattern = re.compile("|".join(form for each in longest_first for form in _forms(each)))


_REVEALED = _Revealed()


def remember(secret: str) -> None:
    """From here on `redacted` knows this secret."""
    _REVEALED.add(secret)


def redacted(text: str) -> str:
    """The text with `***` for every secret revealed so far: as it is, in URLs, JSON, Python and HTML, in base64."""
    pattern = _REVEALED.pattern
    if pattern is None:
        return text
    # What is left can be a secret again, until nothing is found; each time the text gets shorter.
    while (shorter := pattern.sub(MASK, text)) != text:
        text = shorter
    return text


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no secret in any key or value of an event, at any depth.

    Stands before the renderer, and after what turns exceptions into text.
    """
    if _REVEALED.pattern is None:
        return event
    return {redacted(key): _shown(value) for key, value in event.items()}


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, bytes | bytearray):
        text = value.decode(errors="backslashreplace")
        return value if redacted(text) == text else redacted(text)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(each) for each in value]
    # Renderers show any other object as its repr.
    text = repr(value)
    return value if redacted(text) == text else redacted(text)


_BACKSLASH = r"(?:\\|%(?:25)*5[Cc])"


def _forms(secret: str) -> Iterator[str]:
    """Patterns for a secret: with each character as it is or escaped, and within base64, such as `user:password`."""
    yield _written(secret)
    for encoded in _encodings(secret):
        yield from _in_base64(encoded)


def _written(text: str) -> str:
    runs = re.findall(r"\\+|[^\\]", text)
    return "".join(_backslashes(len(run)) if run[0] == "\\" else _character(run) for run in runs)


def _backslashes(number: int) -> str:
    # Each level of quoting doubles them; three levels at most, so that no text takes long.
    return rf"(?:{_BACKSLASH}{{{number},{8 * number}}}|(?:{_BACKSLASH}{{1,7}}(?:u00|x)5[Cc]){{{number}}})"


def _character(character: str) -> str:
    """A pattern for a character as it is, percent-encoded, or escaped in JSON, Python or HTML, also repeatedly."""
    if re.fullmatch(r"[A-Za-z0-9._-]", character):  # nothing escapes these
        return character.replace(".", r"\.")
    plain = {re.escape(each) for each in (character, html.escape(character), *("+" if character == " " else ""))}
    percent = {"(?i:" + "".join(f"%(?:25)*{byte:02x}" for byte in each) + ")" for each in _encodings(character)}
    quoted = {
        json.dumps(character)[1:-1],
        ascii(character)[1:-1],
        repr(character.encode())[2:-1],
        "".join(rf"\u{unit:04x}" for unit in _utf16(character)),
    }
    escaped = {
        "(?i:" + re.escape(each).replace(r"\\", _BACKSLASH + "{1,7}") + ")" for each in quoted if each.startswith("\\")
    }
    before = _BACKSLASH + "{0,7}" if character in "\"'/" else ""
    return f"(?:{before}(?:{'|'.join(sorted(plain | percent))})|{'|'.join(sorted(escaped))})"


def _encodings(text: str) -> list[bytes]:
    """What URLs and basic authentication make bytes of a text with; the longer first, or its end would be left."""
    found = [text.encode()]
    if not text.isascii() and max(text) < "\u0100":
        found.append(text.encode("latin-1"))
    return found


def _utf16(character: str) -> list[int]:
    units = character.encode("utf-16-be")
    return [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]


def _in_base64(secret: bytes) -> Iterator[str]:
    """Patterns for the digits of base64 that a secret makes, behind 0, 1 or 2 bytes more than a multiple of three.

    The first and the last digit may have bits of their neighbours: any digit is taken there.
    """
    digit = "(?:[A-Za-z0-9_-]|" + _character("+") + "|" + _character("/") + ")"
    standard_or_url = {"+": f"(?:-|{_character('+')})", "/": f"(?:_|{_character('/')})"}
    for before in range(3):
        end = 8 * (before + len(secret))
        digits = base64.b64encode(bytes(before) + secret).decode()[-(-8 * before // 6) : end // 6]
        own = "".join(standard_or_url.get(each, each) for each in digits)
        yield (digit if before else "") + own + (digit if end % 6 else "")
