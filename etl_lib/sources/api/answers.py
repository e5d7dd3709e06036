"""What an API answers: a whole page, a failure that may pass, or one that will not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from etl_lib.process.errors import LakehouseError
from etl_lib.settings.api_settings import ApiSource
from etl_lib.settings.api_urls import without_query
from etl_lib.sources.api.secrets import Credentials

_MB = 1 << 20
_ERROR_BODY = 1 << 16


class ApiError(LakehouseError):
    """The API did not give a page; `status` is its HTTP status, if there was an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """`message` says what, where and what to do."""
        super().__init__(message)
        self.status = status


class CircuitOpenError(ApiError):
    """Nothing was asked, because the API failed again and again a short time ago."""


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


def read_answer(response: httpx.Response, settings: ApiSource, credentials: Credentials) -> Answer:
    """Read a streamed response to its end.

    Raises FailedError for 429, 5xx and a body that is not whole, ApiError for every other answer without a page.
    """
    status = response.status_code
    if status == httpx.codes.NO_CONTENT:
        return Answer(response.url, bytearray(), _next_link(response), is_empty=True)
    if status == httpx.codes.OK:
        return Answer(response.url, _whole_body(response, settings), _next_link(response))
    message = f"HTTP {status}: {credentials.shown(_beginning(response, settings)) or 'no text'}"
    if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        waits = status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
        raise FailedError(message, status, _retry_after_s(response) if waits else 0)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        message = f"{message}; check the token, or the username and password, and what they may read"
    raise ApiError(f"{without_query(response.url)}: {message}", status)


def _whole_body(response: httpx.Response, settings: ApiSource) -> bytearray:
    """The whole body, and never more of it than `max_page_mb`."""
    body = bytearray()
    for chunk in _chunks(response, settings):
        body += chunk
        if len(body) > settings.max_page_mb * _MB:
            raise ApiError(
                f"{without_query(response.url)}: a page is larger than {settings.max_page_mb:g} MB; "
                "ask for smaller pages (page_size), or raise max_page_mb"
            )
    # Where neither a length nor chunks tell the end, a closed connection is all that does.
    told = "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "")
    if not told and not body.rstrip().endswith((b"}", b"]")):
        raise FailedError("the connection was closed in the middle of the page")
    return body


def _beginning(response: httpx.Response, settings: ApiSource) -> bytearray:
    """The first 64 KiB of a body, or as much as came."""
    body = bytearray()
    with suppress(httpx.RequestError):
        for chunk in _chunks(response, settings):
            body += chunk
            if len(body) >= _ERROR_BODY:
                break
    return body[:_ERROR_BODY]


def _chunks(response: httpx.Response, settings: ApiSource) -> Iterator[bytes]:
    """What comes, as it comes. FailedError when it takes longer than `page_timeout_s`, however steadily it comes."""
    until = time.monotonic() + settings.page_timeout_s
    for chunk in response.iter_bytes():
        yield chunk
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
