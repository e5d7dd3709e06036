"""Every step that is given a secret is made to fail, and all that it leaves is searched for the secret."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import ALL_TABLES
from tests.conftest import ROOT, TEST_SPARK
from tests.integration.test_orders_job import order
from tests.integration.test_pulls import execute
from tests.job import Job
from tests.killing import MAIN
from tests.orders_api import OrdersApi
from tests.postgres_server import PostgresServer, postgres
from tests.publishing import DRIVER

pytestmark = pytest.mark.torture

CANARY = "cAn4ry/se+cr&t=9!"
ROLE = "canary_role"
LOG4J = """
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = info
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c: %m%n%ex
"""
"""Spark tells more than usual: every plan, and every setting that it thinks worth telling."""


def forms(secret: str) -> set[bytes]:
    """A secret as it is, in a URL, and within base64 behind any number of bytes (the digits that it alone makes)."""
    found = {secret.encode(), quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    for before in range(3):
        digits = base64.b64encode(bytes(before) + secret.encode())
        found.add(digits[-(-8 * before // 6) : 8 * (before + len(secret)) // 6])
    return found


def places_with(secret: str, root: Path) -> list[str]:
    """The files below a folder that have a secret in them, in any form."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(form in path.read_bytes() for form in forms(secret))]


@dataclass
class Steps:
    """Jobs as processes of their own, with all that they and Spark log kept in a file."""

    job: Job
    outputs: Path
    secret: str = CANARY
    ended: list[int] = field(default_factory=list)

    def fail(self, name: str, settings: Sequence[str], told: str) -> None:
        """Run a job that fails with this reason."""
        log4j = self.outputs / "log4j2.properties"
        log4j.write_text(LOG4J)
        java = f"{TEST_SPARK['spark.driver.extraJavaOptions']} -Dlog4j2.configurationFile=file:{log4j}"
        of_java = ("--conf", f"spark.driver.extraJavaOptions={java}", "--conf", f"spark.driver.extraClassPath={DRIVER}")
        spark = {**TEST_SPARK, "spark.sql.maxPlanStringLength": "1000000"} | {"spark.driver.extraJavaOptions": java}
        settings = [*settings, *(f"{key}={value}" for key, value in spark.items())]
        options = [*self.job.options(), *(f"--set={setting}" for setting in settings)]
        command = [sys.executable, "-c", MAIN.format(name), *options]
        output = self.outputs / f"{len(self.ended)}-{name}.log"
        environment = {
            **os.environ,
            "CANARY": self.secret,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "PYSPARK_SUBMIT_ARGS": shlex.join([*of_java, "pyspark-shell"]),
        }
        with output.open("wb") as log:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        self.ended.append(done.returncode)
        text = output.read_text()
        assert done.returncode == 1, text[-4000:]
        assert told in text, text[-4000:]
        assert "INFO org.apache.spark" in text


class _Deny(BaseHTTPRequestHandler):
    """An AWS service that refuses everything, and repeats what it was sent."""

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        told = {"__type": "AccessDeniedException", "message": f"not with {dict(self.headers)} for {sent}"}
        body = json.dumps(told).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def denying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Deny)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres() as server:
        execute(server, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{CANARY}'")
        yield server


@pytest.mark.usefixtures("denying")
def test_no_step_that_fails_leaves_its_secret_anywhere(job: Job, server: PostgresServer, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    steps = Steps(job, outputs)
    job.land("a.jsonl", order("o1"))
    assert job.run() == 0
    url = f"url=jdbc:postgresql://{server.host}:{server.port}/{server.database}"
    landing = f"sources.landing={job.root / 'pulled'}"

    with OrdersApi([json.dumps(order("o2"))]) as api:
        api.authorization = "Bearer of somebody else"  # the answer repeats what was sent
        paging = ("url=" + api.url("/pages"), "paging=page", "page_parameter=page", "token=${CANARY}")
        source = ["sources.orders=api", landing, *(f"sources.api.{setting}" for setting in paging)]
        steps.fail("pull", source, "unknown credentials: Bearer ***")

    def jdbc(user: str) -> list[str]:
        settings = (url, f"user={user}", "password=${CANARY}", "orders.table=no_orders", "orders.items.column=items")
        return ["sources.orders=jdbc", landing, *(f"sources.jdbc.{setting}" for setting in settings)]

    steps.fail("pull", jdbc(server.user), "password authentication failed")
    steps.fail("pull", jdbc(ROLE), "does not exist")

    (tmp_path / "a-file").touch()
    to_postgres = [f"publish.postgres.{setting}" for setting in (url, f"user={ROLE}", "password=${CANARY}")]
    to_redshift = ("database=d", "workgroup=analytics", "region=eu-central-1", "staging=s3a://bucket/folder")
    sinks = [
        "sinks=[parquet, redshift, postgres]",
        f"publish.parquet.path={tmp_path / 'a-file'}",
        *(f"publish.redshift.{setting}" for setting in to_redshift),
        *to_postgres,
    ]
    steps.fail("publish", sinks, "permission denied for database")
    text = (outputs / "3-publish.log").read_text()
    assert "AccessDeniedException" in text
    assert "a-file" in text

    # The connections of Spark itself fail.
    execute(
        server,
        f"GRANT CREATE ON DATABASE {server.database} TO {ROLE}",
        f"ALTER ROLE {ROLE} CONNECTION LIMIT 1",
    )
    steps.fail("orders", ["sinks=[postgres]", *to_postgres], "too many connections for role")

    (tmp_path / "tables").mkdir()
    for table in job.tables.present(ALL_TABLES):
        rows = job.read(table).select(F.to_json(F.struct("*"))).collect()
        history = job.spark.sql(f"DESCRIBE HISTORY {job.tables.name(table)}").collect()
        (tmp_path / "tables" / table.name).write_text(f"{rows}\n{history}")
    assert places_with(CANARY, tmp_path) == []
    # The search finds it in each form, and the steps had it: what they told instead is there.
    for number, form in enumerate(sorted(forms(CANARY))):
        (tmp_path / f"planted-{number}").write_bytes(b"\x00before" + form + b"after")
    assert len(places_with(CANARY, tmp_path)) == len(forms(CANARY))
    assert len(steps.ended) == 5
