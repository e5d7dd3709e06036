"""The same job on several executors: processes of their own that share nothing with the driver but the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, QUARANTINE, Table
from jobs.orders import main
from tests.conftest import ROOT
from tests.job import Workplace

sys.path.insert(0, str(ROOT / "bench"))

import event_log
from spread_of_work import standalone_cluster

TABLES = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT, DAILY_SALES, QUARANTINE)
OF_THE_RUN = {"run_id", "first_run_id", "last_run_id"}


def load_sample(place: Workplace, master: str) -> Path:
    """Load the sample on a cluster, with nothing installed there but Spark and Delta; gives the event log."""
    events = place.root / "events"
    command = [ROOT / "spark-submit.sh", "--master", master, "--executor-memory", "1g", *event_log.settings(events)]
    environment = {name: value for name, value in os.environ.items() if name not in ("SPARK_HOME", "SPARK_CONF_DIR")}
    job = [ROOT / "jobs/orders.py", *place.places()]
    subprocess.run([*command, *job], check=True, env=environment, cwd=place.root)
    return events


def rows(place: Workplace, table: Table) -> DataFrame:
    read = place.read(table)
    return read.select(*(name for name in read.columns if name not in OF_THE_RUN))


@pytest.fixture(scope="module")
def local(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Where the session of the tests has loaded the sample."""
    place = Workplace(spark, tmp_path_factory.mktemp("local"))
    assert main(place.places()) == 0
    return place


@pytest.mark.parametrize(
    "kind",
    [pytest.param("local-cluster", marks=pytest.mark.slow), pytest.param("standalone", marks=pytest.mark.torture)],
)
def test_a_cluster_makes_the_same_tables_and_shares_the_work(
    spark: SparkSession, local: Workplace, tmp_path: Path, kind: str
) -> None:
    place = Workplace(spark, tmp_path)
    if kind == "standalone":
        with standalone_cluster(tmp_path / "cluster.log") as master:
            events = load_sample(place, master)
    else:
        events = load_sample(place, "local-cluster[2,1,1024]")
    for table in TABLES:
        expected, found = rows(local, table), rows(place, table)
        assert found.exceptAll(expected).collect() == []
        assert expected.exceptAll(found).collect() == []
    assert {executor for stage in event_log.stages(events) for executor in stage.executors} == {"0", "1"}
    assert any(stage.executors == {"0", "1"} for stage in event_log.stages(events))
    # One scan takes all of the lines, for the daily sales: new users and products have no older lines to look for.
    lines = spark.sql(f"DESCRIBE DETAIL {place.tables.name(FACT_SALES)}").collect()[0]
    read = event_log.reads(events)
    assert (read.files["fact_sales"], read.bytes["fact_sales"]) == (lines["numFiles"], lines["sizeInBytes"])
