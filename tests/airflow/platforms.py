"""The parts of EMR Serverless, S3, Databricks and a service for alerts that the DAGs speak to, on loopback.

Each answers as the platform's reference of its API says; the requests come from the real clients.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Platforms:
    """What was asked of the platforms, and how the jobs are to end."""

    exit_codes: dict[str, int] = field(default_factory=dict)
    """By the name of the job: `orders`, `value_props`, `publish`. All others end with 0."""
    written: str = ""
    """What each job writes to its standard output."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """The requests that start a job."""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    traces: list[bytes] = field(default_factory=list)
    """What a receiver of OTLP got."""
    url: str = ""

    def ended(self, number: int) -> int:
        """The exit code of a run."""
        request = self.runs[number - 1]
        if "jobDriver" in request:
            job = re.search(r"/jobs/(\w+)\.py$", request["jobDriver"]["sparkSubmit"]["entryPoint"])[1]
        else:
            job = request["tasks"][0]["python_wheel_task"]["entry_point"]
        return self.exit_codes.get(job.replace("-", "_"), 0)


class Handler(BaseHTTPRequestHandler):
    """One request; the server that gets it knows the platforms."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        platforms: Platforms = self.server.platforms
        for pattern, answer in READ.items():
            if found := re.search(pattern, self.path):
                told = answer(platforms, int((found.groups() or (0,))[0]))
                self.answer(told if isinstance(told, bytes) else json.dumps(told).encode())
                return
        self.answer(b"{}", 404)

    def do_POST(self) -> None:
        platforms: Platforms = self.server.platforms
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            platforms.traces.append(sent)
            self.answer(b"")
            return
        body = json.loads(sent)
        if self.path == "/alerts":
            platforms.alerts.append(body)
            self.answer(b"{}")
        elif self.path in ("/api/2.2/jobs/runs/submit", "/applications/00application/jobruns"):
            platforms.runs.append(body)
            number = len(platforms.runs)
            of_emr = {"applicationId": "00application", "jobRunId": str(number), "arn": "arn"}
            self.answer(json.dumps(of_emr if "jobDriver" in body else {"run_id": number}).encode())
        else:
            self.answer(b"{}", 404)

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve(platforms: Platforms) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.platforms = platforms
    platforms.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def emr_run(platforms: Platforms, number: int) -> dict[str, Any]:
    code = platforms.ended(number)
    details = (
        "Job failed, please check complete logs in configured logging destination. ExitCode: {}. Last few exceptions: "
    )
    state, told = "FAILED" if code else "SUCCESS", details.format(code) if code else ""
    return {"jobRun": {"jobRunId": str(number), "state": state, "stateDetails": told}}


def databricks_run(platforms: Platforms, number: int) -> dict[str, Any]:
    code = platforms.ended(number)
    state = {"life_cycle_state": "TERMINATED", "result_state": "FAILED" if code else "SUCCESS", "state_message": ""}
    task = {"task_key": "task", "run_id": number, "state": state}
    return {"run_id": number, "job_id": 1, "state": state, "tasks": [task], "run_page_url": "http://127.0.0.1/run"}


def databricks_output(platforms: Platforms, number: int) -> dict[str, Any]:
    code = platforms.ended(number)
    return {"error": f"SystemExit: {code}"} if code else {"logs": platforms.written}


def emr_application(*_: object) -> dict[str, Any]:
    return {"application": {"applicationId": "00application", "state": "STARTED"}}


def emr_stdout(platforms: Platforms, _: int) -> bytes:
    return gzip.compress(platforms.written.encode())


READ: dict[str, Callable[[Platforms, int], dict[str, Any] | bytes]] = {
    r"^/api/2.2/jobs/runs/get\?run_id=(\d+)": databricks_run,
    r"^/api/2.2/jobs/runs/get-output\?run_id=(\d+)": databricks_output,
    r"^/applications/00application/jobruns/(\d+)": emr_run,
    r"^/applications/00application$": emr_application,
    r"^/lake/logs/applications/00application/jobs/(\d+)/SPARK_DRIVER/stdout.gz": emr_stdout,
}
"""What is asked, with the number of the run in it, and who answers."""
