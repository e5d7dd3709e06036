"""Which files a run takes: by default those that the ledger does not have, by path, size and modification time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.process.concurrently import concurrently
from etl_lib.run.run import Run
from etl_lib.settings.arguments import Scope
from etl_lib.sources.damaged import without_set_aside
from etl_lib.sources.landing import LandingFile, collected_by, landing_files, unread
from etl_lib.tables.ledger import known_versions, loaded_files
from etl_lib.tables.warehouse import Warehouse

DATASETS = ("orders", "users", "products")


def files_to_read(run: Run, scope: Scope) -> dict[str, list[LandingFile]]:
    """The files of each dataset that this run reads; a dataset without any is left out.

    `--full` takes all. `--since` takes all but the order files whose recorded maximum of version_at is older. Those
    that were set aside wait until they change. A location at which there is no file at all is told in the metrics.
    """
    locations = {name: location for name in DATASETS if (location := run.settings.landing_files(name)) is not None}

    def listed(dataset: str, location: str) -> DataFrame:
        return landing_files(run.spark, location, f"input.{dataset}").withColumn("dataset", F.lit(dataset))

    if not locations:
        return {}
    listings = concurrently(**{name: partial(listed, name, location) for name, location in locations.items()})
    files = reduce(DataFrame.unionByName, listings.values())
    found = collected_by(_wanted(scope, files, loaded_files(run.warehouse)), F.col("dataset"))
    without = [name for name in locations if name not in found and name not in run.settings.sources.pulled]
    matched = {*locations} - {*without} | _with_files(listings[name] for name in without)
    run.metrics.unmatched = {name: location for name, location in locations.items() if name not in matched}
    left = found if scope.full else without_set_aside(run, found)
    return {dataset: left[dataset] for dataset in DATASETS if left.get(dataset)}


def _with_files(listings: Iterable[DataFrame]) -> set[str]:
    """The datasets of those listings that have a file: one is looked at of each, as there may be very many."""
    firsts = [listing.select("dataset").limit(1) for listing in listings]
    return {row["dataset"] for row in reduce(DataFrame.union, firsts).collect()} if firsts else set()


def _wanted(scope: Scope, files: DataFrame, loaded: DataFrame) -> DataFrame:
    if scope.full:
        return files
    if scope.marks_files:
        return unread(files, loaded)
    if scope.window.since is not None:
        is_older = F.col("max_version_at") < F.lit(scope.window.since).cast("timestamp")
        return unread(files, loaded.where((F.col("dataset") == "orders") & is_older))
    return files


def not_loaded(warehouse: Warehouse, files: Mapping[str, Sequence[LandingFile]]) -> dict[str, list[LandingFile]]:
    """Of the files of each dataset those that no complete run has loaded as they are."""
    known = known_versions(warehouse, list(files))
    return {
        dataset: [file for file in some if (dataset, file.path, file.size, file.modified_at) not in known]
        for dataset, some in files.items()
    }
