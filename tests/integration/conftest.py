"""The sample data, loaded once by the real job: several modules look at its tables, none may change them."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from tests.feature_tables import table_rows
from tests.job import FeatureJob, Job
from tests.killing import World, contents, copy_of, land_after, land_before

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


@dataclass(frozen=True)
class FeatureRun:
    """What a run of value_props printed, and what it left behind."""

    printed: str
    metrics: dict[str, Any]
    final_csv: str
    parquet: pa.Table
    rows: Counter[Any]
    versions: dict[str, int]


@dataclass(frozen=True)
class FeatureSample:
    """The sample data of value_props after two runs: the first without options, then one for an earlier week."""

    job: FeatureJob
    latest: FeatureRun
    earlier: FeatureRun

    def copy(self, root: Path) -> FeatureJob:
        """The same files, tables and output in folders of their own."""
        shutil.copytree(self.job.root, root, dirs_exist_ok=True)
        return FeatureJob(self.job.spark, root)


@pytest.fixture(scope="session")
def feature_sample(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FeatureSample:
    job = FeatureJob(spark, tmp_path_factory.mktemp("feature-sample"))
    job.make_folders()
    for dataset, name in (("prints", "prints.jsonl"), ("taps", "taps.jsonl"), ("pays", "pays.csv")):
        shutil.copy(SAMPLE_DATA / "value_props" / name, job.landing / dataset)
    return FeatureSample(job, _feature_run(job), _feature_run(job, "--as-of", "2020-11-25"))


def _feature_run(job: FeatureJob, *options: str) -> FeatureRun:
    with redirect_stdout(io.StringIO()) as printed:
        assert job.run("--json", *options) == 0
    return FeatureRun(
        printed.getvalue(),
        job.metrics(),
        job.final_csv.decode(),
        pq.read_table(job.output / "value_props" / "final.parquet"),
        table_rows(job),
        job.versions(),
    )


@pytest.fixture(scope="session")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A loaded warehouse and files that it does not have yet; its copies are loaded with them, disturbed or not."""
    base = Job(spark, tmp_path_factory.mktemp("base"))
    (base.landing / "orders").mkdir(parents=True)
    land_before(base)
    assert base.run() == 0
    land_after(base)
    undisturbed = copy_of(base, tmp_path_factory.mktemp("undisturbed"))
    assert undisturbed.run() == 0
    assert (
        undisturbed.metrics()["outcomes"] | {"inserted": 1, "updated": 5, "rejected": 2}
        == (undisturbed.metrics()["outcomes"])
    )
    return World(base, contents(undisturbed))
