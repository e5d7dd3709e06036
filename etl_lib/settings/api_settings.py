"""The settings of the HTTP source: what its URL may be, and how much of a URL may be shown."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import quote

import httpx
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from etl_lib.process.errors import ConfigError
from etl_lib.process.secrets import HIDDEN, BareUrl, Secret, without_credentials
from etl_lib.settings.strict_model import Location, Section

Paging = Literal["cursor", "page", "next_link"]
Name = Annotated[str, StringConstraints(min_length=1)]
Positive = Annotated[float, Field(gt=0)]


_PORTS = {"http": 80, "https": 443}


def _absolute(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        parsed = httpx.URL()
    if parsed.scheme not in _PORTS or not parsed.host:
        raise PydanticCustomError(HIDDEN, "expected https://host/path")
    return url


HttpUrl = Annotated[BareUrl, AfterValidator(_absolute)]
"""An absolute URL of http or https without credentials."""


def _without_credentials(parameters: dict[str, str]) -> dict[str, str]:
    for name in parameters:
        try:
            without_credentials(f"https://host/?{quote(name, safe='')}=")
        except ConfigError as error:
            raise PydanticCustomError(HIDDEN, "{problem}", {"problem": str(error)}) from None
    return parameters


class ApiSource(Section):
    """A paginated GET that answers JSON. The array of each page becomes the records.

    Credentials are references (`token`, or `username` and `password`), never values, and never part of the URL.
    """

    url: HttpUrl
    records: str = ""
    """The dotted path of the array in a page; empty: the page itself is the array."""
    paging: Paging
    """`cursor` and `next_link` go on until the server names no next page, `page` until a page is empty."""
    cursor_parameter: Name | None = None
    cursor_field: Name | None = None
    """The dotted path of the next cursor in a page; the last page has none, null or an empty one."""
    page_parameter: Name | None = None
    first_page: Annotated[int, Field(ge=0)] = 1
    next_link: Name | None = None
    """The dotted path of the next page's address; without it the Link header (RFC 8288) with rel="next" counts."""
    page_size_parameter: Name | None = None
    page_size: Annotated[int, Field(ge=1)] | None = None
    since_parameter: Name | None = None
    """Asks for what changed since a time (ISO 8601, UTC, whole seconds); without it every pull asks for everything."""
    overlap_s: Annotated[float, Field(ge=0)] = 300
    """Ask from so many seconds before the last pull: what a server shows late is not missed."""
    parameters: Annotated[dict[str, str], AfterValidator(_without_credentials)] = Field(default_factory=dict)
    """Further query parameters, the same in every request."""
    token: Secret | None = None
    """Sent as a bearer token."""
    username: Secret | None = None
    password: Secret | None = None
    timeout_s: Positive = 30
    """The longest wait for a connection or for the next bytes."""
    page_timeout_s: Positive = 600
    """The longest time for one page, from a server that sends on and on, too."""
    retries: Annotated[int, Field(ge=0)] = 4
    """How often a request is sent again after 429, 5xx, a time-out or a cut connection."""
    longest_wait_s: Annotated[float, Field(ge=0)] = 60
    """The longest wait before it is sent again, whatever Retry-After says."""
    breaker_failures: Annotated[int, Field(ge=1)] = 10
    """After so many failed requests in a row, over all pages and pulls, nothing more is asked for a time."""
    breaker_reset_s: Positive = 300
    """That time; then one request tries whether the server is back."""
    max_page_mb: Positive = 64
    """A larger page (in units of 2^20 bytes) is an error: a page is held in memory."""
    ca_file: Location | None = None
    """The certificates (PEM) of a private certificate authority, trusted instead of the public ones."""
    allow_http: bool = False
    """Allow plain http to other machines, where everybody on the way can read orders and credentials."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        url = httpx.URL(self.url)
        is_plain = url.scheme == "http" and not self.allow_http and not is_loopback(url)
        has_cursor = self.cursor_parameter and self.cursor_field
        problems = {
            "url: plain http shows orders and credentials to everybody on the way; "
            "write https, or set allow_http: true where the network is trusted": is_plain,
            "paging: cursor needs cursor_parameter and cursor_field": self.paging == "cursor" and not has_cursor,
            "paging: page needs page_parameter": self.paging == "page" and not self.page_parameter,
            "records: a page that is itself the array has no place for cursor_field or next_link": (
                not self.records and (self.paging == "cursor" or self.next_link)
            ),
            "page_size and page_size_parameter go together": (
                (self.page_size is None) != (self.page_size_parameter is None)
            ),
            "username and password go together": (self.username is None) != (self.password is None),
            "give a token or a username and password, not both": self.token is not None and self.username is not None,
        }
        for problem, is_so in problems.items():
            if is_so:
                raise PydanticCustomError(HIDDEN, "{problem}", {"problem": problem})
        return self


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: credentials for one origin are not for another (RFC 6454)."""
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def is_loopback(url: httpx.URL) -> bool:
    """Whether requests stay on this machine."""
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def without_query(url: httpx.URL) -> str:
    """What of a URL may be shown and kept: no user, no query, no fragment."""
    return str(url.copy_with(username="", password="", query=None, fragment=None))
