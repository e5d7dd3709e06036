"""The tables published to Redshift: files on a real server of S3's protocol, statements run by a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from etl_lib.tables.schemas import FACT_SALES, SALES_TABLES
from tests.aws import REGION, Bucket, s3_bucket
from tests.conftest import ROOT, TEST_SPARK
from tests.integration.test_orders_job import order
from tests.job import Job
from tests.postgres_server import PostgresServer, postgres
from tests.publishing import Published, PublishingJob, expected_rows, new_schema, summary
from tests.redshift_api import RedshiftApi, from_s3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def lake() -> Iterator[Bucket]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres({"TimeZone": "America/St_Johns"}) as server:
        yield server


def settings(published: Published, lake: Bucket) -> list[str]:
    place = {
        "database": "shop",
        "workgroup": "analytics",
        "region": REGION,
        "staging": f"s3a://{lake.name}/sales",
        "iam_role": "arn:aws:iam::123456789012:role/copy",
        "schema_name": published.schema,
    }
    options = [f"{name}={value}" for name, value in {**TEST_SPARK, **lake.spark}.items()]
    return ["sinks=[redshift]", *(f"publish.redshift.{name}={value}" for name, value in place.items()), *options]


def publish(job: PublishingJob, lake: Bucket, api: RedshiftApi, code: int = 0) -> Any:
    """The job as a process of its own, with the jars for S3."""
    kept = {name: value for name, value in os.environ.items() if name not in {"SPARK_HOME", "SPARK_CONF_DIR"}}
    environment = {
        **kept,
        **lake.environment,
        "AWS_ENDPOINT_URL_REDSHIFT_DATA": api.url,
    }
    command = [ROOT / "spark-submit.sh", "--with", "s3", "jobs/publish.py", *job.options, "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr[-6000:]
    return summary(done.stdout)["publishes"]["redshift"]


def assert_shows_the_tables(published: Published, job: Job) -> None:
    for table in SALES_TABLES:
        assert published.rows(table) == expected_rows(job, table), table.name
    assert published.tables() == {*(table.name for table in SALES_TABLES), "publish_state"}


def test_a_first_publish_a_correction_and_what_others_left_and_changed(
    job: Job, lake: Bucket, server: PostgresServer
) -> None:
    published = new_schema(server)
    publishing = PublishingJob(job, settings(published, lake))
    (job.landing / "users.csv").write_text("user_id,email,created_at,country\nu1,,2024-01-01T00:00:00.123456Z,DE\n")
    job.land("a.jsonl", *(order(f"o{n}", n, items=n) for n in (1, 2, 3)), order("nobody's", user_id="", currency=None))
    assert job.run() == 0
    with RedshiftApi(server, from_s3(lake.client)) as api:
        # What somebody before us left: files and tables of a publish that never came to its end.
        cut_off = "20240501T120000Z-abcdef"
        lake.put(f"sales/{cut_off}/fact_sales/rows/part-0.parquet", b"torn")
        lake.put("others/file", b"not ours")
        published.do("CREATE SCHEMA {s}")
        published.do(f'CREATE TABLE {{s}}."stage_{cut_off}_fact_sales_keys" (order_id text)')
        first = publish(publishing, lake, api)
        assert (first["status"], first["is_full"], first["rows"]["fact_sales"]) == ("complete", True, 7)
        assert first["address"] == f"analytics/shop {published.schema}"
        assert_shows_the_tables(published, job)
        assert lake.files() == {"others/file"}

        # A correction and a deletion, and somebody has changed another order in the sink.
        later = {"updated_at": "2024-06-01T00:00:00Z"}
        job.land("b.jsonl", order("o2", 9, items=1, **later), order("o3", 3, deleted=True, **later))
        assert job.run() == 0
        published.do("UPDATE {s}.fact_sales SET qty = qty + 1 WHERE order_id = 'o1'")
        loaded = len(api.copied)
        second = publish(publishing, lake, api, code=1)
        assert (second["is_full"], second["rows"]["dim_order"], second["rows"]["fact_sales"]) == (False, 2, 1)
        assert {table.rpartition("Z-")[2][7:].strip('"') for table, _ in api.copied[loaded:]} == {
            *("dim_order", "dim_order_keys", "fact_sales", "fact_sales_keys", "daily_sales", "daily_sales_keys"),
        }
        for table in SALES_TABLES:
            assert (published.rows(table) == expected_rows(job, table)) is (table is not FACT_SALES), table.name
        assert second["status"] == "differs"
        assert "fact_sales on 2024-05-01 in EUR: the table has units 1, the sink 2" in second["message"]

        assert publish(publishing, lake, api)["is_full"] is True
        assert_shows_the_tables(published, job)
        assert lake.files() == {"others/file"}
