"""Showing what a run would change, in the manner of terraform: + inserted, ~ updated, = left alone and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from pyspark.sql import Column
from pyspark.sql import functions as F
from rich.console import Console

from etl_lib.deciding.counts import Batch, missing_counts
from etl_lib.deciding.results import MOVED_TABLES, order_metrics
from etl_lib.process.streams import console_on, printable
from etl_lib.run.metrics import Metrics
from etl_lib.run.report import MEANINGS, print_input, print_warnings
from etl_lib.run.run import Run
from etl_lib.tables.ledger import PLANNED, RunEntry, write_run
from etl_lib.tables.merge import dates_literal
from etl_lib.tables.schemas import DIM_ORDER, FACT_SALES, Table

_SIGNS = {"inserted": "[green]+[/green]", "updated": "[yellow]~[/yellow]"}


def touched_files(batch: Batch) -> dict[str, tuple[int, int]]:
    """How many files of fact_sales and dim_order hold a row of an updated order, and how many there are."""
    warehouse = batch.stage.warehouse
    updated = batch.stage.applied("orders").where("outcome = 'updated'").select("order_id")
    found = {}
    for table in (FACT_SALES, DIM_ORDER):
        rows = warehouse.read(table)
        on_dates = rows.where(dates_literal("order_date", batch.dates))
        in_files = on_dates.select("order_id", F.col("_metadata.file_path").alias("file"))
        hit = in_files.join(updated, "order_id", "left_semi").select("file").distinct()
        found[table.name] = (hit.count(), _all_files(batch, table))
    return found


def _all_files(batch: Batch, table: Table) -> int:
    detail = batch.stage.warehouse.spark.sql(f"DESCRIBE DETAIL {batch.stage.warehouse.name(table)}")
    return int(detail.select("numFiles").collect()[0][0])


def changed_orders(batch: Batch, most: int) -> list[dict[str, Any]]:
    """The first orders that the plan inserts or updates, each with what it is now and what it would be."""
    told = ("order_date", "line_count", "amount", "currency", "is_deleted", "version_at")
    before = batch.stage.warehouse.read(DIM_ORDER).select("order_id", F.struct(*told).alias("before"))
    after = batch.stage.applied("orders").select("order_id", "outcome", F.struct(*told).alias("after"))
    rows = after.join(before, "order_id", "left").orderBy(F.desc("outcome"), "order_id").limit(most)
    texts = [_as_texts(side, told).alias(side) for side in ("before", "after")]
    return [row.asDict() for row in rows.select("order_id", "outcome", *texts).collect()]


def _as_texts(side: str, names: Sequence[str]) -> Column:
    return F.create_map(*(part for name in names for part in (F.lit(name), F.col(f"{side}.{name}").cast("string"))))


def print_plan(batch: Batch, most: int, stream: TextIO, metrics: Metrics) -> None:
    """Print the plan of a staged batch; `most` is how many orders to show one by one.

    The metrics of the run tell what was finished first, and which input could not be read.
    """
    console = console_on(stream)
    orders = batch.of("orders").outcomes
    console.print(f"\n[bold]Plan {batch.stage.run_id}[/bold]: what applying it would do\n")
    if metrics.finished_runs:
        finished = ", ".join(metrics.finished_runs)
        console.print(f"  Before it, interrupted runs were finished from their stage: {finished}\n")
    print_input(metrics, console)
    for dataset, counts in sorted(batch.datasets.items()):
        for outcome, sign in _SIGNS.items():
            if counts.outcomes[outcome]:
                console.print(f"  {sign} {counts.outcomes[outcome]:,} {dataset} {outcome}: {MEANINGS[outcome]}")
        for outcome in ("unchanged", "stale", "superseded", "out_of_window", "rejected"):
            if counts.outcomes[outcome]:
                console.print(f"  = {counts.outcomes[outcome]:,} {dataset} {outcome}: {MEANINGS[outcome]}")
    if batch.of("orders").applied:
        _print_orders(batch, most, console)
        _print_dates(batch, console)
        for name, (hit, files) in touched_files(batch).items():
            console.print(f"  {name}: {hit} of {files} files hold rows that change")
    print_warnings((ids.message for ids in batch.unlike_ids), console)
    console.print(
        f"\nPlan: {orders['inserted']:,} to insert, {orders['updated']:,} to update, "
        f"{orders['unchanged'] + orders['stale'] + orders['superseded'] + orders['out_of_window']:,} left alone, "
        f"{orders['rejected']:,} to quarantine."
    )
    console.print(f"The plan changed no table. To carry it out: --apply {batch.stage.run_id}")


def _print_orders(batch: Batch, most: int, console: Console) -> None:
    console.print("\nOrders")
    for order in changed_orders(batch, most):
        after, before = order["after"], order["before"] or {}
        known = before.get("order_date") is not None
        changes = [
            f"{name} {before[name]} -> {value}" if known else f"{name} {value}"
            for name, value in after.items()
            if not known or before[name] != value
        ]
        told = printable(f"{order['order_id']}: {', '.join(changes)}")
        console.print(f"  {_SIGNS[order['outcome']]} {told}", soft_wrap=True)
    left = batch.of("orders").applied - most
    if left > 0:
        console.print(f"    ... and {left:,} more, all in the stage")


def _print_dates(batch: Batch, console: Console, most: int = 31) -> None:
    console.print(f"\nDates touched: {len(batch.dates)}")
    for day, counts in sorted(batch.dates.items())[:most]:
        told = ", ".join(f"{_SIGNS[outcome]} {counts[outcome]:,}" for outcome in _SIGNS if counts[outcome])
        console.print(f"  {day}  {told}")
    if len(batch.dates) > most:
        console.print(f"  ... and {len(batch.dates) - most} more up to {max(batch.dates)}")


def record_plan(run: Run, batch: Batch) -> None:
    """Enter the run as a plan that waits for `--apply`."""
    versions = run.warehouse.versions(MOVED_TABLES)
    rows, inferred = run.warehouse.rows(MOVED_TABLES), missing_counts(batch)
    run.metrics.tell_input(order_metrics(batch, rows), run.manifest)
    run.metrics.status, run.metrics.inferred = PLANNED, inferred
    write_run(run.warehouse, RunEntry(run.manifest, PLANNED, run.metrics, versions, versions))
    if not run.arguments.as_json:
        print_plan(batch, run.settings.samples, sys.stdout, run.metrics)
