"""The alert command: rehearses every channel to people, without Spark and without a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from etl_lib.commands.entry import read_settings
from etl_lib.process.errors import LakehouseError
from etl_lib.process.streams import console_on, printable
from etl_lib.settings.arguments import Parser
from etl_lib.settings.telling_settings import AlertRoute
from etl_lib.telling.alerts.alert import Message
from etl_lib.telling.alerts.routes import check_routes, send


def alert(argv: Sequence[str]) -> None:
    """Send a rehearsal to every channel and print which arrived; LakehouseError names those that failed."""
    arguments = parse_arguments(argv)
    settings = read_settings(arguments.config, arguments.overrides)
    routes = settings.telling.alerts.routes
    check_routes(settings.telling.alerts)
    console, failed = console_on(sys.stdout), []
    for route in routes:
        reason = send(route, rehearsal(route, settings.warehouse))
        said = "[green]arrived[/green]" if reason is None else f"[red]failed[/red]: {printable(reason)}"
        console.print(f"{route.name}: {said}", soft_wrap=True)
        failed += [] if reason is None else [route.name]
    if failed:
        raise LakehouseError(
            f"{len(failed)} of {len(routes)} channels failed: {', '.join(failed)}. Correct what telling.alerts.routes "
            "says of them, or the secrets that it names"
        )


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ConfigError says what is wrong with it."""
    parser = Parser("alert", "Rehearse the alerts.", overrides_at_once=1)
    parser.add_argument("task", choices=["test"], metavar="TASK", help="test: send a rehearsal to every channel")
    return parser.parse_intermixed_args(argv)


def rehearsal(route: AlertRoute, warehouse: str) -> Message:
    """What a channel gets: that nothing is wrong, and what it will carry."""
    kinds = "every kind of alert" if route.kinds is None else f"alerts of these kinds: {', '.join(route.kinds)}"
    return Message(
        "Rehearsal: nothing is wrong",
        f"This is a rehearsal of the alerts of the warehouse {warehouse}.\n"
        f"The channel {route.name} carries {kinds}.\nNobody has to do anything.",
        "info",
    )
