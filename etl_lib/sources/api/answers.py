"""What an API answers: a whole page, a failure that may pass, or one that will not."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from etl_lib.process.errors import LakehouseError
from etl_lib.process.redaction import redacted
from etl_lib.settings.api_settings import ApiSource, without_query

_MB = 1 << 20
_ERROR_BODY = 1 << 16
_SHOWN = 500


class ApiError(LakehouseError):
    """The API did not give a page; `status` is its HTTP status, if there was an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """`message` says what, where and what to do."""
        super().__init__(message)
        self.status = status


class FailedError(Exception):
    """A failure that may pass; `wait_s` is how long the server asks to wait."""

    def __init__(self, message: str, status: int | None = None, wait_s: float = 0) -> None:
        """`message` has no credentials in it."""
        super().__init__(message)
        self.status = status
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    """A whole body, the URL that it came from, and the address with rel="next" of the Link header (RFC 8288)."""

    url: httpx.URL
    body: bytearray
    link: str | None = None
    is_empty: bool = False
    """The server said that there is no content (204)."""


def read_answer(response: httpx.Response, settings: ApiSource) -> Answer:
    """Read a streamed response to its end.

    Raises FailedError for 429, 5xx and a body that is not whole, ApiError for every other answer without a page.
    """
    status = response.status_code
    if status == httpx.codes.NO_CONTENT:
        return Answer(response.url, bytearray(), _next_link(response), is_empty=True)
    if status == httpx.codes.OK:
        return Answer(response.url, _whole_body(response, settings), _next_link(response))
    message = f"HTTP {status}: {_beginning(response, settings) or 'no text'}"
    if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        waits = status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
        raise FailedError(message, status, _retry_after_s(response) if waits else 0)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        message = f"{message}; check the token, or the username and password, and what they may read"
    raise ApiError(f"{without_query(response.url)}: {message}", status)


def _whole_body(response: httpx.Response, settings: ApiSource) -> bytearray:
    """The whole body. ApiError when it is larger than `max_page_mb`."""
    body = bytearray()
    _read_into(body, settings.max_page_mb * _MB, response, settings)
    if len(body) > settings.max_page_mb * _MB:
        raise ApiError(
            f"{without_query(response.url)}: a page is larger than {settings.max_page_mb:g} MB; "
            "ask for smaller pages (page_size), or raise max_page_mb"
        )
    # Where neither a length nor chunks tell the end, a closed connection is all that does.
    has_end = "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "")
    if not has_end and not body.rstrip().endswith((b"}", b"]")):
        raise FailedError("the connection was closed in the middle of the page")
    return body


def _beginning(response: httpx.Response, settings: ApiSource) -> str:
    """The first 500 characters of what a server said, in one line, without credentials."""
    body = bytearray()
    with suppress(httpx.RequestError):
        _read_into(body, _ERROR_BODY, response, settings)
    # The credentials go first: the cut could leave the half of one.
    text = " ".join(redacted(body[:_ERROR_BODY].decode("utf-8", "replace")).split())
    return "".join(character if character.isprintable() else "?" for character in text[:_SHOWN])


def _read_into(body: bytearray, most: float, response: httpx.Response, settings: ApiSource) -> None:
    """Read what comes, until it is more than `most` bytes. FailedError when it takes longer than `page_timeout_s`."""
    until = time.monotonic() + settings.page_timeout_s
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > most:
            return
        if time.monotonic() > until:
            raise FailedError(f"the answer was not whole after {settings.page_timeout_s:g} s (page_timeout_s)")


def _retry_after_s(response: httpx.Response) -> float:
    """Retry-After, in seconds or as a date (RFC 9110); 0 when there is none or it is neither."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _next_link(response: httpx.Response) -> str | None:
    for link in response.links.values():
        if "next" in link.get("rel", "").lower().split():
            return link.get("url")
    return None
