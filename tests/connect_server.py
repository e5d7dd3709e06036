"""A server of Spark Connect, as a process of its own on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.postgres_server import HOST, free_port

ROOT = Path(__file__).resolve().parents[1]
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


@contextmanager
def spark_connect_server(folder: Path, settings: Mapping[str, str] = {}) -> Iterator[str]:
    """The address of a server with these settings of Spark and a working directory of its own, while the block runs."""
    port = free_port()
    own = {"spark.connect.grpc.binding.address": HOST, "spark.connect.grpc.binding.port": str(port)}
    options = [option for name, value in {**settings, **own}.items() for option in ("--conf", f"{name}={value}")]
    spark = ROOT / ".venv" / "spark"
    environment = os.environ | {"SPARK_HOME": str(spark), "SPARK_CONF_DIR": str(ROOT / "deploy" / "spark")}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            [spark / "bin" / "spark-submit", *options, "--class", SERVER],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            _wait_for(port, process, folder / "server.log")
            yield f"sc://{HOST}:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers; an error with its log when it ends before, or takes five minutes."""
    for _ in range(600):
        with socket.socket() as client:
            if client.connect_ex((HOST, port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise AssertionError(f"no Spark Connect server: {log.read_text()[-3000:]}")
