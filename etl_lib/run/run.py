"""One run of a job: its identity, its lock, its steps, and what it leaves behind however it ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import structlog
from pyspark.sql import SparkSession

from etl_lib import RELEASE
from etl_lib.process.errors import (
    DiskFullError,
    LakehouseError,
    PlanError,
    SchemaError,
    WarehouseBusyError,
    is_disk_full,
)
from etl_lib.process.faults import reach
from etl_lib.process.lock import local_folder, warehouse_lock
from etl_lib.process.redaction import redacted
from etl_lib.process.session import open_session, temporary_settings
from etl_lib.process.tuning import INTERPRETED
from etl_lib.run.metrics import Metrics
from etl_lib.run.report import Job, print_json, print_plan, print_summary, write_metrics
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.rules import RuleBook
from etl_lib.tables.ledger import DONE, FAILED, PLANNED, Ledger, RunManifest, read_ledger
from etl_lib.tables.schemas import ETL_RUNS, VIEWS, Table
from etl_lib.tables.warehouse import Warehouse, differences

log = structlog.get_logger(__name__)


@dataclass
class Run:
    """What the steps of a run share: where it works, who it is, and the metrics that it collects."""

    settings: Settings
    arguments: Arguments
    rules: RuleBook
    spark: SparkSession
    warehouse: Warehouse
    manifest: RunManifest
    ledger: Ledger
    """What the ledger said at the start."""
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return self.manifest.run_id


@contextmanager
def step(name: str) -> Iterator[dict[str, Any]]:
    """Time a step, and log its end with what it puts into the dictionary; a number that is not 0 also with its rate.

    Before and after it are the fault points `<name>.before` and `<name>.after`.
    """
    started = time.monotonic()
    counts: dict[str, Any] = {}
    reach(f"{name}.before")
    yield counts
    reach(f"{name}.after")
    seconds = time.monotonic() - started
    rates = {f"{unit}_per_s": round(n / max(seconds, 1e-3)) for unit, n in counts.items() if isinstance(n, int) and n}
    log.info(name, **counts, **rates, seconds=round(seconds, 1))


@contextmanager
def open_run(
    job: Job, settings: Settings, arguments: Arguments, rules: RuleBook, run_id: str | None = None
) -> Iterator[Run]:
    """Open the session, take the warehouse, make its tables; at the end, good or bad, write the metrics.

    `run_id` is that of a plan to apply; any other run gets a new one.
    The metrics of a failed run say what failed. An error is passed on to the caller.
    """
    started = datetime.now(UTC)
    begun = time.monotonic()
    manifest = RunManifest(
        run_id=run_id or f"{started:%Y%m%dT%H%M%S}Z-{token_hex(3)}",
        job=job.name,
        arguments=arguments.given,
        started_at=started.isoformat(timespec="milliseconds"),
        is_plan=arguments.plan,
    )
    metrics = Metrics(manifest.run_id, FAILED)
    refused = False
    structlog.contextvars.bind_contextvars(run_id=manifest.run_id)
    try:
        with warehouse_lock(settings.warehouse, manifest.run_id, manifest.started_at, settings.lock_timeout_s):
            with step("session"):
                spark = open_session(settings.spark)
            warehouse = Warehouse(spark, settings.warehouse)
            with step("tables"), temporary_settings(spark, INTERPRETED):
                ledger = open_tables(warehouse, job.tables)
            try:
                yield Run(settings, arguments, rules, spark, warehouse, manifest, ledger, metrics)
            finally:
                metrics.commit_retries = warehouse.collisions.total()
            if metrics.status == PLANNED and not arguments.as_json:
                print_plan(job, metrics, sys.stdout)
    except LakehouseError as error:
        metrics.message = redacted(str(error))
        # A run that was refused has no metrics of its own: those of the run that holds, or of the plan, stay.
        refused = isinstance(error, WarehouseBusyError | PlanError)
        raise
    except Exception as error:
        metrics.message = redacted(f"{type(error).__name__}: {error}")
        if is_disk_full(error):
            metrics.message = full_disk_message(settings)
            raise DiskFullError(metrics.message) from error
        raise
    finally:
        metrics.duration_s = round(time.monotonic() - begun, 3)
        if not refused:
            _keep(settings.output, metrics)
        if arguments.as_json:
            print_json(metrics, sys.stdout)
        elif metrics.status == DONE:
            print_summary(job, metrics, settings, sys.stdout)
        structlog.contextvars.unbind_contextvars("run_id")


def open_tables(warehouse: Warehouse, tables: Sequence[Table]) -> Ledger:
    """Make the tables that are absent, and give what the ledger says.

    SchemaError for tables that differ from their declared columns, and for the warehouse of another release. A table
    that is still as the ledger has it, by the same declarations, is not asked.
    """
    columns = warehouse.columns(ETL_RUNS)
    if columns is None:
        warehouse.create(tables)
        if warehouse.is_catalog and ETL_RUNS in tables:
            for view in VIEWS:
                warehouse.create_view(view)
        return Ledger()
    if "release" not in columns.names:
        raise _of_another_release(warehouse, "an earlier state of this project")
    if differences(ETL_RUNS.schema, columns):
        warehouse.create(dict.fromkeys((ETL_RUNS, *tables)))  # its error names all that differ
    ledger = read_ledger(warehouse)
    if others := sorted(ledger.releases - {RELEASE}):
        raise _of_another_release(warehouse, f"release {', '.join(others)}")
    versions = warehouse.versions_on_disk(tables)
    unmoved = {name for name, left in ledger.tables.items() if versions.get(name) == left.version}
    warehouse.create(table for table in tables if table is not ETL_RUNS and table.name not in unmoved)
    return ledger


def _of_another_release(warehouse: Warehouse, writer: str) -> SchemaError:
    return SchemaError(
        f"{warehouse.location} was written by {writer}, and this is release {RELEASE}: work on it with that one, or "
        "set warehouse to a new place and load the landing files into that"
    )


def _keep(output: str, metrics: Metrics) -> None:
    """Write the metrics; when they cannot be written, that is logged, and what the run did stays."""
    try:
        write_metrics(output, metrics)
    except (OSError, ValueError) as error:
        log.error("the metrics could not be written", output=output, reason=str(error))  # noqa: TRY400 - one line says it


def full_disk_message(settings: Settings) -> str:
    """The local folders that a run writes to, each with the space that its disk has left, and what to do."""
    scratch = os.environ.get("SPARK_LOCAL_DIRS") or settings.spark.get("spark.local.dir", tempfile.gettempdir())
    places = {"warehouse": settings.warehouse, "output": settings.output, "Spark's scratch": scratch.split(",")[0]}
    free = [
        f"{name} {place} has {shutil.disk_usage(folder).free / 1e6:,.1f} MB free"
        for name, place in places.items()
        if (folder := local_folder(place)) is not None and folder.exists()
    ]
    return (
        f"a disk is full: {'; '.join(free)}. Make room and run the same command again: what was not committed is in no "
        "table, and a run that was staged is finished from its stage"
    )
