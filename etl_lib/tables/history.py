"""What earlier runs read: which files, which of them could not be read, and how many records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.tables.ledger import DONE, RunManifest, SetAside, set_aside_from
from etl_lib.tables.schemas import ETL_RUNS
from etl_lib.tables.warehouse import Warehouse


def loaded_files(warehouse: Warehouse) -> DataFrame:
    """The versions of landing files that done runs loaded: the fields of LoadedFile, a row for each run that did."""
    # Not by a filter, for which Delta would look at the statistics of its few small files.
    of_done = F.when(F.col("status") == DONE, F.col("files"))
    return warehouse.read(ETL_RUNS).select(F.explode(of_done).alias("file")).select("file.*")


def known_versions(warehouse: Warehouse, datasets: Sequence[str]) -> set[tuple[str, str, int, int]]:
    """The (dataset, path, size, microseconds of modified_at) that the ledger has of some datasets."""
    loaded = loaded_files(warehouse).where(F.col("dataset").isin(list(datasets)))
    rows = loaded.select("dataset", "path", "size", F.unix_micros("modified_at")).collect()
    return {(row[0], row[1], row[2], row[3]) for row in rows}


def set_aside_files(warehouse: Warehouse) -> list[SetAside]:
    """The file versions that complete runs could not read."""
    files = F.get_json_object("metrics", "$.set_aside").alias("files")
    done = warehouse.read(ETL_RUNS).where(F.col("status") == DONE).select(files)
    texts = done.where(F.col("files") != "[]").distinct().collect()
    return [file for row in texts for file in set_aside_from(json.loads(row["files"]))]


def volumes_before(
    warehouse: Warehouse, manifest: RunManifest, datasets: Sequence[str], runs: int
) -> dict[str, list[int]]:
    """How many records of each dataset the last `runs` complete runs of this job and weekday (in UTC) have read."""
    day = datetime.fromisoformat(manifest.started_at).isoweekday() % 7 + 1  # Sunday is Spark's first day
    same = (F.col("status") == DONE) & (F.col("job") == manifest.job) & (F.dayofweek("started_at") == day)
    earlier = warehouse.read(ETL_RUNS).where(same & (F.col("run_id") != manifest.run_id))
    counts = [
        F.get_json_object("metrics", f"$.datasets.{name}.records").cast("bigint").alias(name) for name in datasets
    ]
    rows = earlier.select("started_at", *counts).orderBy(F.desc("started_at")).limit(runs * 20).collect()
    return {name: [row[name] for row in rows if row[name]][:runs] for name in datasets}
