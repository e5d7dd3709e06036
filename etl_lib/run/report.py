"""What a run tells: its metrics as a file and as JSON, and a summary for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TextIO

import structlog
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from etl_lib.process.output import write_text
from etl_lib.process.streams import console_on, printable
from etl_lib.run.metrics import DatasetMetrics, Drift, Metrics, OrderMetrics, PullMetrics, as_json
from etl_lib.settings.config import DriftKind, DriftPolicies, DriftPolicy, Settings

log = structlog.get_logger(__name__)

Datasets = Mapping[str, DatasetMetrics]

MEANINGS = {
    "inserted": "new",
    "updated": "better than the table's version",
    "unchanged": "already in the table as they are",
    "stale": "the table has a better version",
    "superseded": "a better version is in the same batch",
    "out_of_window": "outside --since/--until",
    "rejected": "in quarantine",
}


DRIFT_MEANINGS: dict[DriftKind, str] = {
    "new_field": "fields that no table has",
    "lost_field": "fields that no record has",
    "changed_type": "fields of another type, their records rejected",
    "changed_case": "fields in another case, read in CSV alone",
}


def metrics_paths(output: str, run_id: str) -> tuple[str, str]:
    """The latest metrics, and those of this run."""
    folder = output.rstrip("/")
    return f"{folder}/metrics.json", f"{folder}/runs/{run_id}/metrics.json"


def write_metrics(output: str, metrics: Metrics) -> None:
    """Write the metrics beside the run and as the latest, on any file system that pyarrow knows."""
    text = as_json(metrics, indent=2) + "\n"
    for path in reversed(metrics_paths(output, metrics.run_id)):
        write_text(path, text)


def print_json(metrics: Metrics, stream: TextIO) -> None:
    """The metrics as one JSON object on one line."""
    stream.write(as_json(metrics) + "\n")


def print_summary(metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What a person sees at the end: records by outcome, rules that fired, tables before and after, and where."""
    console, batch = console_on(stream), metrics.batch
    assert isinstance(batch, OrderMetrics)  # noqa: S101 - a run that is done has told it
    print_opening(metrics, console)
    print_pulls(metrics.pulls, console)
    if not batch.datasets:
        console.print("Nothing new: the ledger has every file, no table was changed.")
    print_grids(metrics, batch.datasets, MEANINGS, console)
    print_conflicts(batch, console)
    print_warnings(batch.warnings, console)
    print_closing(metrics, batch.drift, settings, console)


def print_opening(metrics: Metrics, console: Console) -> None:
    """Which run this was, and which ones it finished first."""
    console.print(f"\n[bold]Run {metrics.run_id}[/bold] {metrics.status} in {metrics.duration_s or 0} s")
    if metrics.finished_runs:
        console.print(f"Finished first, from their stage: {', '.join(metrics.finished_runs)}")
    if metrics.finished_restores:
        console.print(f"Finished first, undoing: {', '.join(metrics.finished_restores)}")
    print_input(metrics, console)


def print_input(metrics: Metrics, console: Console) -> None:
    """Where no file was found at all, and which files wait because they cannot be read."""
    for dataset, location in (metrics.unmatched or {}).items():
        console.print(f"[yellow]No file[/yellow] at input.{dataset}: {printable(location)}", soft_wrap=True)
    for file in metrics.set_aside or ():
        told = printable(f"{file.dataset} {file.path}: {file.reason}")
        console.print(f"[yellow]Set aside[/yellow] {told}", soft_wrap=True)


def print_pulls(pulls: Mapping[str, PullMetrics], console: Console) -> None:
    """A row a dataset; nothing where nothing was pulled."""
    if not pulls:
        return
    grid = Grid("dataset", "pull", "pages", "records", "status", title="Pulled", title_justify="left")
    for column in grid.columns[2:4]:
        column.justify = "right"
    for dataset, pull in pulls.items():
        status = f"{pull.status}{', resumed' if pull.resumed else ''}"
        grid.add_row(dataset, pull.pull_id, f"{pull.pages:,}", f"{pull.records:,}", status)
    console.print(grid)
    for pull in pulls.values():
        if pull.malformed_pages:
            told = f"Malformed pages: {pull.malformed_pages:,}, each a record that loading puts into quarantine"
            console.print(told, soft_wrap=True)
        console.print(f"Landed   {printable(pull.folder)}", soft_wrap=True, markup=False)


def print_conflicts(orders: OrderMetrics, console: Console) -> None:
    """The orders of which two contents claim one version; nothing when there are none."""
    if orders.conflicts:
        shown = ", ".join(orders.conflict_orders)
        console.print(
            f"[yellow]Conflicts[/yellow] (one version, two contents): {orders.conflicts} orders: {printable(shown)}"
        )


def print_warnings(warnings: Iterable[str], console: Console) -> None:
    """What was expected of whole datasets and is not so, a sentence each."""
    for warning in warnings:
        console.print(f"[yellow]Warning[/yellow] {warning}", soft_wrap=True)


def print_grids(metrics: Metrics, datasets: Datasets, meanings: Mapping[str, str], console: Console) -> None:
    """Records by outcome, rules that fired, tables before and after; none of them when it is empty."""
    for grid in (_outcome_grid(datasets, meanings), _rule_grid(metrics, datasets), _table_grid(metrics)):
        if grid.row_count:
            console.print(grid)


def print_closing(metrics: Metrics, found: Drift, settings: Settings, console: Console) -> None:
    """Schema drift, and where everything is."""
    for drift in drift_told(found, settings.drift, "warn", "fail"):
        console.print(f"[yellow]Schema drift[/yellow] in {printable(drift)}")
    print_places(metrics, settings, console)


def print_places(metrics: Metrics, settings: Settings, console: Console) -> None:
    """Where the tables and the metrics are."""
    latest, own = metrics_paths(settings.output, metrics.run_id)
    places = [f"Tables   {settings.warehouse}", f"Metrics  {latest}", f"         {own}"]
    console.print("\n".join(places), soft_wrap=True, markup=False)


def drift_told(found: Drift, policies: DriftPolicies, *policy: DriftPolicy) -> list[str]:
    """A sentence for each dataset and kind that has drifted and has one of these policies."""
    return [
        f"{dataset}, {meaning}: " + ", ".join(f"{name} ({n})" for name, n in kinds[kind].items())
        for dataset, kinds in found.items()
        for kind, meaning in DRIFT_MEANINGS.items()
        if kind in kinds and getattr(policies, kind) in policy
    ]


def _outcome_grid(datasets: Datasets, meanings: Mapping[str, str]) -> Grid:
    grid = Grid(title="Records by outcome", title_justify="left")
    datasets = {name: counts for name, counts in datasets.items() if counts.records}
    for heading in ("outcome", *datasets):
        grid.add_column(heading, justify="left" if heading == "outcome" else "right")
    grid.add_column("meaning")
    if not datasets:
        return grid
    for outcome, meaning in meanings.items():
        numbers = [counts.outcomes[outcome] for counts in datasets.values()]
        if any(numbers):
            grid.add_row(outcome, *(f"{n:,}" for n in numbers), meaning)
    grid.add_section()
    grid.add_row("input", *(f"{counts.records:,}" for counts in datasets.values()), "the sum")
    return grid


def _rule_grid(metrics: Metrics, datasets: Datasets) -> Grid:
    grid = Grid("dataset", "rule", "records", title="Rules that fired", title_justify="left")
    grid.columns[2].justify = "right"
    for dataset, counts in datasets.items():
        for rule, records in counts.rules.items():
            grid.add_row(dataset, escape(rule), f"{records:,}")
    for dataset, members in (metrics.inferred or {}).items():
        if members:
            grid.add_row("orders", f"unknown {dataset} (inferred)", f"{members:,}")
    return grid


def _table_grid(metrics: Metrics) -> Grid:
    grid = Grid("table", "rows before", "rows after", "version", title="Tables", title_justify="left")
    for column in grid.columns[1:3]:
        column.justify = "right"
    for name, table in (metrics.tables or {}).items():
        before, after = table.version_before, table.version_after
        version = f"{before} -> {after}" if after != before else f"{before} (unchanged)"
        grid.add_row(name, f"{table.rows_before:,}", f"{table.rows_after:,}", version)
    return grid
