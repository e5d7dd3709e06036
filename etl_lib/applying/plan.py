"""What a run of orders would change, entered as a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch, missing_counts
from etl_lib.deciding.results import MOVED_TABLES, order_metrics
from etl_lib.run.metric_parts import OrderChanges
from etl_lib.run.run import Run
from etl_lib.tables.ledger import PLANNED, RunEntry, write_run
from etl_lib.tables.merge import dates_literal
from etl_lib.tables.schemas import DIM_ORDER, FACT_SALES, Table


def touched_files(batch: Batch) -> dict[str, tuple[int, int]]:
    """How many files of fact_sales and dim_order hold a row of an updated order, and how many there are."""
    warehouse = batch.stage.warehouse
    updated = batch.stage.applied("orders").where("outcome = 'updated'").select("order_id")
    files = {}
    for table in (FACT_SALES, DIM_ORDER):
        rows = warehouse.read(table)
        on_dates = rows.where(dates_literal("order_date", batch.dates))
        in_files = on_dates.select("order_id", F.col("_metadata.file_path").alias("file"))
        hit = in_files.join(updated, "order_id", "left_semi").select("file").distinct()
        files[table.name] = (hit.count(), _all_files(batch, table))
    return files


def _all_files(batch: Batch, table: Table) -> int:
    detail = batch.stage.warehouse.spark.sql(f"DESCRIBE DETAIL {batch.stage.warehouse.name(table)}")
    return int(detail.select("numFiles").collect()[0][0])


def changed_orders(batch: Batch, most: int) -> list[dict[str, Any]]:
    """The first orders that the plan inserts or updates, each with what it is now and what it would be."""
    names = ("order_date", "amount", "line_count", "currency", "is_deleted", "version_at")
    before = batch.stage.warehouse.read(DIM_ORDER).select("order_id", F.struct(*names).alias("before"))
    after = batch.stage.applied("orders").select("order_id", "outcome", F.struct(*names).alias("after"))
    rows = after.join(before, "order_id", "left").orderBy(F.desc("outcome"), "order_id").limit(most)
    texts = [_as_texts(side, names).alias(side) for side in ("before", "after")]
    return [row.asDict(recursive=True) for row in rows.select("order_id", "outcome", *texts).collect()]


def _as_texts(side: str, names: Sequence[str]) -> Column:
    # A struct keeps the order of its fields; a map has another one on each client of Spark.
    return F.struct(*(F.col(f"{side}.{name}").cast("string").alias(name) for name in names))


def record_plan(run: Run, batch: Batch) -> None:
    """Enter the run as a plan that waits for `--apply`, and look up what a person is shown of it."""
    versions = run.warehouse.versions(MOVED_TABLES)
    rows, inferred = run.warehouse.rows(MOVED_TABLES), missing_counts(batch)
    run.metrics.tell_input(order_metrics(batch, rows), run.manifest)
    run.metrics.status, run.metrics.inferred = PLANNED, inferred
    write_run(run.warehouse, RunEntry(run.manifest, PLANNED, run.metrics, versions, versions, gates=run.metrics.gates))
    applied, most = batch.of("orders").applied, run.settings.samples
    if applied and not run.arguments.as_json:
        dates, orders = dict(sorted(batch.dates.items())), changed_orders(batch, most)
        run.metrics.changes = OrderChanges(orders, applied - most, dates, touched_files(batch))
