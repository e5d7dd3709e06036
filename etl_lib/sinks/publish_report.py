"""What publishing tells a person: of the publish job, and at the end of the orders job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.table import Table as Grid

from etl_lib.process.streams import console_on, printable
from etl_lib.run import report
from etl_lib.run.metrics import ChangeMetrics, Metrics, PublishMetrics
from etl_lib.settings.config import Settings

ALL = "all"


def print_summary(metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What each sink received, or would receive."""
    console = console_on(stream)
    report.print_opening(metrics, console)
    print_publishes(metrics.publishes, console)
    report.print_places(metrics, settings, console)


def print_orders_summary(metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What the orders job did, and then what it published."""
    report.print_summary(metrics, settings, stream)
    print_publishes(metrics.publishes, console_on(stream))


def print_publishes(publishes: Mapping[str, PublishMetrics], console: Console) -> None:
    """A grid a sink, with a row a relation; one line for a sink that lacks nothing."""
    for sink, told in publishes.items():
        changes = told.changes if told.rows is not None else None
        why = f", everything, as {changes.reason}" if changes and changes.is_full else ""
        console.print(
            f"{told.status.capitalize()} for {sink}: {printable(told.address)}{why}", soft_wrap=True, markup=False
        )
        if changes:
            console.print(_grid(told, changes))


def _grid(told: PublishMetrics, changes: ChangeMetrics) -> Grid:
    is_planned = told.status == "planned"
    title = "Would be published" if is_planned else "Published"
    grid = Grid("table", "changed keys", "days", "rows", title=title, title_justify="left")
    for column in grid.columns[1:]:
        column.justify = "right"
    for table, rows in (told.rows or {}).items():
        groups, days = changes.groups.get(table), changes.dates.get(table)
        grid.add_row(table, ALL if groups is None else f"{groups:,}", "" if days is None else f"{days:,}", f"{rows:,}")
    return grid
