"""The lease where several drivers write to one warehouse on S3, against a real server of its protocol on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws import s3_bucket
from tests.conftest import TEST_SPARK
from tests.integration.test_orders_job import order
from tests.integration.test_s3 import Lake

ROOT = Path(__file__).resolve().parents[2]
LOG = "warehouse/etl_lease/_delta_log/"

RACE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from etl_lib.commands.entry import read_settings
from etl_lib.process.errors import WarehouseBusyError
from etl_lib.process.session import open_session
from etl_lib.run import lease
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.schemas import ETL_LEASE
from etl_lib.tables.warehouse import Warehouse

settings = read_settings(sys.argv[1], sys.argv[2:])
spark = open_session(lease.settings_of_the_session(settings))
Warehouse(spark, settings.warehouse).create([ETL_LEASE])
together, merge = Barrier(4), lease.merge


def merge_together(*arguments, **options):
    together.wait()
    return merge(*arguments, **options)


def take(name):
    manifest = RunManifest(name, "orders", (), "2024-05-01T00:00:00+00:00", is_plan=False)
    wanted = lease.Lease(Warehouse(spark.newSession(), settings.warehouse), manifest, 60)
    try:
        wanted.take(timeout_s=0)
    except WarehouseBusyError:
        return None
    return wanted


lease.merge = merge_together
for _ in range(3):
    with ThreadPoolExecutor(4) as pool:
        winners = [one for one in pool.map(take, "abcd") if one]
    assert len(winners) == 1, winners
    [row] = Warehouse(spark, settings.warehouse).read(ETL_LEASE).collect()
    assert row.holder == winners[0].holder
    winners[0].give_back()
print("one of four, three times")
"""


@pytest.fixture
def lake() -> Iterator[Lake]:
    with s3_bucket() as bucket:
        one = Lake(bucket)
        one.options += ["--set", "lease.enabled=true", *(f"{name}={value}" for name, value in TEST_SPARK.items())]
        yield one


def start(lake: Lake, *options: str) -> subprocess.Popen[str]:
    """A run of the orders job in a process group of its own."""
    return subprocess.Popen(
        [ROOT / "spark-submit.sh", "--with", "s3", "jobs/orders.py", *lake.options, *options],
        cwd=ROOT,
        env=lake.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a run, and what it printed: its metrics, or else its log."""
    out, errors = run.communicate(timeout=600)
    return run.returncode, out if run.returncode == 0 else errors


def asleep_with_the_lease(lake: Lake, *options: str) -> subprocess.Popen[str]:
    """A run that is stopped, all of it, at the moment at which its lease is on S3."""
    before = lake.bucket.files(LOG)
    run = start(lake, *options)
    expected = len(before) + (1 if before else 2)  # the first run makes the table, too
    while len(lake.bucket.files(LOG)) < expected:
        assert run.poll() is None, ended(run)
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGSTOP)
    return run


def wake(run: subprocess.Popen[str]) -> None:
    os.killpg(run.pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_runs_on_s3_take_turns_and_one_that_slept_too_long_writes_nothing(lake: Lake) -> None:
    lake.land("first.jsonl", *(order(f"o{n}", items=2) for n in range(5)))
    holder = asleep_with_the_lease(lake)
    code, log = ended(start(lake))
    assert (code, "another run holds the warehouse: run " in log) == (5, True), log[-2000:]
    waiting = start(lake, "--set", "lock_timeout_s=300")
    wake(holder)
    assert ended(holder)[0] == 0
    code, told = ended(waiting)
    assert (code, json.loads(told.splitlines()[-1])["input_orders"]) == (0, 0)

    lake.land("second.jsonl", order("late", items=1))
    sleeper = asleep_with_the_lease(lake, "--set", "lease.expires_s=5")
    code, told = ended(start(lake, "--set", "lock_timeout_s=60"))
    heir: Any = json.loads(told.splitlines()[-1])
    assert (code, heir["outcomes"]["inserted"], heir["tables"]["dim_order"]["rows_after"]) == (0, 1, 6)
    written = lake.bucket.files("warehouse/")
    wake(sleeper)
    code, log = ended(sleeper)
    assert (code, "has lost the lease of the warehouse" in log) == (5, True), log[-2000:]
    assert {name for name in lake.bucket.files("warehouse/") - written if "_delta_log" in name} == set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_four_drivers_that_commit_at_once_to_s3_one_wins(lake: Lake, tmp_path: Path) -> None:
    """Their puts meet at the server: it refuses all but one, and the others look again."""
    script = tmp_path / "race.py"
    script.write_text(RACE)
    settings = [option for option in lake.options if "=" in option]
    done = subprocess.run(
        [ROOT / "spark-submit.sh", "--with", "s3", script, ROOT / "conf" / "local.yaml", *settings],
        cwd=ROOT, env=lake.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["one of four, three times"], done.stderr[-4000:]
