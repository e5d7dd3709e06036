"""The lease where several drivers write to one warehouse on S3, against a real server of its protocol on loopback."""

from __future__ import annotations

import json
import os
import re
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
LEASE = "warehouse/_lease.json"
STAGE = "warehouse/etl_stage/_delta_log/"
STARTED: list[subprocess.Popen[str]] = []
COMMIT = re.compile(r"_delta_log/\d+\.json$")


@pytest.fixture
def lake() -> Iterator[Lake]:
    with s3_bucket() as bucket:
        one = Lake(bucket)
        one.options += ["--set", "lease.enabled=true", *(f"{name}={value}" for name, value in TEST_SPARK.items())]
        yield one
        for run in STARTED:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.communicate()


def start(lake: Lake, *options: str) -> subprocess.Popen[str]:
    """A run of the orders job in a process group of its own."""
    run = subprocess.Popen(
        [ROOT / "spark-submit.sh", "--with", "s3", "jobs/orders.py", *lake.options, *options],
        cwd=ROOT,
        env=lake.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(run)
    return run


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a run, and what it printed: its metrics, or else its log."""
    out, errors = run.communicate(timeout=600)
    return run.returncode, out if run.returncode == 0 else errors


def asleep_when(lake: Lake, prefix: str, *options: str) -> subprocess.Popen[str]:
    """A run that has the lease, and is stopped, all of it, at the moment at which it has written below `prefix`."""
    before = lake.bucket.files(prefix)
    run = start(lake, *options)
    while lake.bucket.files(prefix) == before:
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
    holder = asleep_when(lake, LEASE)
    code, log = ended(start(lake))
    assert (code, "another run holds the warehouse: run " in log) == (5, True), log[-2000:]
    waiting = start(lake, "--set", "lock_timeout_s=300")
    wake(holder)
    assert ended(holder)[0] == 0
    code, told = ended(waiting)
    assert (code, json.loads(told.splitlines()[-1])["input_orders"]) == (0, 0)

    lake.land("second.jsonl", order("late", items=1))
    sleeper = asleep_when(lake, STAGE, "--set", "lease.expires_s=5")
    code, told = ended(start(lake, "--set", "lock_timeout_s=60"))
    heir: Any = json.loads(told.splitlines()[-1])
    assert (code, len(heir["finished_runs"]), heir["input_orders"]) == (0, 1, 0)
    written = lake.bucket.files("warehouse/")
    wake(sleeper)
    code, log = ended(sleeper)
    assert (code, "has lost the lease of the warehouse" in log) == (5, True), log[-2000:]
    assert {name for name in lake.bucket.files("warehouse/") - written if COMMIT.search(name)} == set()
