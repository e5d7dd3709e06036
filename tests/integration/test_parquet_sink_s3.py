"""The Parquet sink on S3, Spark's writing included, against a real server of its protocol on loopback.

The jars come from the set-up itself (`spark-submit.sh --with s3`), the credentials from AWS's standard chain.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.unit.test_parquet_sink import AFTER, CREDENTIALS, expected, read

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from etl_lib.session import open_session
from etl_lib.sinks.parquet import ParquetSettings, ParquetSink
from tests.unit.test_parquet_sink import AFTER, BEFORE, changes

spark = open_session({})
sink = ParquetSink(spark, ParquetSettings(path="s3a://lake/shop"))
sink.publish(changes(spark, None, BEFORE, "p1", None))
sink.publish(changes(spark, BEFORE, AFTER, "p2", "p1"))
print(sink.row_counts()["fact_sales"], len(sink.sales_sums()), sink.shows().publish_id)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_publishes_on_s3_leave_the_files_of_the_manifest_and_those_for_copy(tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        bucket = boto3.resource(
            "s3",
            endpoint_url=endpoint,
            region_name=CREDENTIALS["AWS_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        ).Bucket("lake")
        bucket.create(CreateBucketConfiguration={"LocationConstraint": CREDENTIALS["AWS_REGION"]})
        assert publish_twice(tmp_path, endpoint).splitlines()[-1] == "5 4 p2"
        for found in bucket.objects.all():
            if not found.key.endswith("/"):  # empty objects that stand for folders
                (tmp_path / found.key).parent.mkdir(parents=True, exist_ok=True)
                bucket.download_file(found.key, str(tmp_path / found.key))
    finally:
        server.stop()
    shop = tmp_path / "shop"
    assert read(shop) == expected(AFTER)
    tables = json.loads((shop / "_manifest.json").read_text())["tables"]
    listed = {file["path"] for table in tables.values() for file in table["files"]}
    manifests = {"_manifest.json", *(f"{table}/_copy_manifest.json" for table in tables)}
    assert {str(path.relative_to(shop)) for path in shop.rglob("*") if path.is_file()} == listed | manifests
    for name, table in tables.items():
        entries = json.loads((shop / name / "_copy_manifest.json").read_text())["entries"]
        sizes = {entry["url"]: entry["meta"]["content_length"] for entry in entries}
        assert sizes == {f"s3://lake/shop/{file['path']}": file["bytes"] for file in table["files"]}


def publish_twice(folder: Path, endpoint: str) -> str:
    script = folder / "publish_twice.py"
    script.write_text(SCRIPT)
    settings = (f"fs.s3a.endpoint={endpoint}", "fs.s3a.path.style.access=true")
    options = [option for setting in settings for option in ("--conf", f"spark.hadoop.{setting}")]
    own = {name: value for name, value in os.environ.items() if name not in {"SPARK_HOME", "SPARK_CONF_DIR"}}
    done = subprocess.run(
        [ROOT / "spark-submit.sh", "--with", "s3", *options, script],
        cwd=ROOT,
        env={**own, **CREDENTIALS, "AWS_ENDPOINT_URL": endpoint},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
