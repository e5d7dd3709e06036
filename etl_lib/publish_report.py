"""What publishing tells a person: of the publish job, and at the end of the orders job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table as Grid

from etl_lib import report
from etl_lib.config import Settings
from etl_lib.streams import console_on, printable

ALL = "all"


def print_summary(metrics: Mapping[str, Any], settings: Settings, stream: TextIO) -> None:
    """What each sink received, or would receive."""
    console = console_on(stream)
    report.print_opening(metrics, console)
    print_publishes(metrics, console)
    report.print_places(metrics, settings, console)


def print_orders_summary(metrics: Mapping[str, Any], settings: Settings, stream: TextIO) -> None:
    """What the orders job did, and then what it published."""
    report.print_summary(metrics, settings, stream)
    print_publishes(metrics, console_on(stream))


def print_publishes(metrics: Mapping[str, Any], console: Console) -> None:
    """A grid a sink, with a row a relation; one line for a sink that lacks nothing."""
    for sink, told in metrics.get("publishes", {}).items():
        place = f"{sink}: {printable(told['address'])}"
        if "rows" not in told:
            console.print(f"{told['status'].capitalize()} for {place}", soft_wrap=True, markup=False)
            continue
        why = f", everything, as {told['reason']}" if told["is_full"] else ""
        console.print(f"{told['status'].capitalize()} for {place}{why}", soft_wrap=True, markup=False)
        console.print(_grid(told))


def _grid(told: Mapping[str, Any]) -> Grid:
    is_planned = told["status"] == "planned"
    title = "Would be published" if is_planned else "Published"
    grid = Grid("table", "changed keys", "days", "rows", title=title, title_justify="left")
    for column in grid.columns[1:]:
        column.justify = "right"
    for table, rows in told["rows"].items():
        groups, days = (told[part].get(table) for part in ("groups", "dates"))
        grid.add_row(table, ALL if groups is None else f"{groups:,}", "" if days is None else f"{days:,}", f"{rows:,}")
    return grid
