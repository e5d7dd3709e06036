"""Alerts go to the channels that carry them, as often as the limits allow. Nothing of Spark is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from etl_lib.settings.telling_settings import AlertRoute, AlertSettings
from etl_lib.telling.alerts.alert import Alert, message_of
from etl_lib.telling.alerts.limits import SentBook
from etl_lib.telling.alerts.routes import send

log = structlog.get_logger(__name__)


def send_due(alerts: Sequence[Alert], settings: AlertSettings, book: SentBook, now: datetime) -> list[str]:
    """Send each alert to every channel that carries its kind and is due to get it; the book says so afterwards.

    Gives the names of the channels that failed. What did not arrive counts as not sent, and is tried again next time.
    """
    failed = []
    for route in settings.routes:
        for alert in alerts:
            if route.carries(alert.kind) and not _send_one(alert, route, settings, book, now):
                failed.append(route.name)
                break  # a channel that is down makes nobody wait twice
    return failed


def _send_one(alert: Alert, route: AlertRoute, settings: AlertSettings, book: SentBook, now: datetime) -> bool:
    """Send it if it is due; gives whether the channel works as far as is known."""
    received = book.of(route.name)
    decision = received.decide(alert.kind, alert.key, settings, now)
    if decision == "too many":
        book.received[route.name] = replace(received, held_back=received.held_back + 1)
        log.warning("an alert was held back: too many within an hour", route=route.name, kind=alert.kind)
    if decision != "send":
        return True
    reason = send(route, message_of(alert, received.held_back))
    if reason is not None:
        log.error("an alert did not arrive", route=route.name, kind=alert.kind, reason=reason)
        return False
    book.received[route.name] = received.after_sending(alert.key, now)
    log.info("an alert was sent", route=route.name, kind=alert.kind)
    return True
