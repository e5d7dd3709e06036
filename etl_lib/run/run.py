"""One run of a job: its identity, its lock, its steps, and what it leaves behind however it ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex

import structlog
from pyspark.sql import SparkSession

from etl_lib import RELEASE
from etl_lib.process.errors import (
    DiskFullError,
    LakehouseError,
    SchemaError,
    is_disk_full,
)
from etl_lib.process.lock import local_folder, warehouse_lock
from etl_lib.process.session import open_session, temporary_settings
from etl_lib.process.tuning import INTERPRETED
from etl_lib.run.job import Job
from etl_lib.run.lease import hold_lease
from etl_lib.run.metrics import Metrics, metrics_of
from etl_lib.run.steps import Watcher, step, step_log
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.rules import RuleBook
from etl_lib.tables.ledger import ORDERS_JOB, REPLAY_JOB, Ledger, RunManifest, read_ledger
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
    tell: Callable[[Metrics], None]
    """Tells a run; this one is told at its end."""
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return self.manifest.run_id

    @property
    def applies_stages(self) -> bool:
        """Whether a stage of its job can be applied later."""
        return self.manifest.job in (ORDERS_JOB, REPLAY_JOB)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a command gives to its run."""

    check: Callable[[], None]
    """Raises LakehouseError for what can be refused before Spark is there."""
    begin: Callable[[Metrics], None]
    """Tells that the run has begun and has the warehouse."""
    tell: Callable[[Metrics], None]
    watcher: Watcher | None = None


@contextmanager
def open_run(
    job: Job,
    settings: Settings,
    arguments: Arguments,
    rules: RuleBook,
    surroundings: Surroundings,
) -> Iterator[Run]:
    """Check what needs no Spark, open the session, take the warehouse, make its tables; at the end, good or bad, tell.

    The run has the id of the plan that it applies, or else a new one. The metrics of a failed run say what failed. An
    error is passed on to the caller.
    """
    started = datetime.now(UTC)
    begun = time.monotonic()
    manifest = RunManifest(
        run_id=arguments.applied_run_id or f"{started:%Y%m%dT%H%M%S}Z-{token_hex(3)}",
        job=job.name,
        arguments=arguments.given,
        started_at=started.isoformat(timespec="milliseconds"),
        is_plan=arguments.plan,
    )
    structlog.contextvars.bind_contextvars(run_id=manifest.run_id)
    with step_log(surroundings.watcher) as steps:
        metrics = metrics_of(manifest)
        metrics.steps, metrics.is_refused = steps.steps, True
        try:
            surroundings.check()
            with warehouse_lock(settings.warehouse, manifest.run_id, manifest.started_at, settings.lock_timeout_s):
                metrics.is_refused = False
                surroundings.begin(metrics)
                with step("session"):
                    spark = open_session(settings.spark)
                with hold_lease(spark, settings, manifest) as may_write:
                    warehouse = Warehouse(spark, settings.warehouse, before_commit=may_write)
                    with step("tables"), temporary_settings(spark, INTERPRETED):
                        ledger = open_tables(warehouse, job.tables)
                    try:
                        yield Run(
                            settings, arguments, rules, spark, warehouse, manifest, ledger, surroundings.tell, metrics
                        )
                    finally:
                        metrics.commit_retries = warehouse.collisions.total()
        except LakehouseError as error:
            metrics.fail(error, str(error))
            raise
        except Exception as error:
            if is_disk_full(error):
                full = DiskFullError(full_disk_message(settings))
                metrics.fail(full, str(full))
                raise full from error
            metrics.fail(error, f"{type(error).__name__}: {error}")
            raise
        finally:
            metrics.duration_s = round(time.monotonic() - begun, 3)
            surroundings.tell(metrics)
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
