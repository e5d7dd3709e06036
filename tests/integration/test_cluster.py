"""The same job on several executors: processes of their own that share nothing with the driver but the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from etl_lib.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, QUARANTINE, Table
from etl_lib.warehouse import Warehouse
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

import event_log
from spread_of_work import standalone_cluster

TABLES = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT, DAILY_SALES, QUARANTINE)
OF_THE_RUN = {"run_id", "first_run_id", "last_run_id"}


def load_sample(folder: Path, master: str) -> Path:
    """Load the sample on a cluster, with nothing installed there but Spark and Delta; gives the event log."""
    events = folder / "events"
    places = ("--set", f"warehouse={folder / 'warehouse'}", "--set", f"output={folder / 'output'}")
    command = [ROOT / "spark-submit.sh", "--master", master, "--executor-memory", "1g", *event_log.settings(events)]
    environment = {name: value for name, value in os.environ.items() if name not in ("SPARK_HOME", "SPARK_CONF_DIR")}
    subprocess.run([*command, ROOT / "jobs/orders.py", *places], check=True, env=environment, cwd=folder)
    return events


def rows(spark: SparkSession, folder: Path, table: Table) -> DataFrame:
    read = Warehouse(spark, str(folder / "warehouse")).read(table)
    return read.select(*(name for name in read.columns if name not in OF_THE_RUN))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    load_sample(folder, "local[2]")
    return folder


@pytest.mark.parametrize(
    "kind",
    [pytest.param("local-cluster", marks=pytest.mark.slow), pytest.param("standalone", marks=pytest.mark.torture)],
)
def test_a_cluster_makes_the_same_tables_and_shares_the_work(
    spark: SparkSession, local: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "standalone":
        with standalone_cluster(tmp_path / "cluster.log") as master:
            events = load_sample(tmp_path, master)
    else:
        events = load_sample(tmp_path, "local-cluster[2,1,1024]")
    for table in TABLES:
        expected, found = rows(spark, local, table), rows(spark, tmp_path, table)
        assert found.exceptAll(expected).collect() == []
        assert expected.exceptAll(found).collect() == []
    assert {executor for stage in event_log.stages(events) for executor in stage.executors} == {"0", "1"}
    assert any(stage.executors == {"0", "1"} for stage in event_log.stages(events))
