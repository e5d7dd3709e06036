"""The whole orders job on S3: input, warehouse and metrics, against a real server of its protocol on loopback.

The jars come from the set-up itself (`spark-submit.sh --with s3`), the credentials from AWS's standard chain.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws import Bucket, s3_bucket
from tests.integration.test_orders_job import order

ROOT = Path(__file__).resolve().parents[2]


class Lake:
    """A bucket, and the jobs that work on it, each a process of its own."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in {"SPARK_HOME", "SPARK_CONF_DIR"}},
            **bucket.environment,
        }
        folders = {"warehouse": "warehouse", "output": "output", "input.orders": "in"}
        self.options = [
            *("--set", *(f"{name}={value}" for name, value in bucket.spark.items())),
            *(f"{name}=s3a://{bucket.name}/{folder}" for name, folder in folders.items()),
            *("input.users=", "input.products=", "--json"),
        ]

    def land(self, name: str, *records: dict[str, Any]) -> None:
        text = "".join(json.dumps(record) + "\n" for record in records)
        self.bucket.put(f"in/{name}", text.encode())

    def run(self, *arguments: str) -> Any:
        command = [ROOT / "spark-submit.sh", "--with", "s3", *arguments, *self.options]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def lake() -> Iterator[Lake]:
    with s3_bucket() as bucket:
        yield Lake(bucket)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_orders_are_loaded_corrected_and_replayed_on_s3(lake: Lake) -> None:
    lake.land("first.jsonl", *(order(f"o{n}", items=3) for n in range(20)), {"order_id": None})
    first = lake.run("jobs/orders.py")
    assert (first["outcomes"]["inserted"], first["outcomes"]["rejected"]) == (20, 1)
    assert first["tables"]["fact_sales"]["rows_after"] == 60

    lake.land("second.jsonl", order("o7", items=1, updated_at="2024-06-01T00:00:00Z"))
    second = lake.run("jobs/orders.py")
    assert (second["input_orders"], second["outcomes"]["updated"]) == (1, 1)
    assert second["tables"]["fact_sales"]["rows_after"] == 58

    replay = lake.run("jobs/orders.py", "--full")
    assert (replay["outcomes"]["unchanged"], replay["outcomes"]["superseded"]) == (20, 1)
    moved = {name for name, table in replay["tables"].items() if table["version_before"] != table["version_after"]}
    assert moved == set()
    kinds = ("metrics.json", "report.html")
    runs = {f"output/runs/{run['run_id']}/{kind}" for run in (first, second, replay) for kind in kinds}
    latest = {f"output/{name}" for name in (*kinds, "index.html", "telling/orders.json")}
    assert lake.bucket.files("output/") == {*latest, *runs}
