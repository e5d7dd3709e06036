"""What a run of value_props tells: its metrics, its plan, and a summary for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TextIO

from rich.table import Table as Grid

from etl_lib.deciding.counts import Batch
from etl_lib.process.streams import console_on
from etl_lib.reading.datasets import staged_in
from etl_lib.run.metrics import Counts, EventMetrics, FeatureMetrics, Metrics, WindowMetrics
from etl_lib.run.report import print_closing, print_grids, print_input, print_opening, print_warnings
from etl_lib.settings.config import Settings
from etl_lib.tables.ledger import RuleResult
from etl_lib.tables.schemas import ETL_EVENTS
from etl_lib.value_props.expectations import is_complete
from etl_lib.value_props.weeks import Windows

MEANINGS = {"valid": "counted where a window or a target week holds its day", "rejected": "in quarantine"}


def window_metrics(batch: Batch, windows: Windows, reference: date) -> WindowMetrics:
    """Which weeks the run is about, and how many pays none of its windows holds."""
    pays, covered_to = batch.of("pays").days, max(batch.of("prints").days, default=None)
    return WindowMetrics(
        reference_date=reference.isoformat(),
        target_week=windows.weeks[-1].isoformat(),
        target_week_complete=is_complete(windows.weeks[-1], covered_to),
        target_weeks=[week.isoformat() for week in windows.weeks],
        window=windows.kind,
        window_weeks=windows.length,
        window_first_day=windows.first_day.isoformat(),
        window_last_day=windows.last_day.isoformat(),
        pays_before_windows=sum(n for day, n in pays.items() if day < windows.first_day),
        pays_after_windows=sum(n for day, n in pays.items() if day > windows.last_day),
    )


def feature_metrics(
    weeks: Mapping[str, Counts], duplicates: Counts, files: Sequence[str], versions: Counts
) -> FeatureMetrics:
    """What was written; `duplicates` are the exact ones among the valid records of each dataset."""
    return FeatureMetrics(
        rows=sum(week["rows"] for week in weeks.values()),
        clicked_rows=sum(week["clicked_rows"] for week in weeks.values()),
        **{f"duplicate_{entry.name}": duplicates[entry.name] for entry in staged_in(ETL_EVENTS)},
        files=files,
        versions=versions,
    )


def warnings(results: Sequence[RuleResult], meanings: Mapping[str, str]) -> list[str]:
    """What the rules about weeks have found, each as a sentence."""
    return [f"{meanings[found.rule]}: {', '.join(found.samples)}" for found in results if found.failed]


def print_plan(metrics: Metrics, stream: TextIO) -> None:
    """Print what a run would replace."""
    console, batch = console_on(stream), metrics.batch
    assert isinstance(batch, EventMetrics)  # noqa: S101 - a plan has told it
    console.print(f"\n[bold]Plan {metrics.run_id}[/bold]: what the run would do\n")
    print_input(metrics, console)
    print_grids(metrics, batch.datasets, MEANINGS, console)
    console.print(_week_grid("Weeks that would be replaced", metrics.weeks or {}, ("rows now", "rows then")))
    print_warnings(batch.warnings or (), console)
    console.print("The plan changed no feature, file or ledger of files. To carry it out, run it without --plan.")


def print_summary(metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What a person sees at the end: records by outcome, rules that fired, weeks, tables, warnings, and where."""
    console = console_on(stream)
    batch, windows, features = metrics.batch, metrics.windows, metrics.features
    assert isinstance(batch, EventMetrics) and windows and features  # noqa: S101, PT018 - a run that is done has told it
    print_opening(metrics, console)
    print_grids(metrics, batch.datasets, MEANINGS, console)
    console.print(_week_grid("Target weeks", metrics.weeks or {}, ("rows", "clicked")))
    console.print(
        f"Reference date {windows.reference_date}, window {windows.window}, {windows.window_weeks} weeks: "
        f"{windows.window_first_day} to {windows.window_last_day}"
    )
    console.print(
        f"Pays before the windows {windows.pays_before_windows:,}, after them {windows.pays_after_windows:,}; "
        f"exact duplicates: {features.duplicate_prints:,} prints, {features.duplicate_taps:,} taps, "
        f"{features.duplicate_pays:,} pays"
    )
    print_warnings(batch.warnings or (), console)
    for path in features.files:
        console.print(f"File     {path}", soft_wrap=True, markup=False)
    print_closing(metrics, batch.drift, settings, console)


def _week_grid(title: str, weeks: Mapping[str, Counts], headings: Sequence[str]) -> Grid:
    grid = Grid("week", title=title, title_justify="left")
    for heading in headings:
        grid.add_column(heading, justify="right")
    for week, numbers in weeks.items():
        grid.add_row(week, *(f"{n:,}" for n in numbers.values()))
    return grid
