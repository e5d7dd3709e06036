"""What a run of the maintain job tells a person."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table as Grid

from etl_lib.process.streams import console_on, printable
from etl_lib.run.metrics import CheckMetrics, Metrics, UndoMetrics, UpkeepMetrics
from etl_lib.run.report import print_opening, print_places
from etl_lib.settings.config import Settings
from etl_lib.upkeep.invariants import SUBJECTS


def print_summary(metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What was done to each table, or which invariants hold, and where everything is."""
    console, upkeep = console_on(stream), metrics.upkeep
    print_opening(metrics, console)
    if upkeep.check:
        _print_invariants(upkeep.check, console)
    else:
        _print_tables(upkeep, console)
    if upkeep.undo:
        _print_restored(upkeep.undo, console, "were undone", "count as new again: the next run loads them")
    print_places(metrics, settings, console)


def print_plan(upkeep: UpkeepMetrics, stream: TextIO) -> None:
    """What a purge or a restore would do."""
    console = console_on(stream)
    console.print(f"\n[bold]Plan of {upkeep.task}[/bold]: what it would do\n")
    _print_tables(upkeep, console)
    if upkeep.undo:
        files = "would count as new again: the next run would load them"
        _print_restored(upkeep.undo, console, "would be undone", files)
    console.print("Nothing was changed. To carry it out, leave out --plan.")


def print_check(check: CheckMetrics, stream: TextIO) -> None:
    """Every invariant with what broke it."""
    _print_invariants(check, console_on(stream))


def _print_tables(upkeep: UpkeepMetrics, console: Console) -> None:
    tables = upkeep.tables or {}
    names = list(dict.fromkeys(name for numbers in tables.values() for name in numbers))
    grid = Grid("table", title="Tables", title_justify="left")
    for name in names:
        grid.add_column(name.replace("_", " "), justify="right")
    for table, numbers in tables.items():
        grid.add_row(table, *(f"{numbers[name]:,}" for name in names))
    if grid.row_count:
        console.print(grid)


def _print_restored(undo: UndoMetrics, console: Console, undone: str, files: str) -> None:
    console.print(f"Runs that {undone}, oldest first: {', '.join(undo.undone_runs)}", soft_wrap=True)
    console.print(
        f"{undo.files_new_again:,} landing files {files}. Correct them or take them away before that.",
        soft_wrap=True,
    )


def _print_invariants(check: CheckMetrics, console: Console) -> None:
    says = {invariant.name: invariant.says for subject in SUBJECTS for invariant in subject.invariants}
    grid = Grid("invariant", "violations", "says, or keys of some rows that break it", title="Invariants")
    grid.title_justify, grid.columns[1].justify = "left", "right"
    for name, rows in check.invariants.items():
        told = printable(", ".join(check.samples[name])) if rows else says[name]
        grid.add_row(name, f"{rows:,}", told, style="red" if rows else None)
    console.print(grid)
    if check.not_checked:
        console.print(f"Not checked, their tables are not there: {', '.join(check.not_checked)}")
