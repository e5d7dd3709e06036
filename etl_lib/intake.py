"""Which files a run takes: by default those that the ledger does not have, by path, size and modification time."""

from __future__ import annotations

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.arguments import Scope
from etl_lib.landing import LandingFile, collected, landing_files, unread
from etl_lib.ledger import loaded_files
from etl_lib.run import Run
from etl_lib.together import together

DATASETS = ("orders", "users", "products")


def files_to_read(run: Run, scope: Scope) -> dict[str, list[LandingFile]]:
    """The files of each dataset that this run reads; a dataset without any is left out.

    `--full` takes all. `--since` takes all but the order files whose recorded maximum of version_at is older.
    """

    def wanted(dataset: str) -> list[LandingFile]:
        location = run.settings.landing_files(dataset)
        if location is None:
            return []
        files = landing_files(run.spark, location, f"input.{dataset}")
        return collected(_wanted(scope, files, loaded_files(run.warehouse, dataset), dataset))

    found = zip(DATASETS, together(*(partial(wanted, dataset) for dataset in DATASETS)), strict=True)
    return {dataset: files for dataset, files in found if files}


def _wanted(scope: Scope, files: DataFrame, loaded: DataFrame, dataset: str) -> DataFrame:
    if scope.full:
        return files
    if scope.marks_files:
        return unread(files, loaded)
    if dataset == "orders" and scope.window.since is not None:
        return unread(files, loaded.where(F.col("max_version_at") < F.lit(scope.window.since).cast("timestamp")))
    return files
