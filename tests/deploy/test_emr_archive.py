"""What deploy/emr/build.sh builds runs the sample on a cluster that has nothing of this project."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_SPARK
from tests.deploy.emr_files import EMR, driver_environment, request, spark_settings
from tests.deploy.scheduled import ROOT

pytestmark = pytest.mark.deploy

SPARK = ROOT / ".venv" / "spark"
SAMPLE = ROOT / "sample_data"
LOOPBACK = "127.0.0.1"
SUBMIT = request("serverless-job.json")["jobDriver"]["sparkSubmit"]
SETTINGS = spark_settings(SUBMIT["sparkSubmitParameters"])
"""What the job gets on EMR Serverless."""


def bare_environment() -> dict[str, str]:
    """What a node of a cluster has: no PYTHONPATH, and no Python of this project on the PATH."""
    java = shutil.which("java")
    assert java
    kept = {name: os.environ[name] for name in ("HOME", "JAVA_HOME", "TMPDIR") if name in os.environ}
    return kept | {"PATH": f"{Path(java).parent}:/usr/bin:/bin", "SPARK_LOCAL_IP": LOOPBACK, "SPARK_HOME": str(SPARK)}


@contextmanager
def bare_cluster(folder: Path) -> Iterator[str]:
    """A master and a worker with two cores, as processes in a folder of their own; gives the master's URL."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = str(free.getsockname()[1])
    master, deploy = f"spark://{LOOPBACK}:{port}", "org.apache.spark.deploy"
    commands = [[f"{deploy}.master.Master", "--host", LOOPBACK, "--port", port, "--webui-port", "0"]]
    commands += [[f"{deploy}.worker.Worker", "--cores", "2", "--memory", "2g", "--webui-port", "0", master]]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "cluster.log").open("ab"))
        for command in commands:
            process = stack.enter_context(
                subprocess.Popen(
                    [SPARK / "bin" / "spark-class", *command],
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                    env=bare_environment() | {"SPARK_WORKER_DIR": str(folder / "work")},
                )
            )
            stack.callback(process.kill)
            time.sleep(3)  # a worker asks again for a master that is not there yet
        yield master


@dataclass(frozen=True)
class Lake:
    """What is in the bucket on EMR: what was built, the landing folder, and what the jobs write."""

    root: Path
    built: Path

    def here(self, text: str) -> str:
        """A place in the bucket as one on this disk."""
        return text.replace("s3://lake/code/0.1.0", str(self.built)).replace("s3://lake", str(self.root))

    @property
    def environment(self) -> dict[str, str]:
        """What EMR gives the driver."""
        return bare_environment() | {name: self.here(value) for name, value in driver_environment(SETTINGS).items()}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root = tmp_path_factory.mktemp("lake")
    shutil.copytree(SAMPLE / "orders", root / "landing" / "orders")
    for name in ("users.csv", "products.csv"):
        landed = root / "landing" / Path(name).stem
        landed.mkdir()
        shutil.copy(SAMPLE / name, landed)
    python = {"ORDERS_EMR_PYTHON": sys.executable, "ORDERS_EMR_PYTHON_PREFIX": sys.base_prefix}
    build = os.environ | python | {"ORDERS_EMR_DIST": str(root / "code")}
    subprocess.run([EMR / "build.sh"], check=True, cwd=root, env=build)
    (built,) = (root / "code").iterdir()
    # As EMR does for the driver, which is not on this cluster.
    (root / "driver").mkdir()
    with tarfile.open(built / "environment.tar.gz") as archive:
        archive.extractall(root / "driver" / "environment", filter="tar")
    return Lake(root, built)


@pytest.fixture(scope="module")
def metrics(lake: Lake) -> Any:
    """Of the orders job over the sample, by Spark's own spark-submit in an empty folder."""
    taken = ("spark.archives", "spark.executorEnv.PYSPARK_PYTHON", "spark.sql.catalogImplementation")
    little = {name: value for name, value in TEST_SPARK.items() if name != "spark.master"}
    settings = {**little, "spark.executor.memory": "1g", **{name: lake.here(SETTINGS[name]) for name in taken}}
    options = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    job = [lake.here(SUBMIT["entryPoint"]), *SUBMIT["entryPointArguments"]]
    (lake.root / "nodes").mkdir()
    with bare_cluster(lake.root / "nodes") as master:
        command = [SPARK / "bin" / "spark-submit", "--master", master, *options, *job]
        subprocess.run(command, check=True, cwd=lake.root / "driver", env=lake.environment)
    return json.loads((lake.root / "output" / "metrics.json").read_text(encoding="utf-8"))


def test_the_archive_is_all_that_the_driver_and_the_executors_need(lake: Lake, metrics: Any) -> None:
    outcomes = {outcome: n for outcome, n in metrics["datasets"]["orders"]["outcomes"].items() if n}
    assert metrics["status"] == "done"
    assert outcomes == {"inserted": 34, "superseded": 9, "rejected": 16}
    executors = list((lake.root / "nodes" / "work").glob("app-*/*"))
    assert executors
    for executor in executors:
        (packages,) = executor.glob("environment/lib/python3.*/site-packages")
        assert (packages / "etl_lib").is_dir()
        assert not (packages / "pyspark").exists()  # that is the cluster's
        assert (executor / "environment" / "bin" / "python").resolve().is_relative_to(sys.base_prefix)


def test_the_wheel_alone_has_the_code_and_what_the_code_reads(lake: Lake, metrics: Any) -> None:
    """As `--py-files` gives it to a Python that has the packages: drawing a report takes templates out of it."""
    (wheel,) = lake.built.glob("*.whl")
    page = lake.root / "output" / "runs" / metrics["run_id"] / "report.html"
    page.unlink()
    python, config = ROOT / ".venv" / "bin" / "python", ROOT / "conf" / "emr.yaml"
    command = [python, lake.built / "jobs" / "report.py", metrics["run_id"], "--config", config]
    subprocess.run(command, check=True, cwd=lake.root / "nodes", env=lake.environment | {"PYTHONPATH": str(wheel)})
    assert page.exists()
