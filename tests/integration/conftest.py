"""What is loaded once by the real jobs: several modules look at its tables, none may change them but in a copy."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from etl_lib.tables.schemas import FEATURE_TABLES
from tests.executions import Execution, executions_of
from tests.feature_tables import table_rows
from tests.integration.test_orders_job import order
from tests.job import FeatureJob, Job
from tests.killing import World, contents, copy_of, land_after, land_before
from tests.readme import Checkout, Done, SampleJob, commands

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "sample_data"
FEATURES = "./spark-submit.sh jobs/value_props.py"
"""A command of the tutorial."""


@dataclass(frozen=True)
class FirstLoad:
    """The first command of the README, which loads the sample data, and what it left."""

    checkout: Checkout
    done: Done
    executions: list[Execution]
    job: SampleJob


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
    """Tables and output as both runs left them, over the same landing files."""
    latest: FeatureRun
    earlier: FeatureRun

    def copy(self, root: Path) -> FeatureJob:
        """The tables of the features and the output in folders of their own, over other files with the same records."""
        job = FeatureJob(self.job.spark, root)
        job.make_folders()
        for dataset, name in (("prints", "prints.jsonl"), ("taps", "taps.jsonl"), ("pays", "pays.csv")):
            shutil.copy(self.job.landing / name, job.landing / dataset)
        for folder in ("output", *(f"{self.job.name}/{table.name}" for table in FEATURE_TABLES)):
            shutil.copytree(self.job.root / folder, root / folder)
        return job


@dataclass(frozen=True)
class Readme:
    """All commands of the README and the tutorial, in their order, and what was there between them."""

    commands: list[Done]
    later: SampleJob
    """The tables after the later batch."""
    features: FeatureSample
    """The features of the first command that computes some, and of another one that is none of the pages'."""


@pytest.fixture(scope="session")
def first_load(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FirstLoad:
    root = tmp_path_factory.mktemp("checkout")
    checkout = Checkout(SampleJob(spark, root, landed=root / "sample_data"))
    checkout.fill()
    done: list[Done] = []
    executions = executions_of(spark, lambda: done.append(checkout.run(commands()[0])))
    return FirstLoad(checkout, done[0], executions, checkout.copy(tmp_path_factory.mktemp("first")))


@pytest.fixture(scope="session")
def sample_job(first_load: FirstLoad) -> SampleJob:
    """The sample data after its first run."""
    return first_load.job


@pytest.fixture(scope="session")
def readme(first_load: FirstLoad, tmp_path_factory: pytest.TempPathFactory) -> Readme:
    done = [first_load.done]
    for command in commands()[1:]:
        done.append(first_load.checkout.run(command))
        if "--apply" in command:
            later = first_load.checkout.copy(tmp_path_factory.mktemp("later"))
        if command == FEATURES:
            features = _feature_sample(first_load.checkout, done[-1], tmp_path_factory.mktemp("features"))
    return Readme(done, later, features)


def _feature_sample(checkout: Checkout, first: Done, root: Path) -> FeatureSample:
    landing = str(checkout.job.landing / "value_props")
    there = FeatureJob(checkout.job.spark, checkout.root, folder=landing)
    latest = _feature_run(there, first)
    earlier = _feature_run(there, checkout.run(f"{FEATURES} --as-of 2020-11-25 --json"))
    checkout.copy(root)
    return FeatureSample(FeatureJob(there.spark, root, folder=landing), latest, earlier)


def _feature_run(job: FeatureJob, done: Done) -> FeatureRun:
    return FeatureRun(
        done.printed,
        done.metrics,
        job.final_csv.decode(),
        pq.read_table(job.output / "value_props" / "final.parquet"),
        table_rows(job),
        job.versions(),
    )


@pytest.fixture(scope="session")
def feature_sample(readme: Readme) -> FeatureSample:
    return readme.features


@pytest.fixture(scope="session")
def twelve_orders(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two orders of two lines on each of six days, loaded by one run: o1a and o1b on the first of May, and so on."""
    job = Job(spark, tmp_path_factory.mktemp("twelve"))
    job.land("first.jsonl", *(order(f"o{day}{at}", day, items=2) for day in range(1, 7) for at in "ab"))
    assert job.run() == 0
    return job


@pytest.fixture
def loaded_job(twelve_orders: Job, job: Job) -> Job:
    """The orders job over a copy of the tables of `twelve_orders` and an empty landing folder."""
    shutil.copytree(twelve_orders.root / twelve_orders.name, job.root / job.name)
    return job


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
