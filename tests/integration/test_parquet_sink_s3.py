"""The Parquet sink on S3, Spark's writing included, against a real server of its protocol on loopback.

The jars come from the set-up itself (`spark-submit.sh --with s3`), the credentials from AWS's standard chain.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.aws import Bucket, s3_bucket
from tests.unit.test_parquet_sink import AFTER, expected, read

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from etl_lib.process.session import open_session
from etl_lib.sinks.parquet.sink import ParquetSink
from etl_lib.settings.sink_settings import ParquetSettings
from tests.unit.test_parquet_sink import AFTER, BEFORE, changes

spark = open_session({})
sink = ParquetSink(ParquetSettings(path="s3a://lake/shop"))
sink.publish(changes(spark, None, BEFORE, "p1", None))
sink.publish(changes(spark, BEFORE, AFTER, "p2", "p1"))
print(sink.row_counts()["fact_sales"], len(sink.sales_sums()), sink.shows().publish_id)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_publishes_on_s3_leave_the_files_of_the_manifest_and_those_for_copy(tmp_path: Path) -> None:
    with s3_bucket() as bucket:
        assert publish_twice(tmp_path, bucket).splitlines()[-1] == "5 4 p2"
        for key in bucket.files():
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(bucket.get(key))
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


def publish_twice(folder: Path, bucket: Bucket) -> str:
    script = folder / "publish_twice.py"
    script.write_text(SCRIPT)
    options = [option for name, value in bucket.spark.items() for option in ("--conf", f"{name}={value}")]
    own = {name: value for name, value in os.environ.items() if name not in {"SPARK_HOME", "SPARK_CONF_DIR"}}
    done = subprocess.run(
        [ROOT / "spark-submit.sh", "--with", "s3", *options, script],
        cwd=ROOT,
        env={**own, **bucket.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
