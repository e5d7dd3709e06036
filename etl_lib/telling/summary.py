"""What a person sees of a run on stdout: a summary or a plan; or its metrics as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table as Grid

from etl_lib.process.streams import console_on, printable
from etl_lib.run.job import Job, Meanings, drift_sentences
from etl_lib.run.metric_parts import CheckMetrics, EventMetrics, OrderChanges, OrderMetrics, UndoMetrics
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.settings.config import Settings
from etl_lib.tables.ledger import DONE, PLANNED, REPLAY_JOB
from etl_lib.telling import grids
from etl_lib.telling.metrics_files import metrics_paths
from etl_lib.telling.report import report_path

_SIGNS = {"inserted": "[green]+[/green]", "updated": "[yellow]~[/yellow]"}
_MOST_DATES = 31


@dataclass(frozen=True)
class Summary:
    """Prints a run that is done, a plan, and the invariants that a check found broken; or, asked for JSON, any run."""

    job: Job
    settings: Settings
    as_json: bool

    def tell(self, metrics: Metrics) -> None:
        """Print it to stdout."""
        if self.as_json:
            print_json(metrics, sys.stdout)
        elif metrics.status == DONE:
            print_summary(self.job, metrics, self.settings, sys.stdout)
        elif metrics.status == PLANNED:
            print_plan(self.job, metrics, sys.stdout)
        elif metrics.upkeep.check:
            _print_invariants(metrics.upkeep.check, self.job.meanings, console_on(sys.stdout))


def print_json(metrics: Metrics, stream: TextIO) -> None:
    """The metrics as one JSON object on one line."""
    stream.write(as_json(metrics) + "\n")


def print_summary(job: Job, metrics: Metrics, settings: Settings, stream: TextIO) -> None:
    """What a person sees at the end: each part of the metrics that the run has, and where everything is."""
    console, batch = console_on(stream), metrics.batch
    console.print(f"\n[bold]Run {metrics.run_id}[/bold] {metrics.status} in {metrics.duration_s or 0} s")
    if metrics.finished_runs:
        console.print(f"Finished first, from their stage: {', '.join(metrics.finished_runs)}")
    if metrics.finished_restores:
        console.print(f"Finished first, undoing: {', '.join(metrics.finished_restores)}")
    _print_input(metrics, console)
    _print_pulls(metrics, console)
    if isinstance(batch, OrderMetrics):
        _print_entries(job, metrics, batch, console)
    _print_grids(grids.batch_grids(metrics, job.meanings), console)
    if isinstance(batch, OrderMetrics) and batch.conflicts:
        orders = printable(", ".join(batch.conflict_orders))
        console.print(f"[yellow]Conflicts[/yellow] (one version, two contents): {batch.conflicts} orders: {orders}")
    _print_weeks(metrics, console)
    _print_warnings(metrics, console)
    _print_upkeep(job, metrics, console)
    for path in metrics.features.files if metrics.features else ():
        console.print(f"File     {path}", soft_wrap=True, markup=False)
    if batch is None:
        _print_publishes(metrics, console)
    for drift in drift_sentences(batch.drift if batch else {}, settings.drift, "warn", "fail"):
        console.print(f"[yellow]Schema drift[/yellow] in {printable(drift)}")
    latest, own = metrics_paths(settings.output, metrics.run_id)
    places = [f"Tables   {settings.warehouse}", f"Metrics  {latest}", f"         {own}"]
    if settings.telling.report:
        places.append(f"Report   {report_path(settings.output, metrics.run_id)}")
    console.print("\n".join(places), soft_wrap=True, markup=False)
    if batch is not None:
        _print_publishes(metrics, console)


def print_plan(job: Job, metrics: Metrics, stream: TextIO) -> None:
    """What a person sees of a plan: what would change, in the manner of terraform, and how to carry it out."""
    console = console_on(stream)
    if metrics.upkeep.task:
        console.print(f"\n[bold]Plan of {metrics.upkeep.task}[/bold]: what it would do\n")
        _print_grids([grids.upkeep_grid(metrics.upkeep.tables or {})], console)
        if metrics.upkeep.undo:
            files = "would count as new again: the next run would load them"
            _print_undone(metrics.upkeep.undo, console, "would be undone", files)
        console.print("Nothing was changed. To carry it out, leave out --plan.")
    elif isinstance(metrics.batch, EventMetrics):
        console.print(f"\n[bold]Plan {metrics.run_id}[/bold]: what the run would do\n")
        _print_input(metrics, console)
        _print_grids(grids.batch_grids(metrics, job.meanings), console)
        console.print(grids.week_grid("Weeks that would be replaced", metrics.weeks or {}, "rows now", "rows then"))
        _print_warnings(metrics, console)
        console.print("The plan changed no feature, file or ledger of files. To carry it out, run it without --plan.")
    elif metrics.batch is not None:
        _print_order_plan(job, metrics, metrics.batch, console)


def _print_input(metrics: Metrics, console: Console) -> None:
    """Where no file was found at all, and which files wait because they cannot be read."""
    for dataset, location in (metrics.unmatched or {}).items():
        console.print(f"[yellow]No file[/yellow] at input.{dataset}: {printable(location)}", soft_wrap=True)
    for file in metrics.set_aside or ():
        text = printable(f"{file.dataset} {file.path}: {file.reason}")
        console.print(f"[yellow]Set aside[/yellow] {text}", soft_wrap=True)


def _print_pulls(metrics: Metrics, console: Console) -> None:
    _print_grids([grids.pull_grid(metrics.pulls)], console)
    for pull in metrics.pulls.values():
        if pull.malformed_pages:
            text = f"Malformed pages: {pull.malformed_pages:,}, each a record that loading puts into quarantine"
            console.print(text, soft_wrap=True)
        console.print(f"Landed   {printable(pull.folder)}", soft_wrap=True, markup=False)


def _print_entries(job: Job, metrics: Metrics, batch: OrderMetrics, console: Console) -> None:
    """What became of entries of the quarantine, or that there was nothing to do."""
    if metrics.discarded is not None:
        console.print(f"Discarded: {metrics.discarded:,} entries")
    elif metrics.replayed is not None:
        still = batch.outcomes["rejected"]
        console.print(f"Replayed: {metrics.replayed:,} entries closed, {still:,} rejected again and still open")
    elif job.name == REPLAY_JOB:
        console.print("Nothing to replay: no entry that was chosen is open, no table was changed.")
    elif not batch.datasets:
        console.print("Nothing new: the ledger has every file, no table was changed.")


def _print_grids(several: Iterable[Grid], console: Console) -> None:
    """Those that have rows."""
    for grid in several:
        if grid.row_count:
            console.print(grid)


def _print_weeks(metrics: Metrics, console: Console) -> None:
    windows, features = metrics.windows, metrics.features
    if not windows or not features:
        return
    console.print(grids.week_grid("Target weeks", metrics.weeks or {}, "rows", "clicked"))
    console.print(
        f"Reference date {windows.reference_date}, window {windows.window}, {windows.window_weeks} weeks: "
        f"{windows.window_first_day} to {windows.window_last_day}"
    )
    console.print(
        f"Pays before the windows {windows.pays_before_windows:,}, after them {windows.pays_after_windows:,}; "
        f"exact duplicates: {features.duplicate_prints:,} prints, {features.duplicate_taps:,} taps, "
        f"{features.duplicate_pays:,} pays"
    )


def _print_warnings(metrics: Metrics, console: Console) -> None:
    """Closed gates, and what was expected of whole datasets and is not so, a sentence each."""
    for gate in metrics.gates:
        if gate.message:
            text = f"[yellow]Gate[/yellow] {gate.gate} {gate.state}: {printable(gate.message.replace(chr(10), '; '))}"
            console.print(text, soft_wrap=True)
    if metrics.publish is not None:
        console.print(f"[yellow]Publish[/yellow] {metrics.publish}: sinks and files stay as they were", soft_wrap=True)
    for warning in (metrics.batch.warnings if metrics.batch else None) or ():
        console.print(f"[yellow]Warning[/yellow] {warning}", soft_wrap=True)


def _print_upkeep(job: Job, metrics: Metrics, console: Console) -> None:
    """What was done to each table, or which invariants hold."""
    upkeep = metrics.upkeep
    if upkeep.check:
        _print_invariants(upkeep.check, job.meanings, console)
    else:
        _print_grids([grids.upkeep_grid(upkeep.tables or {})], console)
    if upkeep.undo:
        _print_undone(upkeep.undo, console, "were undone", "count as new again: the next run loads them")


def _print_invariants(check: CheckMetrics, meanings: Meanings, console: Console) -> None:
    console.print(grids.invariant_grid(check, meanings))
    if check.not_checked:
        console.print(f"Not checked, their tables are not there: {', '.join(check.not_checked)}")


def _print_undone(undo: UndoMetrics, console: Console, undone: str, files: str) -> None:
    console.print(f"Runs that {undone}, oldest first: {', '.join(undo.undone_runs)}", soft_wrap=True)
    console.print(
        f"{undo.files_new_again:,} landing files {files}. Correct them or take them away before that.",
        soft_wrap=True,
    )


def _print_publishes(metrics: Metrics, console: Console) -> None:
    """A grid a sink, with a row a relation; one line for a sink that lacks nothing."""
    for sink, publish in metrics.publishes.items():
        changes = publish.changes if publish.rows is not None else None
        why = f", everything, as {changes.reason}" if changes and changes.is_full else ""
        line = f"{publish.status.capitalize()} for {sink}: {printable(publish.address)}{why}"
        console.print(line, soft_wrap=True, markup=False)
        if changes:
            console.print(grids.publish_grid(publish))


def _print_order_plan(job: Job, metrics: Metrics, batch: OrderMetrics, console: Console) -> None:
    """+ inserted, ~ updated, = left alone and why."""
    console.print(f"\n[bold]Plan {metrics.run_id}[/bold]: what applying it would do\n")
    if metrics.finished_runs:
        finished = ", ".join(metrics.finished_runs)
        console.print(f"  Before it, interrupted runs were finished from their stage: {finished}\n")
    _print_input(metrics, console)
    for dataset, counts in batch.datasets.items():
        for outcome, meaning in job.meanings.items():
            if number := counts.outcomes[outcome]:
                console.print(f"  {_SIGNS.get(outcome, '=')} {number:,} {dataset} {outcome}: {meaning}")
    if metrics.changes:
        _print_changes(metrics.changes, console)
    _print_warnings(metrics, console)
    outcomes = batch.outcomes
    left_alone = sum(outcomes[name] for name in ("unchanged", "stale", "superseded", "out_of_window"))
    console.print(
        f"\nPlan: {outcomes['inserted']:,} to insert, {outcomes['updated']:,} to update, {left_alone:,} left alone, "
        f"{outcomes['rejected']:,} to quarantine."
    )
    console.print(f"The plan changed no table. To carry it out: --apply {metrics.run_id}")


def _print_changes(changes: OrderChanges, console: Console) -> None:
    """The first orders one by one, the first dates, and how many files would be touched."""
    console.print("\nOrders")
    for order in changes.orders:
        after, before = order["after"], order["before"] or {}
        is_known = before.get("order_date") is not None
        values = [
            f"{name} {before[name]} -> {value}" if is_known else f"{name} {value}"
            for name, value in after.items()
            if not is_known or before[name] != value
        ]
        line = printable(f"{order['order_id']}: {', '.join(values)}")
        console.print(f"  {_SIGNS[order['outcome']]} {line}", soft_wrap=True)
    if changes.more > 0:
        console.print(f"    ... and {changes.more:,} more, all in the stage")
    console.print(f"\nDates touched: {len(changes.dates)}")
    for day, counts in list(changes.dates.items())[:_MOST_DATES]:
        numbers = ", ".join(f"{sign} {counts[outcome]:,}" for outcome, sign in _SIGNS.items() if counts[outcome])
        console.print(f"  {day}  {numbers}")
    if len(changes.dates) > _MOST_DATES:
        console.print(f"  ... and {len(changes.dates) - _MOST_DATES} more up to {max(changes.dates)}")
    for name, (touched, files) in changes.files.items():
        console.print(f"  {name}: {touched} of {files} files hold rows that change")
