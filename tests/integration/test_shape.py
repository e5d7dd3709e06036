"""The shape of a run: what it asks Spark for, which tables it scans, which files it rewrites; never its time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from etl_lib.process import tuning
from etl_lib.tables.schemas import DIM_ORDER, ETL_RUNS, FACT_SALES, ORDER_TABLES, Table
from tests.executions import Execution, executions_of
from tests.integration.conftest import FirstLoad
from tests.integration.test_orders_job import data_versions, order, outcomes
from tests.job import Job
from tests.killing import DyingJob, copy_of

pytestmark = pytest.mark.classic

LATER = "2024-06-01T00:00:00Z"
BY_DAY = (FACT_SALES, DIM_ORDER)
SCANS = {"daily_sales": 1, "dim_order": 5, "dim_product": 2, "dim_user": 2, "etl_runs": 2, "fact_sales": 4}
"""How often a batch of orders that are new and changed reads each table, the stage aside."""


def scans(found: Sequence[Execution]) -> dict[str, int]:
    total = Counter[str]()
    for execution in found:
        total += execution.scans
    return dict(total)


def jobs(found: Sequence[Execution]) -> int:
    return sum(execution.jobs for execution in found)


def merges(found: Sequence[Execution]) -> int:
    return sum("Execute MergeIntoCommand (1)" in execution.plan for execution in found)


def files(job: Job, table: Table) -> dict[str, set[str]]:
    """The data files of a table's newest version by the folder of their day."""
    found: dict[str, set[str]] = {}
    for path in map(Path, job.read(table).inputFiles()):
        found.setdefault(path.parent.name, set()).add(path.name)
    return found


def last_merge(job: Job, table: Table) -> dict[str, int]:
    history = job.tables.spark.sql(f"DESCRIBE HISTORY {job.tables.name(table)}")
    metrics = history.where("operation = 'MERGE'").orderBy("version", ascending=False).first()["operationMetrics"]
    return {name: int(value) for name, value in metrics.items()}


@dataclass(frozen=True)
class NextBatch:
    """A correction on the first of May and a new order on the second, loaded into a copy of `twelve_orders`."""

    job: Job
    executions: list[Execution]
    commits: int
    files_before: dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def next_batch(twelve_orders: Job, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> NextBatch:
    job = Job(spark, tmp_path_factory.mktemp("next"))
    shutil.copytree(twelve_orders.tables.location, job.tables.location)
    before, files_before = sum(job.versions().values()), {table.name: files(job, table) for table in BY_DAY}
    job.land("next.jsonl", order("o1a", items=1, updated_at=LATER), order("new", 2))
    executions = executions_of(spark, job.run)
    assert outcomes(job) == {"inserted": 1, "updated": 1}
    return NextBatch(job, executions, sum(job.versions().values()) - before, files_before)


def test_a_batch_scans_each_table_only_as_often_as_it_must(next_batch: NextBatch) -> None:
    found = next_batch.executions
    assert scans(found) == {**SCANS, "etl_stage": 1}
    assert len(found) <= 88
    assert next_batch.commits == 5
    assert jobs(found) <= 100
    assert merges(found) == 2


def test_a_merge_touches_the_files_of_its_days_alone(next_batch: NextBatch) -> None:
    for table in BY_DAY:
        now, before = files(next_batch.job, table), next_batch.files_before[table.name]
        assert {day for day in now if now[day] != before[day]} == {"order_date=2024-05-01", "order_date=2024-05-02"}
        # The new order is a file more, the corrected one a deletion vector in the old file and a file more.
        metrics = last_merge(next_batch.job, table)
        assert metrics["numTargetFilesRemoved"] == 0
        assert metrics["numTargetDeletionVectorsAdded"] == 1
        assert metrics["numTargetFilesAdded"] == 2


@pytest.mark.slow
def test_a_batch_that_is_not_held_is_joined_neither_row_by_row_nor_broadcast_unasked(
    loaded_job: Job, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each query reads it again; a product that nobody knew reads the products twice more.

    With Spark's own limit for small sides at none, whatever were still broadcast would be so at every size.
    """
    records: list[Any] = [order("o1a", items=3, updated_at=LATER), order("o2a", 3, updated_at=LATER), order("new", 4)]
    loaded_job.land("next.jsonl", *records, "{broken")
    monkeypatch.setattr(tuning, "STAGE_ROWS", 0)  # few rows are joined as they are planned
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")
    try:
        found = executions_of(spark, loaded_job.run)
    finally:
        spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
    assert outcomes(loaded_job) == {"inserted": 1, "updated": 2, "rejected": 1}
    assert scans(found) == {**SCANS, "dim_product": 4, "etl_stage": 18, "quarantine": 1}
    assert jobs(found) <= 100
    assert merges(found) == 4
    joined = [line.strip() for execution in found for line in execution.plan.splitlines() if "Join" in line]
    assert any("SortMergeJoin" in line for line in joined)
    assert [line for line in joined if "Cartesian" in line or "NestedLoop" in line or "Broadcast" in line] == []


@pytest.fixture
def same_files(twelve_orders: Job, tmp_path: Path) -> DyingJob:
    """A copy of the tables over the landing folder from which they were loaded."""
    return copy_of(twelve_orders, tmp_path)


def test_a_replay_merges_nothing_and_reads_no_lines(same_files: Job, spark: SparkSession) -> None:
    before = data_versions(same_files)
    found = executions_of(spark, lambda: same_files.run("--full"))
    assert outcomes(same_files) == {"unchanged": 12}
    assert data_versions(same_files) == before
    assert merges(found) == 0
    assert scans(found) == {"dim_order": 1, "etl_runs": 2, "etl_stage": 1}
    assert len(found) <= 22
    assert same_files.read(ETL_RUNS).where("size(files) > 0").count() == 1, "a file is entered once"


def test_a_run_without_new_files_reads_the_ledger_alone(same_files: Job, spark: SparkSession) -> None:
    found = executions_of(spark, same_files.run)
    assert scans(found) == {"etl_runs": 2}
    assert len(found) <= 7


def test_a_first_load_makes_few_queries_and_commits(first_load: FirstLoad) -> None:
    found = first_load.executions
    assert len(found) <= 120
    assert merges(found) == 5
    made, written = len(ORDER_TABLES), sum(first_load.job.versions().values())
    assert made + written <= 16


def test_the_first_load_adds_one_file_a_day(twelve_orders: Job) -> None:
    for table in BY_DAY:
        assert {day: len(names) for day, names in files(twelve_orders, table).items()} == {
            f"order_date=2024-05-0{day}": 1 for day in range(1, 7)
        }
