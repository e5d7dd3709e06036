"""What a run of the pull job tells a person."""

from __future__ import annotations

from typing import TextIO

from etl_lib.process.streams import console_on
from etl_lib.run.metrics import Metrics
from etl_lib.run.report import print_opening, print_places, print_pulls
from etl_lib.settings.config import Settings


def print_summary(metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What each pull brought, and where it landed."""
    console = console_on(stream)
    print_opening(metrics, console)
    print_pulls(metrics.pulls, console)
    print_places(metrics, settings, console)
