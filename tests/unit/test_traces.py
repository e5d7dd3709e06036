"""A run as a trace: sent to a real receiver on this machine, which takes OTLP over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from etl_lib.process.errors import ConfigError
from etl_lib.run.metric_parts import StepMetrics, TableMetrics
from etl_lib.run.metrics import Metrics
from etl_lib.settings.telling_settings import TraceSettings
from etl_lib.telling.machines.traces import VARIABLE, TraceError, Traces, trace_and_parent
from etl_lib.telling.ways import begin, need, tell

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BEGUN = 1_714_557_600_000_000_000


def run(status: str = "done", **about: Any) -> Metrics:
    steps = [StepMetrics("stage", 1.0, 2.5, {"records": 3}), StepMetrics("dim_user", 3.5, 0.5, {})]
    tables = {"dim_user": TableMetrics(0, 2, 0, 1, bytes_added=7), "dim_order": TableMetrics(0, 0, 0, 0)}
    started = "2024-05-01T10:00:00.000+00:00"
    return Metrics("r1", status, "orders", started_at=started, steps=steps, tables=tables, duration_s=5.0, **about)


@dataclass
class Receiver:
    """What came in."""

    code: int = 200
    headers: list[str | None] = field(default_factory=list)
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    port: int = 0

    @property
    def spans(self) -> dict[str, Any]:
        [request] = self.requests
        return {span.name: span for span in request.resource_spans[0].scope_spans[0].spans}

    @property
    def settings(self) -> TraceSettings:
        return TraceSettings(endpoint=f"http://127.0.0.1:{self.port}/v1/traces", authorization="${OTLP_TOKEN}")


@contextmanager
def receiver(code: int = 200) -> Iterator[Receiver]:
    got = Receiver(code)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.headers.append(self.headers["Authorization"])
            got.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(got.code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        got.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield got
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTLP_TOKEN", "Bearer of the traces")
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_run_its_steps_and_its_tables_are_spans_of_the_trace_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, CALLER)
    with receiver() as got:
        Traces(got.settings).tell(run(error=None))
    spans = got.spans
    assert got.headers == ["Bearer of the traces"]
    assert set(spans) == {"orders", "stage", "dim_user", "table dim_user"}
    assert {span.trace_id.hex() for span in spans.values()} == {"0af7651916cd43dd8448eb211c80319c"}
    parents = {name: span.parent_span_id for name, span in spans.items()}
    assert parents == {
        "orders": bytes.fromhex("b7ad6b7169203331"),
        "stage": spans["orders"].span_id,
        "dim_user": spans["orders"].span_id,
        "table dim_user": spans["dim_user"].span_id,
    }
    times = {name: (span.start_time_unix_nano - BEGUN, span.end_time_unix_nano - BEGUN) for name, span in spans.items()}
    second = 1_000_000_000
    assert times["orders"] == (0, 5 * second)
    assert times["stage"] == (second, 3.5 * second)
    assert times["table dim_user"] == times["dim_user"] == (3.5 * second, 4 * second)
    attributes = {each.key: each.value.int_value for each in spans["table dim_user"].attributes}
    assert (attributes["orders_lakehouse.rows_after"], attributes["orders_lakehouse.bytes_added"]) == (2, 7)
    assert spans["orders"].status.code == 0


def test_a_failed_run_is_a_failed_span_and_a_refused_one_is_none() -> None:
    with receiver() as got:
        Traces(got.settings).tell(run("failed", message="why", error="SchemaError"))
        Traces(got.settings).tell(run("failed", is_refused=True))
    status = got.spans["orders"].status
    assert (status.code, status.message) == (2, "why")
    assert "SchemaError" in [each.value.string_value for each in got.spans["orders"].attributes]


def test_a_receiver_that_refuses_fails_this_way_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with receiver(400) as got, pytest.raises(TraceError, match="did not take the trace"):
        Traces(got.settings).tell(run())
    nobody = TraceSettings(endpoint="http://127.0.0.1:9/v1/traces", timeout_s=1)
    tell([Traces(nobody)], run())
    assert "could not be told in one way" in capsys.readouterr().out


def test_the_lines_of_the_log_carry_the_trace_until_the_run_is_told() -> None:
    with receiver() as got:
        way = Traces(got.settings)
        begin([way], run())
        assert structlog.contextvars.get_contextvars()["trace_id"] == trace_and_parent("r1")[0]
        way.tell(run())
    assert "trace_id" not in structlog.contextvars.get_contextvars()
    assert {span.trace_id.hex() for span in got.spans.values()} == {trace_and_parent("r1")[0]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (CALLER.upper(), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", None),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", None),
        ("garbage", None),
    ],
    ids=["in capitals", "no trace", "no span", "no context"],
)
def test_only_a_context_that_is_one_is_taken(
    given: str, expected: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, given)
    found = trace_and_parent("r1")
    assert found == (expected or (found[0], None))
    assert len(found[0]) == 32


@pytest.mark.parametrize("module", ["no_such_package.inside", "etl_lib.no_such_module"])
def test_a_way_whose_package_is_not_there_is_refused_at_the_start(module: str) -> None:
    with pytest.raises(ConfigError, match=r"telling\.traces: the packages .* pip install 'orders-lakehouse\[otel\]'"):
        need("otel", module, "telling.traces")
