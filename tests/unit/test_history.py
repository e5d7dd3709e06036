"""What earlier runs of a job read, by their weekday."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.tables.history import volumes_before
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.schemas import ETL_RUNS
from etl_lib.tables.warehouse import Warehouse
from tests.frames import frame, rows_of


def test_the_usual_is_what_the_last_complete_runs_of_the_same_weekday_read(spark: SparkSession, tmp_path: Path) -> None:
    def run(name: str, day: int, orders: int, status: str = "done", job: str = "orders") -> tuple[object, ...]:
        metrics = {"datasets": {"orders": {"records": orders}}} if orders else {"datasets": {}}
        return (name, job, status, datetime(2024, 5, day, 1, tzinfo=UTC), json.dumps(metrics))

    runs = [
        run("a", 1, 10),  # a Wednesday
        run("b", 8, 20),
        run("c", 9, 99),
        run("d", 15, 99, status="undone"),
        run("e", 15, 99, job="value_props"),
        run("nothing of it", 15, 0),
        run("f", 15, 30),
        run("g", 22, 40),
        run("itself", 29, 99),
    ]
    columns = "run_id STRING, job STRING, status STRING, started_at TIMESTAMP, metrics STRING"
    warehouse = Warehouse(spark, str(tmp_path))
    warehouse.create([ETL_RUNS])
    entries = frame(spark, columns, *runs).withColumn("ended_at", F.col("started_at"))
    warehouse.append(ETL_RUNS, rows_of(ETL_RUNS, entries, release="r", schemas="s"))
    manifest = RunManifest("itself", "orders", (), "2024-05-29T23:30:00+00:00", is_plan=False)
    assert volumes_before(warehouse, manifest, ["orders", "pays"], 3) == {"orders": [40, 30, 20], "pays": []}
    assert volumes_before(warehouse, manifest, ["orders"], 9) == {"orders": [40, 30, 20, 10]}
