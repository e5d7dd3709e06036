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

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.integration.test_orders_job import order

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "lake"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_REGION": "eu-central-1"}


class Lake:
    """A bucket, and the jobs that work on it, each a process of its own."""

    def __init__(self, endpoint: str) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in {"SPARK_HOME", "SPARK_CONF_DIR"}},
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": endpoint,
        }
        self.options = [
            *("--set", f"spark.hadoop.fs.s3a.endpoint={endpoint}", "spark.hadoop.fs.s3a.path.style.access=true"),
            *(
                f"warehouse=s3a://{BUCKET}/warehouse",
                f"output=s3a://{BUCKET}/output",
                f"input.orders=s3a://{BUCKET}/in",
            ),
            *("input.users=", "input.products=", "--json"),
        ]
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_REGION"],
        )
        self.client.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": CREDENTIALS["AWS_REGION"]}
        )

    def land(self, name: str, *records: dict[str, Any]) -> None:
        text = "".join(json.dumps(record) + "\n" for record in records)
        self.client.put_object(Bucket=BUCKET, Key=f"in/{name}", Body=text.encode())

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

    def objects(self, prefix: str) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = {found["Key"] for page in pages for found in page.get("Contents", ())}
        return {key for key in keys if not key.endswith("/")}  # empty objects that stand for folders


@pytest.fixture
def lake() -> Iterator[Lake]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield Lake(f"http://{host}:{port}")
    finally:
        server.stop()


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
    runs = {f"output/runs/{run['run_id']}/metrics.json" for run in (first, second, replay)}
    assert lake.objects("output/") == {"output/metrics.json", *runs}
