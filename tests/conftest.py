"""One Spark session for the whole run: small shuffles, no UI, nothing compiled that runs once, UTC."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import structlog
from pyspark.sql import SparkSession
from structlog.stdlib import ProcessorFormatter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Lanes that install packages of their own: without them there is nothing to collect.
collect_ignore = ["deploy", "airflow", "image"]
for package, lane in (("cronsim", "deploy"), ("apache-airflow", "airflow"), ("cyclonedx-python-lib", "image")):
    with suppress(PackageNotFoundError):
        version(package)
        collect_ignore.remove(lane)

pytest.register_assert_rewrite("tests.tables", "tests.feature_tables")  # so that a failure shows the rows

from etl_lib.process.session import open_session  # noqa: E402
from etl_lib.process.tuning import FIRST_COMPILER_ONLY  # noqa: E402
from tests.connect_server import spark_connect_server  # noqa: E402
from tests.job import BY_NAME, ON_CONNECT, FeatureJob, Job  # noqa: E402

os.environ["TZ"] = "UTC"
os.environ["PYSPARK_PYTHON"] = sys.executable
time.tzset()

TEST_SPARK = {
    "spark.master": "local[2]",
    "spark.driver.extraJavaOptions": f"-Duser.timezone=UTC {FIRST_COMPILER_ONLY} -XX:+UseSerialGC",
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    # Tiny tables: planning again and compiling each query costs more than it saves.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # Which line of Python made a column is told in Spark's errors alone, and asking costs more than to make the column.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.sql.maxPlanStringLength": "2000",
    "spark.sql.optimizer.dynamicPartitionPruning.enabled": "false",
    "spark.sql.optimizer.runtime.bloomFilter.enabled": "false",
}


# The session of the tests lives long enough for the second compiler to pay off: the seventh run of the job takes 18 s,
# where with the first alone runs stay at 24. A process that runs the job once is better off with the first alone.
# It has its memory from the start, and keeps few of the queries that it has run (tests.executions looks at some 250).
ROOMY = "-Xms2g -XX:MetaspaceSize=512m -XX:ReservedCodeCacheSize=512m"
LONG_LIVED = {
    "spark.driver.extraJavaOptions": f"-Duser.timezone=UTC -XX:+UseSerialGC {ROOMY}",
    "spark.sql.ui.retainedExecutions": "300",
    "spark.ui.retainedJobs": "300",
    "spark.ui.retainedStages": "300",
    "spark.ui.retainedTasks": "1000",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    warehouse = str(tmp_path_factory.mktemp("spark-warehouse"))
    settings = {**TEST_SPARK, **LONG_LIVED, "spark.sql.warehouse.dir": warehouse}
    # The driver for PostgreSQL; `make test-slow` brings it.
    settings["spark.driver.extraClassPath"] = str(ROOT / ".venv" / "jars-postgres" / "*")
    if ON_CONNECT:
        with spark_connect_server(tmp_path_factory.mktemp("connect"), settings) as address:
            os.environ["SPARK_REMOTE"] = address
            session = open_session({})
            yield session
            session.stop()  # or its end asks a server that is gone for ten minutes
        return
    session = open_session(settings)
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what only another ground can show than that on which the tests run."""
    reasons = {
        "classic": "needs a Spark in the process of the tests" if ON_CONNECT else "",
        "by_path": "is about a warehouse on a disk, with its lock" if BY_NAME else "",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """A job sends the logs to the stderr of its test, which is closed after it."""
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    for handler in [one for one in logging.root.handlers if isinstance(one.formatter, ProcessorFormatter)]:
        logging.root.removeHandler(handler)
        handler.close()


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path) -> Job:
    """The orders job over empty folders of its own."""
    (tmp_path / "landing" / "orders").mkdir(parents=True)
    return Job(spark, tmp_path)


@pytest.fixture
def feature_job(spark: SparkSession, tmp_path: Path) -> FeatureJob:
    """The value-props job over empty folders of its own."""
    job = FeatureJob(spark, tmp_path)
    job.make_folders()
    return job
