"""Pulling: what is new in an API or a database becomes landing files, and a row in etl_pulls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from etl_lib.run.metric_parts import PullMetrics
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.api_settings import ApiSource
from etl_lib.sources.api.source import address, pull_orders
from etl_lib.sources.jdbc import checkpoint_of, checkpoint_text, land_changes
from etl_lib.sources.jdbc_database import Database
from etl_lib.sources.pull_folder import PullFolder
from etl_lib.tables.schemas import ETL_PULLS
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse


def pull_sources(run: Run) -> None:
    """Pull every dataset of the configured source; each is entered in etl_pulls as soon as it has landed.

    Raises what the source raises: what had landed until then stays, and a pull from an API goes on there.
    """
    sources = run.settings.sources
    run.warehouse.create([ETL_PULLS])
    source = getattr(sources, sources.orders)
    pull = (
        partial(_from_api, run, source)
        if sources.orders == "api"
        else partial(_from_database, run, Database(run.spark, source))
    )
    for dataset in sources.pulled:
        with step(f"pull_{dataset}") as counts:
            folder, checkpoint = pull(dataset, f"{str(sources.landing).rstrip('/')}/{dataset}")
            manifest = folder.manifest
            counts["records"] = manifest.records
            _enter(run, dataset, folder, checkpoint)
        run.metrics.pulls[dataset] = PullMetrics(
            manifest.pull_id,
            manifest.status,
            manifest.pages,
            manifest.records,
            manifest.malformed_pages,
            resumed=folder.resumed,
            folder=folder.location,
        )


def _from_api(run: Run, source: ApiSource, dataset: str, landing: str) -> tuple[PullFolder, datetime | None]:
    """Pull what changed since the window of the last complete pull ended; an API has no checkpoint."""
    until = _last_complete(run.warehouse, dataset, address(source), F.max(F.unix_micros("until")))
    since = None if until is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=until)
    return pull_orders(source, landing, since), None


def _from_database(run: Run, database: Database, dataset: str, landing: str) -> tuple[PullFolder, datetime | None]:
    """Pull what changed since the last checkpoint that a complete pull left."""
    newest = F.max_by("checkpoint", F.when(F.col("checkpoint").isNotNull(), F.col("until")))
    text = _last_complete(run.warehouse, dataset, database.address(dataset), newest)
    return land_changes(database, dataset, landing, None if text is None else checkpoint_of(text))


def _last_complete(warehouse: Warehouse, dataset: str, address: str, value: Column) -> Any:
    """An aggregate of the complete pulls of a dataset from this address."""
    is_same = (F.col("dataset") == dataset) & (F.col("address") == address) & (F.col("status") == "complete")
    return warehouse.read(ETL_PULLS).where(is_same).agg(value).collect()[0][0]


def _enter(run: Run, dataset: str, folder: PullFolder, checkpoint: datetime | None) -> None:
    """Add the pull to etl_pulls; one that goes on in a later run has a row of each run."""
    manifest = folder.manifest
    values = {
        **dict(manifest),
        "dataset": dataset,
        "run_id": run.run_id,
        "address": manifest.url,
        "checkpoint": None if checkpoint is None else checkpoint_text(checkpoint),
        "folder": folder.location,
        "ended_at": manifest.ended_at or datetime.now(UTC),
    }
    row = tuple(values[name] for name in ETL_PULLS.column_names)
    run.warehouse.append(ETL_PULLS, values_frame(run.spark, [row], ETL_PULLS.columns))
