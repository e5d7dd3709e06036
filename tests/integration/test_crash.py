"""A process that is killed between its two MERGEs loses nothing: the next run finishes it from its stage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_orders_job import files_under, lines_of, order
from tests.job import Job

ROOT = Path(__file__).resolve().parents[2]

KILLED_BEFORE_HEADERS = """
import os, signal, sys
sys.path.insert(0, {root!r})
import etl_lib.applying
from jobs.orders import main
etl_lib.applying.apply_dim_order = lambda batch: os.kill(os.getpid(), signal.SIGKILL)
main({options!r})
"""


@pytest.mark.slow
def test_a_run_killed_between_the_two_merges_is_finished_by_the_next(job: Job) -> None:
    job.land("a.jsonl", order("shrinks", items=3), order("moves", items=2))
    assert job.run() == 0
    later = {"updated_at": "2024-06-01T00:00:00Z"}
    job.land("b.jsonl", order("shrinks", items=1, **later), order("moves", day=9, **later), order("new", items=2))

    code = KILLED_BEFORE_HEADERS.format(root=str(ROOT), options=job.options())
    environment = os.environ | {"SPARK_CONF_DIR": str(ROOT / "deploy" / "spark"), "PYSPARK_PYTHON": sys.executable}
    killed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, timeout=280, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(lines_of(job, "new")) == 2  # the lines are there, their header is not
    assert job.read_keys() == {"shrinks", "moves"}
    holder = json.loads((job.root / "warehouse" / ".lock.holder.json").read_text())
    assert holder["pid"] != os.getpid()

    assert job.run() == 0
    assert len(job.metrics()["finished_runs"]) == 1
    assert job.read_keys() == {"shrinks", "moves", "new"}
    assert [sku for _, _, sku in lines_of(job, "shrinks")] == ["S1"]
    assert [str(day) for day, _, _ in lines_of(job, "moves")] == ["2024-05-09"]
    assert len(lines_of(job, "new")) == 2
    files = files_under(job.root / "warehouse" / "fact_sales")
    assert job.run("--full") == 0
    assert job.metrics()["outcomes"]["unchanged"] == 3
    assert files_under(job.root / "warehouse" / "fact_sales") == files
