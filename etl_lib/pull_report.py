"""What a run of the pull job tells a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from etl_lib.config import Settings
from etl_lib.report import print_opening, print_places, print_pulls
from etl_lib.streams import console_on


def print_summary(metrics: Mapping[str, Any], settings: Settings, stream: TextIO) -> None:
    """What each pull brought, and where it landed."""
    console = console_on(stream)
    print_opening(metrics, console)
    print_pulls(metrics, console)
    print_places(metrics, settings, console)
