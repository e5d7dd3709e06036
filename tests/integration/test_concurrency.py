"""Several runs at once: one waits or is refused, nothing is lost and nothing doubled; other writers do no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pyspark.sql import SparkSession

from etl_lib.commands import orders as orders_job
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_USER, ETL_FILES, ETL_RUNS, FACT_SALES
from tests.conftest import TEST_SPARK
from tests.integration.test_orders_job import order
from tests.job import Job
from tests.killing import World, assert_converges

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 8
RUNS_EACH = int(os.environ.get("ORDERS_TEST_RUNS", "25"))

CROWD = """
import json, pathlib, sys
from jobs.orders import main
name, runs, landing, *options = sys.argv[1:]
for at in range(int(runs)):
    with open(f"{landing}/{name}-{at:02}.jsonl", "w") as file:
        day = {"created_at": f"2024-05-{1 + at % 28:02}T00:00:00Z", "currency": "EUR", "user_id": f"u{at}"}
        own = {"order_id": f"{name}-{at}", "items": [{"sku": "S", "qty": 1, "price": 1}] * 2, "amount": 2}
        version = f"2024-06-01T00:{at:02}:{int(name):02}Z"
        items = [{"sku": name, "qty": 1}] * (at % 3)
        shared = {"order_id": "shared", "updated_at": version, "amount": at, "items": items}
        file.writelines(json.dumps(record | day) + "\\n" for record in (own, shared))
    if code := main([*options, "--set", f"input.orders={landing}/{name}-*.jsonl"]):
        sys.exit(code)
"""


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_a_crowd_of_processes_loses_and_doubles_no_order(job: Job) -> None:
    """Each process has its own orders, and versions of one that all of them change."""
    settings = [option for name, value in TEST_SPARK.items() for option in ("--set", f"{name}={value}")]
    settings += ["--set", "spark.driver.memory=1g", "lock_timeout_s=7000", "input.users=", "input.products="]
    landing = job.landing / "orders"
    processes = []
    for name in range(PROCESSES):
        command = [sys.executable, "-c", CROWD, str(name), str(RUNS_EACH), str(landing), *job.places(), *settings]
        with (job.root / f"{name}.log").open("wb") as log:
            processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log))
    codes = [process.wait() for process in processes]
    assert codes == [0] * PROCESSES, [(job.root / f"{name}.log").read_text()[-2000:] for name in range(PROCESSES)]
    expected = {f"{name}-{at}" for name in range(PROCESSES) for at in range(RUNS_EACH)} | {"shared"}
    headers = [row.asDict() for row in job.read(DIM_ORDER).collect()]
    assert sorted(row["order_id"] for row in headers) == sorted(expected)
    lines: dict[str, list[int]] = {}
    for row in job.read(FACT_SALES).collect():
        lines.setdefault(row["order_id"], []).append(row["line_no"])
    assert {name: sorted(found) for name, found in lines.items() if name != "shared"} == {
        name: [1, 2] for name in expected - {"shared"}
    }
    [shared] = [row for row in headers if row["order_id"] == "shared"]
    last = RUNS_EACH - 1
    assert int(shared["amount"]) == last
    assert sorted(lines.get("shared", [])) == list(range(1, last % 3 + 1))
    assert job.read(ETL_RUNS).where("status = 'done'").count() == PROCESSES * RUNS_EACH
    assert job.read(ETL_FILES).count() == PROCESSES * RUNS_EACH
    assert job.read(DIM_USER).count() == RUNS_EACH
    assert job.read(DAILY_SALES).groupBy().sum("units").collect()[0][0] == 2 * PROCESSES * RUNS_EACH + last % 3


@pytest.mark.torture
def test_optimize_beside_a_run_does_no_harm(world: World, tmp_path: Path, spark: SparkSession) -> None:
    job = world.copy(tmp_path)
    done = Event()
    compacted = []

    def compact() -> None:
        while not done.is_set():
            for table in (FACT_SALES, DIM_ORDER, DAILY_SALES):
                spark.sql(f"OPTIMIZE {job.tables.name(table)}").collect()
                compacted.append(table.name)

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(compact)
        try:
            assert job.run() == 0
        finally:
            done.set()
        beside.result()
    assert compacted
    assert_converges(job, world)


def interrupted_by(other: Callable[[], object]) -> Callable[..., None]:
    """The gates of a run, before which another writer comes and goes, once."""
    gates, came = orders_job.pass_gates, []

    def pass_gates(*arguments: Any) -> None:
        if not came:
            came.append(1)
            other()
        gates(*arguments)

    return pass_gates


@pytest.mark.torture
def test_where_no_lock_protects_a_run_that_another_overtook_is_refused(
    spark: SparkSession, job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables by catalog name take no lock: their versions tell that the outcomes may no longer hold."""
    spark.sql("CREATE SCHEMA IF NOT EXISTS overtaken")
    by_name = ("--set", "warehouse=catalog:spark_catalog.overtaken")
    table = "overtaken.dim_order"

    def correct_by_hand() -> None:
        spark.sql(f"UPDATE {table} SET source = 'by hand'").collect()  # noqa: S608

    def run_another() -> None:
        assert job.run(*by_name) == 0

    try:
        job.land("first.jsonl", order("o1", 1, items=2))
        assert job.run(*by_name) == 0
        job.land("second.jsonl", order("o1", 1, items=1, updated_at="2024-06-01T00:00:00Z"))
        monkeypatch.setattr(orders_job, "pass_gates", interrupted_by(correct_by_hand))
        assert job.run(*by_name) == 1
        told = "another writer has changed the tables since this run compared its records with them: dim_order from"
        assert told in capsys.readouterr().err
        assert spark.table("overtaken.fact_sales").count() == 2
        assert job.run(*by_name) == 0
        assert job.metrics()["outcomes"]["updated"] == 1
        assert spark.table("overtaken.fact_sales").count() == 1

        job.land("third.jsonl", order("o1", 1, items=3, updated_at="2024-07-01T00:00:00Z"))
        monkeypatch.setattr(orders_job, "pass_gates", interrupted_by(run_another))
        assert job.run(*by_name) == 1
        assert "another run took this one for one that was cut off" in capsys.readouterr().err
        assert spark.table("overtaken.fact_sales").count() == 3
        runs = [(row["run_id"], row["status"]) for row in spark.table("overtaken.etl_runs").collect()]
        assert sorted(status for _, status in runs) == ["done", "done", "done", "failed"]
        assert len({run_id for run_id, _ in runs}) == 4
        assert spark.table(table).count() == 1
    finally:
        spark.sql("DROP SCHEMA overtaken CASCADE")


@pytest.mark.slow
def test_a_second_run_waits_or_is_refused_and_names_the_holder(world: World, tmp_path: Path) -> None:
    job = world.copy(tmp_path)
    holder = job.start()
    file = job.root / "warehouse" / ".lock.holder.json"
    while not file.exists():
        assert holder.poll() is None, (job.root / "killed.log").read_text()
    held_by = json.loads(file.read_text())["run_id"]
    assert job.run() == 5
    assert not (job.output / "metrics.json").exists() or job.metrics()["run_id"] == held_by
    assert job.run("--set", "lock_timeout_s=600") == 0
    assert holder.wait(timeout=120) == 0
    assert job.metrics()["run_id"] != held_by
    assert job.metrics()["input_orders"] == 0
    assert_converges(job, world)
