"""The channels to people, by Apprise: one message to one channel, and why it did not arrive.

Apprise is imported where something is sent, and only there: it is an extra. What it logs names parts of its URLs, so
none of that is passed on; the reason that is given has none of them.
"""

from __future__ import annotations

import logging
import re
import warnings
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote

from etl_lib.process.errors import ConfigError
from etl_lib.process.redaction import MASK, redacted
from etl_lib.process.secrets import SHORTEST, SecretError, reveal
from etl_lib.process.streams import visible
from etl_lib.settings.telling_settings import AlertRoute, AlertSettings
from etl_lib.telling.alerts.alert import Message

_LONGEST_S = 30
_LOUD = ("WARNING", "ERROR", "CRITICAL")
_CAUSE = "Socket Exception: "


def check_installed(alerts: AlertSettings) -> None:
    """ConfigError where there are routes, and nothing that sends."""
    if alerts.routes and find_spec("apprise") is None:
        raise ConfigError(
            "telling.alerts.routes needs Apprise, which is not installed: pip install 'orders-lakehouse[alerts]', or "
            "take the routes away"
        )


def check_routes(alerts: AlertSettings) -> None:
    """ConfigError where there is no route, or nothing that sends."""
    if not alerts.routes:
        raise ConfigError("telling.alerts.routes names no channel: give one, with its name and its url by reference")
    check_installed(alerts)


def send(route: AlertRoute, message: Message) -> str | None:
    """Send one message to one channel; gives why it did not arrive, or None when it did. Raises nothing."""
    try:
        url = reveal(route.url)
    except SecretError as error:
        return str(error)
    try:
        return _sent(url, message)
    except Exception as error:  # of a library that does not say which: its text may have a part of the URL in it
        return f"an unexpected {type(error).__name__}"


def _sent(url: str, message: Message) -> str | None:
    channel = channel_of(url)
    if channel is None:
        return "its URL is none that Apprise knows: https://appriseit.com has the form of each service's"
    result = channel.notify(
        body=message.body,
        title=message.title,
        notify_type=message.tone,
        body_format="text",
        timeout=_LONGEST_S,
        log_level=logging.DEBUG,
    )
    if result:
        return None
    # what lies behind a warning, such as a certificate that nobody vouches for, is told at a lower level
    entries = [each for each in result.logs() if each.level in _LOUD or each.message.startswith(_CAUSE)]
    reasons = dict.fromkeys(each.message for each in entries)
    return without_parts(" ".join(reasons), url) or f"Apprise says {result.status.name.lower()}"


def channel_of(url: str) -> Any:
    """What sends to this URL; None where no service has such a one."""
    with warnings.catch_warnings():
        # its plugins are imported when the first is asked for, and one of them imports a module that Python 3.13 lacks
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 - an extra

        told = logging.getLogger("apprise")
        told.propagate = False
        told.setLevel(logging.DEBUG)
        channel = apprise.Apprise(asset=apprise.AppriseAsset(app_id="orders-lakehouse", app_desc="Orders lakehouse"))
        return channel if channel.add(url) else None


def without_parts(text: str, url: str) -> str:
    """A text with `***` for every part of a URL: which of them are secret differs from service to service."""
    rest = url.partition("://")[2]
    before, _, query = rest.partition("?")
    parts = {*re.split("[/:@,]", before), *(pair.partition("=")[2] for pair in query.split("&"))}
    parts |= {unquote(part) for part in parts}
    for part in sorted((part for part in parts if len(part) >= SHORTEST), key=len, reverse=True):
        text = re.sub(re.escape(part), MASK, text, flags=re.IGNORECASE)  # a host is told in small letters
    return visible(redacted(text))
