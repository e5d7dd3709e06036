"""Pulling: what is new in an API or a database becomes landing files, and a row in etl_pulls; a person is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.process.secrets import reveal
from etl_lib.run.metrics import PullMetrics
from etl_lib.run.run import Run, step
from etl_lib.sources.api.source import address, pull_orders
from etl_lib.sources.jdbc import Checkpoint, land_changes
from etl_lib.sources.jdbc_database import Database
from etl_lib.sources.pull_folder import Pull
from etl_lib.tables.ledger import append_values
from etl_lib.tables.schemas import ETL_PULLS
from etl_lib.tables.warehouse import Warehouse

COMPLETE = "complete"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pulled:
    """One pull, and the checkpoint from which the next one of a database goes on."""

    pull: Pull
    checkpoint: Checkpoint | None = None


def pull_sources(run: Run) -> None:
    """Pull every dataset of the configured source; each is entered in etl_pulls as soon as it has landed.

    Raises what the source raises: what had landed until then stays, and a pull from an API goes on there.
    """
    sources = run.settings.sources
    run.warehouse.create([ETL_PULLS])
    pull = _from_api(run) if sources.orders == "api" else _from_database(run)
    for dataset in sources.pulled:
        with step(f"pull_{dataset}") as told:
            pulled = pull(dataset, f"{str(sources.landing).rstrip('/')}/{dataset}")
            told["records"] = pulled.pull.manifest.records
            _enter(run, dataset, pulled)
        run.metrics.pulls[dataset] = _told(pulled.pull)


def _from_api(run: Run) -> Callable[[str, str], Pulled]:
    settings = run.settings.sources.api
    assert settings is not None  # noqa: S101 - the settings are complete

    def pull(dataset: str, landing: str) -> Pulled:
        return Pulled(pull_orders(settings, landing, _last_until(run.warehouse, dataset, address(settings)), reveal))

    return pull


def _from_database(run: Run) -> Callable[[str, str], Pulled]:
    settings = run.settings.sources.jdbc
    assert settings is not None  # noqa: S101 - the settings are complete
    database = Database(run.spark, settings, reveal)

    def pull(dataset: str, landing: str) -> Pulled:
        since = _last_checkpoint(run.warehouse, dataset, database.address(dataset))
        return Pulled(*land_changes(database, dataset, landing, since))

    return pull


def _last_until(warehouse: Warehouse, dataset: str, whence: str) -> datetime | None:
    """Where the window of the last complete pull from this address ended."""
    found = _complete(warehouse, dataset, whence).agg(F.max(F.unix_micros("until"))).collect()[0][0]
    return None if found is None else _EPOCH + timedelta(microseconds=found)


def _last_checkpoint(warehouse: Warehouse, dataset: str, whence: str) -> Checkpoint | None:
    """The checkpoint of the last complete pull that left one."""
    left = _complete(warehouse, dataset, whence).where("checkpoint IS NOT NULL")
    found = left.agg(F.max_by("checkpoint", "until")).collect()[0][0]
    return None if found is None else Checkpoint.from_text(found)


def _complete(warehouse: Warehouse, dataset: str, whence: str) -> DataFrame:
    is_same = (F.col("dataset") == dataset) & (F.col("address") == whence)
    return warehouse.read(ETL_PULLS).where(is_same & (F.col("status") == COMPLETE))


def _enter(run: Run, dataset: str, pulled: Pulled) -> None:
    """Add the pull to etl_pulls; one that goes on in a later run has a row of each run."""
    manifest = pulled.pull.manifest
    checkpoint = None if pulled.checkpoint is None else pulled.checkpoint.as_text()
    row = (
        manifest.pull_id,
        dataset,
        run.run_id,
        manifest.source,
        manifest.url,
        manifest.status,
        manifest.since,
        manifest.until,
        checkpoint,
        manifest.pages,
        manifest.records,
        manifest.malformed_pages,
        manifest.checksum,
        pulled.pull.folder,
        manifest.started_at,
        manifest.ended_at or datetime.now(UTC),
    )
    append_values(run.warehouse, ETL_PULLS, [row])


def _told(pull: Pull) -> PullMetrics:
    one = pull.manifest
    return PullMetrics(
        one.pull_id, one.status, one.pages, one.records, one.malformed_pages, resumed=pull.resumed, folder=pull.folder
    )
