"""One warm Spark session for all mutants: `python -m tests.mutation.runner SOCKET SECONDS`, in a copy of the project.

For each request it forks a child that imports the sources as they are on disk then and runs pytest with the inherited
session. So a mutant costs what its tests cost, and not the start of a virtual machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from py4j.clientserver import FinalizerWorker
from pyspark.sql import SparkSession

from tests.mutation.targets import TESTS

OURS = ("etl_lib", "jobs", "tests", "conftest")
FORGETFUL = {
    "spark.sql.ui.retainedExecutions": "10",
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
}
"""Many children run their queries in one virtual machine: what it keeps of them would fill it."""
TIMED_OUT = 99
POLL = 0.05


def start_session() -> SparkSession:
    """The session of the tests; afterwards no module of the project is loaded, so that each child imports its own."""
    from etl_lib.process.session import open_session  # noqa: PLC0415 - a child imports it anew
    from tests.conftest import TEST_SPARK  # noqa: PLC0415

    warehouse = tempfile.mkdtemp(prefix="spark-warehouse", dir=".")
    session = open_session({**TEST_SPARK, **FORGETFUL, "spark.sql.warehouse.dir": warehouse})
    session.sparkContext.setLogLevel("ERROR")
    session.range(1).collect()
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    return session


def connect_anew(session: SparkSession) -> list[object]:
    """Give this forked process connections of its own to the virtual machine; what it inherited must stay referenced.

    A connection that is garbage is shut down, and with it that of the parent.
    """
    client = session.sparkContext._gateway._gateway_client
    inherited = [client.thread_connection, client.deque]
    client.thread_connection, client.deque = threading.local(), deque()
    FinalizerWorker(client.finalizer_deque).start()
    session._jvm.SparkSession.setActiveSession(session._jsparkSession)
    SparkSession.stop = lambda _: None  # the next child needs the session
    return inherited


def run_tests(session: SparkSession, tests: tuple[str, ...], folder: Path) -> None:
    """In a child: run the tests, print to a file, and end without the ways out of the parent."""
    code: int = 1
    try:
        os.setsid()
        log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        inherited = connect_anew(session)
        options = ["-x", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
        code = int(pytest.main([*options, *tests]))
        del inherited
        sys.stdout.flush()
    finally:
        os._exit(code)


def judge(session: SparkSession, tests: tuple[str, ...], folder: Path, seconds: float) -> int:
    """The exit code of the tests; TIMED_OUT when they had to be ended."""
    folder.mkdir()
    child = os.fork()
    if child == 0:
        run_tests(session, tests, folder)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        time.sleep(POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    session.sparkContext.cancelAllJobs()
    return TIMED_OUT


def newest_object(session: SparkSession) -> int:
    """The number of the newest object that the virtual machine keeps for a Python process."""
    return int(session._jvm.java.lang.Object()._target_id.removeprefix("o"))


def forget(session: SparkSession, known: int) -> None:
    """Let go of what a child has left in the virtual machine, or some dozens of children fill it."""
    client = session.sparkContext._gateway._gateway_client
    for number in range(known + 1, newest_object(session)):
        client.garbage_collect_object(f"o{number}")
    session.catalog.clearCache()
    session._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


def serve(session: SparkSession, address: str, seconds: float) -> None:
    """Answer requests, one after the other, until this process is told to end."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        for number in range(sys.maxsize):
            connection, _ = server.accept()
            # A folder of its own each: Delta remembers what it has seen under a path.
            folder = Path(address).parent / f"run{number}"
            known = newest_object(session)
            with connection, connection.makefile("rw", encoding="utf-8") as asked:
                code = judge(session, TESTS[asked.readline().strip()], folder, seconds)
                asked.write(f"{code}\n{(folder / 'log').read_text(encoding='utf-8', errors='replace')}")
            shutil.rmtree(folder, ignore_errors=True)
            forget(session, known)


if __name__ == "__main__":
    serve(start_session(), sys.argv[1], float(sys.argv[2]))
