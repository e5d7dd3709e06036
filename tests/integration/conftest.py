"""The sample data, loaded once by the real job: several modules look at its tables, none may change them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.job import Job

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "sample_data"


@pytest.fixture(scope="session")
def sample_job(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The sample data after its first run; files are the older the later their name, on which no outcome depends."""
    job = Job(spark, tmp_path_factory.mktemp("sample"))
    shutil.copytree(SAMPLE_DATA, job.landing)
    for age, path in enumerate(sorted(job.landing.rglob("*.*"), key=lambda path: path.name)):
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    assert job.run() == 0
    return job
