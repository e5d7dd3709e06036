"""What a run of value_props tells: its metrics, its plan, and a summary for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TextIO

from rich.table import Table as Grid

from etl_lib.batch import drift_of
from etl_lib.config import Settings
from etl_lib.event_batch import EVENT_OUTCOMES, EventBatch
from etl_lib.event_records import DATASETS
from etl_lib.expectations import is_complete
from etl_lib.ledger import RuleResult
from etl_lib.report import dataset_metrics, print_closing, print_grids, print_input, print_opening, print_warnings
from etl_lib.streams import console_on
from etl_lib.weeks import Windows

MEANINGS = {"valid": "counted where a window or a target week holds its day", "rejected": "in quarantine"}


def batch_metrics(batch: EventBatch) -> dict[str, Any]:
    """The numbers of the input by their names in the contract."""
    metrics: dict[str, Any] = {"outcomes": dict.fromkeys(EVENT_OUTCOMES, 0)}
    for dataset in DATASETS:
        counts = batch.datasets[dataset]
        metrics[f"input_{dataset}"] = counts.records
        for outcome in EVENT_OUTCOMES:
            metrics[f"{outcome}_{dataset}"] = counts.outcomes[outcome]
            metrics["outcomes"][outcome] += counts.outcomes[outcome]
    metrics["blank_lines"] = sum(counts.blank for counts in batch.datasets.values())
    metrics["repeated_headers"] = batch.repeated_headers
    metrics["datasets"] = {name: dataset_metrics(batch.datasets[name], EVENT_OUTCOMES) for name in DATASETS}
    metrics["drift"] = drift_of(batch)
    return metrics


def window_metrics(batch: EventBatch, windows: Windows, reference: date) -> dict[str, Any]:
    """Which weeks the run is about, and how many pays none of its windows holds."""
    pays, covered_to = batch.datasets["pays"].days, batch.last_print_day
    return {
        "reference_date": reference.isoformat(),
        "target_week": windows.weeks[-1].isoformat(),
        "target_week_complete": is_complete(windows.weeks[-1], covered_to),
        "target_weeks": [week.isoformat() for week in windows.weeks],
        "window": windows.kind,
        "window_weeks": windows.length,
        "window_first_day": windows.first_day.isoformat(),
        "window_last_day": windows.last_day.isoformat(),
        "pays_before_windows": sum(n for day, n in pays.items() if day < windows.first_day),
        "pays_after_windows": sum(n for day, n in pays.items() if day > windows.last_day),
    }


def row_metrics(weeks: Mapping[str, Mapping[str, int]], duplicates: Mapping[str, int]) -> dict[str, Any]:
    """The rows of the target weeks, and the exact duplicates among the valid records of each dataset."""
    return {
        "rows": sum(week["rows"] for week in weeks.values()),
        "clicked_rows": sum(week["clicked_rows"] for week in weeks.values()),
        "weeks": weeks,
        **{f"duplicate_{dataset}": duplicates[dataset] for dataset in DATASETS},
    }


def warnings(results: Sequence[RuleResult], meanings: Mapping[str, str]) -> list[str]:
    """What the rules about weeks have found, each as a sentence."""
    return [f"{meanings[found.rule]}: {', '.join(found.samples)}" for found in results if found.failed]


def print_plan(metrics: Mapping[str, Any], weeks: Mapping[str, tuple[int, int]], stream: TextIO) -> None:
    """Print what a run would replace; `weeks` has the rows of each target week now and then."""
    console = console_on(stream)
    console.print(f"\n[bold]Plan {metrics['run_id']}[/bold]: what the run would do\n")
    print_input(metrics, console)
    print_grids(metrics, MEANINGS, console)
    grid = _week_grid("Weeks that would be replaced", "rows now", "rows then")
    for week, (now, then) in weeks.items():
        grid.add_row(week, f"{now:,}", f"{then:,}")
    console.print(grid)
    print_warnings(metrics["warnings"], console)
    console.print("The plan changed no feature, file or ledger of files. To carry it out, run it without --plan.")


def print_summary(metrics: Mapping[str, Any], settings: Settings, stream: TextIO) -> None:
    """What a person sees at the end: records by outcome, rules that fired, weeks, tables, warnings, and where."""
    console = console_on(stream)
    print_opening(metrics, console)
    print_grids(metrics, MEANINGS, console)
    grid = _week_grid("Target weeks", "rows", "clicked")
    for week, counts in metrics["weeks"].items():
        grid.add_row(week, f"{counts['rows']:,}", f"{counts['clicked_rows']:,}")
    console.print(grid)
    console.print(
        f"Reference date {metrics['reference_date']}, window {metrics['window']}, {metrics['window_weeks']} weeks: "
        f"{metrics['window_first_day']} to {metrics['window_last_day']}"
    )
    outside = metrics["pays_before_windows"], metrics["pays_after_windows"]
    duplicates = ", ".join(f"{metrics[f'duplicate_{dataset}']:,} {dataset}" for dataset in DATASETS)
    console.print(f"Pays before the windows {outside[0]:,}, after them {outside[1]:,}; exact duplicates: {duplicates}")
    print_warnings(metrics["warnings"], console)
    for path in metrics["files"]:
        console.print(f"File     {path}", soft_wrap=True, markup=False)
    print_closing(metrics, settings, console)


def _week_grid(title: str, *numbers: str) -> Grid:
    grid = Grid("week", title=title, title_justify="left")
    for name in numbers:
        grid.add_column(name, justify="right")
    return grid
