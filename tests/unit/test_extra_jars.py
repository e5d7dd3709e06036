"""Which jars a command line needs beyond Spark's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from etl_lib.extra_jars import extra_jars

JOB = "jobs/orders.py"


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        pytest.param([JOB], [], id="the sample needs none"),
        pytest.param([JOB, "--set", "warehouse=s3a://lake/orders"], ["s3"], id="a warehouse on S3"),
        pytest.param(
            ["--conf", "a=b", JOB, "--set", "input.orders=S3://in/*.json", "--plan"], ["s3"], id="in capitals"
        ),
        pytest.param([JOB, "--set", "warehouse=w", "output=s3a://o", "--json"], ["s3"], id="second of two settings"),
        pytest.param(["jobs/query.py", "--set", "samples=5", "SELECT 's3a://'"], [], id="a query is no setting"),
        pytest.param([JOB, "--set", "warehouse=gs://lake/orders"], [], id="another store"),
        pytest.param([JOB, "--set", "no.such=s3a://x"], [], id="a mistake is the job's to tell"),
        pytest.param([JOB, "--config"], [], id="an option without its value"),
        pytest.param([JOB, "--config", "no-such.yaml"], [], id="a file that is not there"),
    ],
)
def test_the_configuration_tells_the_jars(arguments: list[str], needed: list[str]) -> None:
    assert extra_jars(arguments) == needed


def test_a_configuration_file_tells_them(tmp_path: Path) -> None:
    config = tmp_path / "lake.yaml"
    config.write_text("warehouse: s3://lake/orders\noutput: out\nrules: rules.yaml\ninput: {orders: in}\n")
    assert extra_jars([JOB, "--config", str(config)]) == ["s3"]


def test_sinks_tell_them_too(tmp_path: Path) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text("""
        warehouse: lake
        output: out
        rules: rules.yaml
        input: {orders: in}
        sinks: [postgres, redshift]
        publish:
          postgres: {url: "jdbc:postgresql://db/shop", user: u, password: "${PASSWORD}"}
          redshift: {database: shop, workgroup: w, staging: "s3://lake/staging"}
    """)
    assert extra_jars(["jobs/publish.py", "--config", str(config)]) == ["postgres", "s3"]


def test_a_start_does_not_wait_for_spark() -> None:
    code = "import sys, etl_lib.extra_jars; print([name for name in sys.modules if name.startswith('pyspark')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
