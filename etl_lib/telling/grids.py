"""Tables of numbers for a person, each from a part of the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.markup import escape
from rich.table import Table as Grid

from etl_lib.process.streams import printable
from etl_lib.run.job import Meanings
from etl_lib.run.metric_parts import CheckMetrics, Counts, DatasetMetrics, PublishMetrics, PullMetrics
from etl_lib.run.metrics import Metrics


def grid_of(title: str, *columns: str) -> Grid:
    """An empty grid; a column whose name begins with `>` has its numbers on the right."""
    grid = Grid(title=title, title_justify="left")
    for column in columns:
        grid.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return grid


def batch_grids(metrics: Metrics, meanings: Meanings) -> Iterable[Grid]:
    """Records by outcome, rules that fired, and tables before and after."""
    datasets = metrics.batch.datasets if metrics.batch else {}
    yield _outcome_grid({name: counts for name, counts in datasets.items() if counts.records}, meanings)
    rules = grid_of("Rules that fired", "dataset", "rule", ">records")
    for dataset, counts in datasets.items():
        for rule, records in counts.rules.items():
            rules.add_row(dataset, escape(rule), f"{records:,}")
    for dataset, members in (metrics.inferred or {}).items():
        if members:
            rules.add_row("orders", f"unknown {dataset} (inferred)", f"{members:,}")
    yield rules
    tables = grid_of("Tables", "table", ">rows before", ">rows after", "version")
    for name, table in (metrics.tables or {}).items():
        before, after = table.version_before, table.version_after
        version = f"{before} -> {after}" if after != before else f"{before} (unchanged)"
        tables.add_row(name, f"{table.rows_before:,}", f"{table.rows_after:,}", version)
    yield tables


def _outcome_grid(datasets: Mapping[str, DatasetMetrics], meanings: Meanings) -> Grid:
    grid = grid_of("Records by outcome", "outcome", *(f">{name}" for name in datasets), "meaning")
    if not datasets:
        return grid
    for outcome, meaning in meanings.items():
        numbers = [counts.outcomes[outcome] for counts in datasets.values()]
        if any(numbers):
            grid.add_row(outcome, *(f"{n:,}" for n in numbers), meaning)
    grid.add_section()
    grid.add_row("input", *(f"{counts.records:,}" for counts in datasets.values()), "the sum")
    return grid


def week_grid(title: str, weeks: Mapping[str, Counts], *headings: str) -> Grid:
    """A row a week."""
    grid = grid_of(title, "week", *(f">{heading}" for heading in headings))
    for week, numbers in weeks.items():
        grid.add_row(week, *(f"{n:,}" for n in numbers.values()))
    return grid


def pull_grid(pulls: Mapping[str, PullMetrics]) -> Grid:
    """A row a dataset."""
    grid = grid_of("Pulled", "dataset", "pull", ">pages", ">records", "status")
    for dataset, pull in pulls.items():
        status = f"{pull.status}{', resumed' if pull.resumed else ''}"
        grid.add_row(dataset, pull.pull_id, f"{pull.pages:,}", f"{pull.records:,}", status)
    return grid


def publish_grid(publish: PublishMetrics) -> Grid:
    """A row a table that a sink received, or would receive; `all` are the keys of a table that is published whole."""
    title = "Would be published" if publish.status == "planned" else "Published"
    grid = grid_of(title, "table", ">changed keys", ">days", ">rows")
    groups, dates = (publish.changes.groups, publish.changes.dates) if publish.changes else ({}, {})
    for table, rows in (publish.rows or {}).items():
        keys = f"{groups[table]:,}" if table in groups else "all"
        grid.add_row(table, keys, f"{dates[table]:,}" if table in dates else "", f"{rows:,}")
    return grid


def upkeep_grid(tables: Mapping[str, Counts]) -> Grid:
    """What was done to each table."""
    names = list(dict.fromkeys(name for numbers in tables.values() for name in numbers))
    grid = grid_of("Tables", "table", *(f">{name.replace('_', ' ')}" for name in names))
    for table, numbers in tables.items():
        grid.add_row(table, *(f"{numbers[name]:,}" for name in names))
    return grid


def invariant_grid(check: CheckMetrics, meanings: Meanings) -> Grid:
    """What each invariant says, or which rows break it."""
    grid = grid_of("Invariants", "invariant", ">violations", "says, or keys of some rows that break it")
    for name, rows in check.invariants.items():
        text = printable(", ".join(check.samples[name])) if rows else meanings[name]
        grid.add_row(name, f"{rows:,}", text, style="red" if rows else None)
    return grid
