"""What a URL of the HTTP source may be, and how much of it may be shown."""

from __future__ import annotations

import ipaddress

import httpx

_PORTS = {"http": 80, "https": 443}


def is_http_url(url: str) -> bool:
    """Whether it is an absolute http or https URL."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return False
    return parsed.scheme in _PORTS and bool(parsed.host)


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: credentials for one origin are not for another (RFC 6454)."""
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def is_loopback(url: httpx.URL) -> bool:
    """Whether requests stay on this machine."""
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def without_query(url: httpx.URL) -> str:
    """What of a URL may be shown and kept: no user, no query, no fragment."""
    return str(url.copy_with(username="", password="", query=None, fragment=None))
