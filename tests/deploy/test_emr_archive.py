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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
    """What is in the bucket on EMR: what was built, the landing folder, and what the jobs write; and a cluster."""

    root: Path
    built: Path
    master: str

    def submit(
        self, job: str, arguments: list[str], settings: Mapping[str, str], environment: Mapping[str, str]
    ) -> Any:
        """Run a job by Spark's own spark-submit in an empty folder; gives its metrics."""
        options = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        subprocess.run(
            [
                *(SPARK / "bin" / "spark-submit", "--master", self.master, "--executor-memory", "1g", *options),
                *(self.built / "jobs" / f"{job}.py", *arguments),
            ],
            check=True,
            cwd=self.root / "driver",
            env=bare_environment() | environment,
        )
        return json.loads((self.root / "output" / "metrics.json").read_text(encoding="utf-8"))

    def here(self, text: str) -> str:
        """A place in the bucket as one on this disk."""
        return text.replace("s3://lake/code/0.1.0", str(self.built)).replace("s3://lake", str(self.root))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    root = tmp_path_factory.mktemp("lake")
    shutil.copytree(SAMPLE / "orders", root / "landing" / "orders")
    for name in (
        "users.csv",
        "products.csv",
        "value_props/prints.jsonl",
        "value_props/taps.jsonl",
        "value_props/pays.csv",
    ):
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
    (root / "nodes").mkdir()
    with bare_cluster(root / "nodes") as master:
        yield Lake(root, built, master)


def test_the_archive_is_all_that_the_driver_and_the_executors_need(lake: Lake) -> None:
    environment = {name: lake.here(value) for name, value in driver_environment(SETTINGS).items()}
    taken = ("spark.archives", "spark.executorEnv.PYSPARK_PYTHON", "spark.sql.catalogImplementation")
    settings = {name: lake.here(SETTINGS[name]) for name in taken}
    metrics = lake.submit("orders", SUBMIT["entryPointArguments"], settings, environment)
    outcomes = {name: found["outcomes"] for name, found in metrics["datasets"].items()}
    assert metrics["status"] == "done"
    assert outcomes["orders"] == {"inserted": 34, "superseded": 9, "rejected": 16}
    executors = list((lake.root / "nodes" / "work").glob("app-*/*"))
    assert executors
    for executor in executors:
        (packages,) = executor.glob("environment/lib/python3.*/site-packages")
        assert (packages / "etl_lib").is_dir()
        assert not (packages / "pyspark").exists()  # that is the cluster's
        python = (executor / "environment" / "bin" / "python").resolve()
        assert python.is_relative_to(sys.base_prefix)


def test_the_wheel_is_the_job_for_a_python_that_has_its_packages(lake: Lake) -> None:
    (wheel,) = lake.built.glob("*.whl")
    python = str(ROOT / ".venv" / "bin" / "python")
    shutil.copytree(ROOT / "conf", lake.root / "driver" / "conf")
    environment = {name: lake.here(value) for name, value in driver_environment(SETTINGS).items()}
    metrics = lake.submit(
        "value_props",
        ["--config", "conf/emr.yaml", "--set", "target_week=last_complete"],
        {"spark.submit.pyFiles": str(wheel), "spark.executorEnv.PYSPARK_PYTHON": python},
        environment | {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python},
    )
    assert metrics["status"] == "done"
    assert (lake.root / "output" / "runs" / metrics["run_id"] / "report.html").exists()  # its template is in the wheel
