"""Which files a run takes: by default those that the ledger does not have, by path, size and modification time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.arguments import Scope
from etl_lib.batch import Batch
from etl_lib.dimensions import DIMENSIONS
from etl_lib.landing import LandingFile, collected_by, landing_files, unread
from etl_lib.run import Run
from etl_lib.schemas import DIM_ORDER, ETL_FILES
from etl_lib.together import together

DATASETS = ("orders", "users", "products")


FEW_BYTES = 16 << 20
FEW_ORDERS = 3_000_000
FEW_DATES = 10
FEW_ORDERS_OF_ALL_DATES = 100_000


def is_light(run: Run, files: Mapping[str, Sequence[LandingFile]]) -> bool:
    """Whether there is so little to read, of files and of dim_order, that queries are sooner interpreted than compiled.

    Measured with 6 MB into 1.5 million orders (docs/performance.md); the limits beyond that are guesses.
    """
    size = sum(file.size for some in files.values() for file in some)
    return size <= FEW_BYTES and _orders_there(run) <= FEW_ORDERS


def touches_little(run: Run, batch: Batch) -> bool:
    """Whether what a batch touches is little too: the days of its orders are summed anew, all of their lines.

    Users and products that are new or changed touch days that are not known yet.
    """
    few_dates = len(batch.dates) <= FEW_DATES and not any(batch.of(dataset).applied for dataset in DIMENSIONS)
    return few_dates or _orders_there(run) <= FEW_ORDERS_OF_ALL_DATES


def _orders_there(run: Run) -> int:
    return run.left.get(DIM_ORDER.name, {}).get("rows_after", 0)


def files_to_read(run: Run, scope: Scope) -> dict[str, list[LandingFile]]:
    """The files of each dataset that this run reads; a dataset without any is left out.

    `--full` takes all. `--since` takes all but the order files whose recorded maximum of version_at is older.
    """

    locations = {name: location for name in DATASETS if (location := run.settings.landing_files(name)) is not None}

    def listed(dataset: str, location: str) -> DataFrame:
        return landing_files(run.spark, location, f"input.{dataset}").withColumn("dataset", F.lit(dataset))

    if not locations:
        return {}
    files = reduce(DataFrame.unionByName, together(*(partial(listed, *each) for each in locations.items())))
    found = collected_by(_wanted(scope, files, run.warehouse.read(ETL_FILES)), F.col("dataset"))
    return {dataset: found[dataset] for dataset in DATASETS if dataset in found}


def _wanted(scope: Scope, files: DataFrame, loaded: DataFrame) -> DataFrame:
    if scope.full:
        return files
    if scope.marks_files:
        return unread(files, loaded)
    if scope.window.since is not None:
        is_older = F.col("max_version_at") < F.lit(scope.window.since).cast("timestamp")
        return unread(files, loaded.where((F.col("dataset") == "orders") & is_older))
    return files
