"""What a run tells: its metrics as a file and as JSON, and a summary for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import structlog
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from etl_lib.batch import Batch, DatasetCounts, drift_of
from etl_lib.config import Settings
from etl_lib.drift import drift_told
from etl_lib.outcomes import OUTCOMES
from etl_lib.output import write_text
from etl_lib.schemas import DIM_PRODUCT, DIM_USER
from etl_lib.streams import console_on, printable

log = structlog.get_logger(__name__)

MEANINGS = {
    "inserted": "new",
    "updated": "better than the table's version",
    "unchanged": "already in the table as they are",
    "stale": "the table has a better version",
    "superseded": "a better version is in the same batch",
    "out_of_window": "outside --since/--until",
    "rejected": "in quarantine",
}


def batch_metrics(batch: Batch, rows: Mapping[str, int]) -> dict[str, Any]:
    """The numbers of a batch by their names in the contract; `rows` are those of the tables by name."""
    orders = batch.of("orders")
    return {
        "input_orders": orders.records,
        "blank_lines": orders.blank,
        "valid_orders": orders.records - orders.outcomes["rejected"],
        "deduped_orders": orders.winners,
        "items": orders.items,
        "dim_user": rows[DIM_USER.name],
        "dim_product": rows[DIM_PRODUCT.name],
        "outcomes": {name: orders.outcomes[name] for name in OUTCOMES},
        "conflicts": orders.conflicts,
        "conflict_orders": orders.conflict_keys,
        "datasets": {name: dataset_metrics(counts, OUTCOMES) for name, counts in sorted(batch.datasets.items())},
        "drift": drift_of(batch),
        "warnings": [found.told() for found in batch.unlike_ids],
        "dates": [day.isoformat() for day in sorted(batch.dates)],
    }


def dataset_metrics(counts: DatasetCounts, outcomes: Iterable[str]) -> dict[str, Any]:
    """The numbers of one dataset."""
    return {
        "records": counts.records,
        "outcomes": {outcome: counts.outcomes[outcome] for outcome in outcomes},
        "rules": dict(sorted(counts.rules.items())),
        "unknown_fields": dict(sorted(counts.unknown_fields.items())),
    }


def table_metrics(
    rows_before: Mapping[str, int], rows: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """The rows and the Delta version of each table before and after the run."""
    return {
        name: {
            "rows_before": rows_before[name],
            "rows_after": rows[name],
            "version_before": before[name],
            "version_after": after[name],
        }
        for name in rows
    }


NOTHING_NEW: dict[str, Any] = {
    "input_orders": 0,
    "blank_lines": 0,
    "valid_orders": 0,
    "deduped_orders": 0,
    "items": 0,
    "outcomes": dict.fromkeys(OUTCOMES, 0),
    "conflicts": 0,
    "conflict_orders": [],
    "datasets": {},
    "drift": {},
    "warnings": [],
    "dates": [],
}
"""The metrics of a run that found no new file."""


def metrics_paths(output: str, run_id: str) -> tuple[str, str]:
    """The latest metrics, and those of this run."""
    folder = output.rstrip("/")
    return f"{folder}/metrics.json", f"{folder}/runs/{run_id}/metrics.json"


def write_metrics(output: str, metrics: Mapping[str, Any]) -> None:
    """Write the metrics beside the run and as the latest, on any file system that pyarrow knows."""
    text = json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"
    for path in reversed(metrics_paths(output, metrics["run_id"])):
        write_text(path, text)


def print_json(metrics: Mapping[str, Any], stream: TextIO) -> None:
    """The metrics as one JSON object on one line."""
    stream.write(json.dumps(metrics, ensure_ascii=False) + "\n")


def print_summary(metrics: Mapping[str, Any], settings: Settings, stream: TextIO) -> None:
    """What a person sees at the end: records by outcome, rules that fired, tables before and after, and where."""
    console = console_on(stream)
    print_opening(metrics, console)
    print_pulls(metrics, console)
    if not metrics["datasets"]:
        console.print("Nothing new: the ledger has every file, no table was changed.")
    print_grids(metrics, MEANINGS, console)
    print_conflicts(metrics, console)
    print_warnings(metrics["warnings"], console)
    print_closing(metrics, settings, console)


def print_opening(metrics: Mapping[str, Any], console: Console) -> None:
    """Which run this was, and which ones it finished first."""
    console.print(f"\n[bold]Run {metrics['run_id']}[/bold] {metrics['status']} in {metrics.get('duration_s', 0)} s")
    if metrics.get("finished_runs"):
        console.print(f"Finished first, from their stage: {', '.join(metrics['finished_runs'])}")
    if metrics.get("finished_restores"):
        console.print(f"Finished first, undoing: {', '.join(metrics['finished_restores'])}")
    print_input(metrics, console)


def print_input(metrics: Mapping[str, Any], console: Console) -> None:
    """Where no file was found at all, and which files wait because they cannot be read."""
    for dataset, location in metrics.get("unmatched", {}).items():
        console.print(f"[yellow]No file[/yellow] at input.{dataset}: {printable(location)}", soft_wrap=True)
    for file in metrics.get("set_aside", ()):
        told = printable(f"{file['dataset']} {file['path']}: {file['reason']}")
        console.print(f"[yellow]Set aside[/yellow] {told}", soft_wrap=True)


def print_pulls(metrics: Mapping[str, Any], console: Console) -> None:
    """A row a dataset; nothing where nothing was pulled."""
    pulls: Mapping[str, Mapping[str, Any]] = metrics.get("pulls", {})
    if not pulls:
        return
    grid = Grid("dataset", "pull", "pages", "records", "status", title="Pulled", title_justify="left")
    for column in grid.columns[2:4]:
        column.justify = "right"
    for dataset, pull in pulls.items():
        status = f"{pull['status']}{', resumed' if pull['resumed'] else ''}"
        grid.add_row(dataset, pull["pull_id"], f"{pull['pages']:,}", f"{pull['records']:,}", status)
    console.print(grid)
    for pull in pulls.values():
        if pull["malformed_pages"]:
            told = f"Malformed pages: {pull['malformed_pages']:,}, each a record that loading puts into quarantine"
            console.print(told, soft_wrap=True)
        console.print(f"Landed   {printable(pull['folder'])}", soft_wrap=True, markup=False)


def print_conflicts(metrics: Mapping[str, Any], console: Console) -> None:
    """The orders of which two contents claim one version; nothing when there are none."""
    if metrics["conflicts"]:
        shown = ", ".join(metrics["conflict_orders"])
        console.print(
            f"[yellow]Conflicts[/yellow] (one version, two contents): {metrics['conflicts']} orders: {printable(shown)}"
        )


def print_warnings(warnings: Iterable[str], console: Console) -> None:
    """What was expected of whole datasets and is not so, a sentence each."""
    for warning in warnings:
        console.print(f"[yellow]Warning[/yellow] {warning}", soft_wrap=True)


def print_grids(metrics: Mapping[str, Any], meanings: Mapping[str, str], console: Console) -> None:
    """Records by outcome, rules that fired, tables before and after; none of them when it is empty."""
    for grid in (_outcome_grid(metrics, meanings), _rule_grid(metrics), _table_grid(metrics)):
        if grid.row_count:
            console.print(grid)


def print_closing(metrics: Mapping[str, Any], settings: Settings, console: Console) -> None:
    """Schema drift, and where everything is."""
    for drift in drift_told(metrics["drift"], settings.drift, "warn", "fail"):
        console.print(f"[yellow]Schema drift[/yellow] in {printable(drift)}")
    print_places(metrics, settings, console)


def print_places(metrics: Mapping[str, Any], settings: Settings, console: Console) -> None:
    """Where the tables and the metrics are."""
    latest, own = metrics_paths(settings.output, metrics["run_id"])
    places = [f"Tables   {settings.warehouse}", f"Metrics  {latest}", f"         {own}"]
    console.print("\n".join(places), soft_wrap=True, markup=False)


def _outcome_grid(metrics: Mapping[str, Any], meanings: Mapping[str, str]) -> Grid:
    grid = Grid(title="Records by outcome", title_justify="left")
    datasets = [name for name, counts in metrics["datasets"].items() if counts["records"]]
    for heading in ("outcome", *datasets):
        grid.add_column(heading, justify="left" if heading == "outcome" else "right")
    grid.add_column("meaning")
    if not datasets:
        return grid
    for outcome, meaning in meanings.items():
        numbers = [metrics["datasets"][name]["outcomes"][outcome] for name in datasets]
        if any(numbers):
            grid.add_row(outcome, *(f"{n:,}" for n in numbers), meaning)
    grid.add_section()
    grid.add_row("input", *(f"{metrics['datasets'][name]['records']:,}" for name in datasets), "the sum")
    return grid


def _rule_grid(metrics: Mapping[str, Any]) -> Grid:
    grid = Grid("dataset", "rule", "records", title="Rules that fired", title_justify="left")
    grid.columns[2].justify = "right"
    for dataset, counts in metrics["datasets"].items():
        for rule, records in counts["rules"].items():
            grid.add_row(dataset, escape(rule), f"{records:,}")
    for dataset, members in metrics.get("inferred", {}).items():
        if members:
            grid.add_row("orders", f"unknown {dataset} (inferred)", f"{members:,}")
    return grid


def _table_grid(metrics: Mapping[str, Any]) -> Grid:
    grid = Grid("table", "rows before", "rows after", "version", title="Tables", title_justify="left")
    for column in grid.columns[1:3]:
        column.justify = "right"
    for name, table in metrics.get("tables", {}).items():
        before, after = table["version_before"], table["version_after"]
        version = f"{before} -> {after}" if after != before else f"{before} (unchanged)"
        grid.add_row(name, f"{table['rows_before']:,}", f"{table['rows_after']:,}", version)
    return grid
