"""The credentials of the HTTP source: the header that they make, and texts from outside without them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from urllib.parse import unquote

from etl_lib.process.errors import ConfigError
from etl_lib.process.redaction import MASK, redacted
from etl_lib.settings.api_settings import ApiSource

_SHOWN = 500


class Credentials:
    """Revealed once, sent in one header, and never shown."""

    def __init__(self, settings: ApiSource, reveal: Callable[[str], str]) -> None:
        """Raises ConfigError, without the value, for a secret that cannot stand in a header."""
        self._values: list[str] = []
        self.headers: dict[str, str] = {}
        if settings.token is not None:
            token = reveal(settings.token)
            # What cannot be sent would be quoted in the error of the HTTP library.
            if not (token and token.isascii() and token.isprintable() and " " not in token):
                raise ConfigError(f"{settings.token}: the secret has characters that no bearer token has, or none")
            self._values = [token]
            self.headers["Authorization"] = f"Bearer {token}"
        elif settings.username is not None and settings.password is not None:
            username, password = reveal(settings.username), reveal(settings.password)
            if ":" in username:
                raise ConfigError(f"{settings.username}: a username with a colon in it cannot be sent (RFC 7617)")
            both = b64encode(f"{username}:{password}".encode()).decode()
            self._values = [value for value in (password, both) if value]
            self.headers["Authorization"] = f"Basic {both}"

    def hidden(self, text: str) -> str:
        """A text with `***` for each credential."""
        text = redacted(text)
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def stand_in(self, url: str) -> bool:
        """Whether a token or password is a part of a URL."""
        return any(value in text for value in self._values for text in (url, unquote(url)))

    def shown(self, body: bytes | bytearray) -> str:
        """The first 500 characters of what a server said, in one line, without credentials."""
        # The credentials go first: the cut could leave the half of one.
        text = " ".join(self.hidden(body.decode("utf-8", "replace")).split())
        return "".join(character if character.isprintable() else "?" for character in text[:_SHOWN])
