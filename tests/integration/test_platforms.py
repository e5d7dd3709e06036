"""The same job on other ground: tables by catalog name, Spark Connect, a path with a space, compressed input."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.job import Job

ROOT = Path(__file__).resolve().parents[2]
ORDER = {"order_id": "o1", "user_id": "u1", "amount": 5, "currency": "EUR", "created_at": "2024-05-01T10:00:00Z"}
ITEMS = {"items": [{"sku": "S1", "qty": 1, "price": 5}], "metadata": {"source": "web"}}


@pytest.mark.slow
def test_tables_are_found_by_catalog_name(spark: SparkSession, job: Job) -> None:
    job.land("a.jsonl", ORDER | ITEMS)
    spark.sql("CREATE SCHEMA IF NOT EXISTS named_orders")
    try:
        by_name = ("--set", "warehouse=catalog:spark_catalog.named_orders")
        assert job.run(*by_name) == 0
        job.land("b.jsonl", ORDER | {"items": [], "updated_at": "2024-06-01T00:00:00Z"})
        assert job.run(*by_name) == 0
        assert job.metrics()["outcomes"]["updated"] == 1
        assert spark.table("named_orders.dim_order").count() == 1
        assert spark.table("named_orders.fact_sales").isEmpty()
    finally:
        spark.sql("DROP SCHEMA named_orders CASCADE")


def test_a_warehouse_and_files_with_awkward_names(job: Job) -> None:
    orders = job.landing / "orders" / "day=2024-05-01" / "a b+c%20[1]"
    orders.mkdir(parents=True)
    text = (json.dumps(ORDER | ITEMS) + "\r\n\r\n").encode("utf-8-sig")
    (orders / "x.jsonl.gz").write_bytes(gzip.compress(text))
    (orders / "empty.json").write_bytes(b"")
    (orders / "y.json").write_text(json.dumps([ORDER | {"order_id": "o2"}, {"order_id": None}], indent=2))
    assert job.run("--set", f"warehouse={job.root / 'ware house'}") == 0
    metrics = job.metrics()
    assert (metrics["outcomes"]["inserted"], metrics["outcomes"]["rejected"], metrics["blank_lines"]) == (2, 1, 1)
    assert job.run("--set", f"warehouse={job.root / 'ware house'}") == 0
    assert job.metrics()["input_orders"] == 0


@pytest.mark.slow
def test_the_job_runs_on_spark_connect(tmp_path: Path) -> None:
    """A process of its own, whose client has no JVM: everything goes through the Connect protocol."""
    landing = tmp_path / "orders"
    landing.mkdir()
    (landing / "a.jsonl").write_text(json.dumps(ORDER | ITEMS) + "\n{broken\n")
    (landing / "b.json").write_text(json.dumps([ORDER | {"order_id": "o2"}]))
    (tmp_path / "users.csv").write_text("user_id,email,created_at,country\nu1,a@example.org,2024-01-01,DE\n")
    settings = {"input.orders": landing, "input.users": tmp_path / "users.csv", "input.products": ""}
    settings |= {"warehouse": tmp_path / "warehouse", "output": tmp_path / "output"}
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    environment = os.environ | {
        "SPARK_REMOTE": "local[2]",
        "SPARK_CONF_DIR": str(ROOT / "deploy" / "spark"),
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
    }

    def run(*further: str) -> dict[str, object]:
        command = [sys.executable, str(ROOT / "jobs" / "orders.py"), *options, "--json", *further]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return found

    first = run()
    assert first["outcomes"] == dict.fromkeys(("updated", "unchanged", "stale", "superseded", "out_of_window"), 0) | {
        "inserted": 2,
        "rejected": 1,
    }
    (landing / "c.jsonl").write_text(json.dumps(ORDER | {"updated_at": "2024-06-01T00:00:00Z"}) + "\n")
    second = run()
    assert second["outcomes"]["updated"] == 1  # type: ignore[index]
