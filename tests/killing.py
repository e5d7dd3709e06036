"""Runs of the orders job that die: in a process of their own, at a named fault point or at any moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from etl_lib.process.faults import VARIABLE
from etl_lib.tables.ledger import consistent_versions
from etl_lib.tables.schemas import (
    DIM_ORDER,
    DQ_RESULTS,
    ETL_FILES,
    ETL_RUNS,
    FACT_SALES,
    PUBLISHED_TABLES,
    SALES_TABLES,
    Table,
    View,
)
from tests.conftest import TEST_SPARK
from tests.integration.test_orders_job import order
from tests.job import Job

ROOT = Path(__file__).resolve().parents[1]
MAIN = "import sys; from jobs.{} import main; sys.exit(main(sys.argv[1:]))"

STEPS = (
    "stage",
    "quarantine",
    "fact_sales",
    "dim_order",
    "dim_user",
    "dim_product",
    "daily_sales",
    "ledger",
)
"""Every step of the orders job that writes."""
POINTS = tuple(f"{step}.{side}" for step in STEPS for side in ("before", "after"))

# Ids of runs, and the times at which they were.
_OF_THE_RUN = {"run_id", "first_run_id", "last_run_id", "checked_at"}


@dataclass
class DyingJob(Job):
    """The orders job on a warehouse of its own over the landing folder of another one."""

    landed: Path = Path()

    @property
    def landing(self) -> Path:
        return self.landed

    def start(self, point: str | None = None, name: str = "orders", *arguments: str) -> subprocess.Popen[bytes]:
        """A run of a job, of the orders job by default, in a process group of its own; it dies at `point`, if given."""
        settings = [option for name, value in TEST_SPARK.items() for option in ("--set", f"{name}={value}")]
        environment = os.environ | ({VARIABLE: point} if point else {})
        command = [sys.executable, "-c", MAIN.format(name), *(arguments or self.options()), *settings]
        with (self.root / "killed.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)

    def die_at(self, point: str, name: str = "orders", *arguments: str) -> None:
        """Run until a fault point; it is an error if the run does not die there."""
        process = self.start(point, name, *arguments)
        assert process.wait(timeout=600) == -signal.SIGKILL, (self.root / "killed.log").read_text()
        kill(process)

    def die_after(self, seconds: float) -> bool:
        """Kill a run and its virtual machine after some seconds; gives whether it was still at work."""
        process = self.start()
        time.sleep(seconds)
        return kill(process)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill all processes of a run's group at once; gives whether it was still at work."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return process.wait(timeout=60) == -signal.SIGKILL


def land_before(job: Job) -> None:
    """What is loaded before the run that dies: orders of every kind of change to come."""
    (job.landing / "users.csv").write_text("user_id,email,created_at,country\nu1,u1@example.com,2024-01-01,DE\n")
    (job.landing / "products.csv").write_text("sku,name,category,price\nS1,one,A,10.00\nS2,two,B,10.00\n")
    names = ("shrinks", "moves", "goes", "empties", "grows", "stays")
    job.land("a.jsonl", *(order(name, at, items=3) for at, name in enumerate(names, 1)), "{broken")


def land_after(job: Job) -> None:
    """What the run that dies brings: every table changes."""
    later = {"updated_at": "2024-06-01T00:00:00Z"}
    changed = [
        order("shrinks", 1, items=1, **later),
        order("moves", 9, items=3, **later),
        order("goes", 3, items=3, deleted=True, **later),
        order("empties", 4, items=0, **later),
        order("grows", 5, items=5, **later),
        order("new", 7, items=2, user_id="stranger"),
    ]
    job.land("b.jsonl", *changed, '{"order_id": "late and broken"', order("new too", 8, items=1, amount="1,5"))
    (job.landing / "users.csv").write_text("user_id,email,created_at,country\nu1,u1@example.com,2024-01-01,FR\n")
    (job.landing / "products.csv").write_text("sku,name,category,price\nS1,one,Z,10.00\nS2,two,B,10.00\n")


def copy_of(base: Job, root: Path) -> DyingJob:
    """A warehouse equal to that of `base`, with its own path, over the same landing folder."""
    shutil.copytree(base.root / "warehouse", root / "warehouse")
    return DyingJob(base.spark, root, landed=base.landing)


def contents(job: Job) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that a reader can see, in a fixed order, without the ids and times of runs."""
    tables = (*PUBLISHED_TABLES, ETL_FILES, DQ_RESULTS)
    return {table.name: _rows(job, table) for table in tables}


def _rows(job: Job, table: Table | View) -> list[tuple[Any, ...]]:
    frame = job.read(table)
    if table is DQ_RESULTS:  # of the last run
        last = job.read(ETL_RUNS).agg(F.max_by("run_id", "ended_at").alias("run_id"))
        frame = frame.join(last, "run_id", "left_semi")
    kept = [F.col(name).cast("string") for name, kind in frame.dtypes if name not in _OF_THE_RUN]
    return sorted((tuple(row) for row in frame.select(*kept).collect()), key=repr)


def disagreeing_orders(job: Job, *, newest: bool) -> set[str]:
    """The orders whose lines are not those that their header says: by number, version, date or run.

    As a reader of the newest versions sees them, or as one of the versions that the last complete run left.
    """
    versions = None if newest else consistent_versions(job.tables, SALES_TABLES)
    orders = job.tables.read(DIM_ORDER, versions)
    same = ("order_id", "version_at", "order_date", "run_id")
    lines = job.tables.read(FACT_SALES, versions).groupBy(*same).agg(F.count("*").alias("lines"))
    both = orders.where("line_count > 0").join(lines, list(same), "full")
    wrong = both.where(~F.col("lines").eqNullSafe(F.col("line_count")))
    return {row["order_id"] for row in wrong.select("order_id").collect()}


@dataclass(frozen=True)
class World:
    """A loaded warehouse, files that it does not have yet, and the tables after an undisturbed run over them."""

    base: Job
    expected: dict[str, list[tuple[Any, ...]]]

    def copy(self, root: Path) -> DyingJob:
        return copy_of(self.base, root)


def assert_converges(job: DyingJob, world: World) -> None:
    """What the next run leaves is what an undisturbed run leaves, and the run after it finds nothing to do."""
    assert job.run() == 0
    found = contents(job)
    for name, rows in world.expected.items():
        assert found[name] == rows, name
    assert disagreeing_orders(job, newest=True) == set()
    assert {row["status"] for row in job.read(ETL_RUNS).collect()} == {"done"}
    told = json.loads(job.read(ETL_RUNS).agg(F.max_by("metrics", "ended_at")).collect()[0][0])["tables"]
    assert {name: table["rows_after"] for name, table in told.items()} == job.tables.rows(PUBLISHED_TABLES)
    versions = job.versions()
    assert job.run() == 0
    assert job.versions() == versions
