"""The shape of a run: what it asks Spark for, which tables it scans, which files it rewrites; never its time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from etl_lib import tuning
from etl_lib.schemas import DIM_ORDER, ETL_RUNS, FACT_SALES, ORDER_TABLES, Table
from tests.executions import Execution, executions_of
from tests.integration.test_orders_job import data_versions, order, outcomes
from tests.job import Job

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "sample_data"
DAYS = range(1, 7)
LATER = "2024-06-01T00:00:00Z"


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


@pytest.fixture(scope="module")
def base(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two orders of two lines on each of six days."""
    job = Job(spark, tmp_path_factory.mktemp("base"))
    job.land("first.jsonl", *(order(f"o{day}{at}", day, items=2) for day in DAYS for at in "ab"))
    assert job.run() == 0
    return job


@pytest.fixture
def loaded(base: Job, job: Job) -> Job:
    """The same tables, and an empty landing folder."""
    shutil.copytree(base.tables.location, job.tables.location)
    return job


HOW_HELD = {"held": (tuning.STAGE_ROWS, 1), "read by each query": (0, 10)}


@pytest.mark.parametrize(("few_rows", "stage_scans"), HOW_HELD.values(), ids=HOW_HELD)
def test_a_batch_scans_each_table_only_as_often_as_it_must(
    loaded: Job, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, few_rows: int, stage_scans: int
) -> None:
    monkeypatch.setattr(tuning, "STAGE_ROWS", few_rows)
    commits = sum(loaded.versions().values())
    loaded.land("next.jsonl", order("o1a", items=1, updated_at=LATER), order("new", 2))
    found = executions_of(spark, loaded.run)
    assert outcomes(loaded) == {"inserted": 1, "updated": 1}
    assert scans(found) == {
        "dim_order": 5,
        "dim_product": 2,
        "dim_user": 2,
        "etl_runs": 2,
        "etl_stage": stage_scans,
        "fact_sales": 4,
    }
    if few_rows:
        assert len(found) <= 87
        assert sum(loaded.versions().values()) == commits + 5
    assert jobs(found) <= 100
    assert merges(found) == 2


def test_a_replay_merges_nothing_and_reads_no_lines(base: Job, spark: SparkSession) -> None:
    before = data_versions(base)
    found = executions_of(spark, lambda: base.run("--full"))
    assert outcomes(base) == {"unchanged": 12}
    assert data_versions(base) == before
    assert merges(found) == 0
    assert scans(found) == {"dim_order": 1, "etl_runs": 2, "etl_stage": 1}
    assert len(found) <= 22
    assert base.read(ETL_RUNS).where("size(files) > 0").count() == 1, "a file is entered once"


def test_a_run_without_new_files_reads_the_ledger_alone(base: Job, spark: SparkSession) -> None:
    found = executions_of(spark, base.run)
    assert scans(found) == {"etl_runs": 2}
    assert len(found) <= 7


def test_a_first_load_makes_few_queries_and_commits(job: Job, spark: SparkSession) -> None:
    shutil.copytree(SAMPLE_DATA / "orders", job.landing / "orders", dirs_exist_ok=True)
    for name in ("users.csv", "products.csv"):
        shutil.copy(SAMPLE_DATA / name, job.landing)
    found = executions_of(spark, job.run)
    assert len(found) <= 120
    assert merges(found) == 5
    made, written = len(ORDER_TABLES), sum(job.versions().values())
    assert made + written <= 16


def test_a_merge_touches_the_files_of_its_days_alone(loaded: Job) -> None:
    before = {table.name: files(loaded, table) for table in (FACT_SALES, DIM_ORDER)}
    loaded.land("next.jsonl", order("o5a", 5, items=1, updated_at=LATER), order("new", 6))
    assert loaded.run() == 0
    for table in (FACT_SALES, DIM_ORDER):
        now = files(loaded, table)
        assert {day for day in now if now[day] != before[table.name][day]} == {
            *("order_date=2024-05-05", "order_date=2024-05-06"),
        }
        # The new order is a file more, the corrected one a deletion vector in the old file and a file more.
        metrics = last_merge(loaded, table)
        assert metrics["numTargetFilesRemoved"] == 0
        assert metrics["numTargetDeletionVectorsAdded"] == 1
        assert metrics["numTargetFilesAdded"] == 2


def test_the_first_load_adds_one_file_a_day(base: Job) -> None:
    for table in (FACT_SALES, DIM_ORDER):
        assert {day: len(names) for day, names in files(base, table).items()} == {
            f"order_date=2024-05-0{day}": 1 for day in DAYS
        }


def test_nothing_is_joined_row_by_row_or_broadcast_unasked(
    loaded: Job, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Spark's own limit for small sides at none, whatever were still broadcast would be so at every size."""
    records: list[Any] = [order("o1a", items=3, updated_at=LATER), order("o2a", 3, updated_at=LATER), order("new", 4)]
    loaded.land("next.jsonl", *records, "{broken")
    monkeypatch.setattr(tuning, "STAGE_ROWS", 0)  # few rows are joined as they are planned
    spark.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")
    try:
        found = executions_of(spark, loaded.run)
    finally:
        spark.conf.unset("spark.sql.autoBroadcastJoinThreshold")
    assert outcomes(loaded) == {"inserted": 1, "updated": 2, "rejected": 1}
    joined = [line.strip() for execution in found for line in execution.plan.splitlines() if "Join" in line]
    assert any("SortMergeJoin" in line for line in joined)
    assert [line for line in joined if "Cartesian" in line or "NestedLoop" in line or "Broadcast" in line] == []
