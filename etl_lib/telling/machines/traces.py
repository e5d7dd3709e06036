"""A run as a trace of OpenTelemetry: the run, its steps, and the tables that they changed, sent by OTLP over HTTP.

A run joins the trace of whoever started it, where the environment has a `TRACEPARENT` (W3C Trace Context). The spans
are made at the end from the times of the steps, so that nothing of OpenTelemetry is at work while the run is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import structlog

from etl_lib import RELEASE
from etl_lib.process.errors import LakehouseError
from etl_lib.process.secrets import reveal
from etl_lib.run.metric_parts import StepMetrics
from etl_lib.run.metrics import Metrics
from etl_lib.settings.telling_settings import TraceSettings
from etl_lib.tables.ledger import FAILED, STOPPED

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

VARIABLE = "TRACEPARENT"
SERVICE = "orders-lakehouse"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}")
_NANOS = 1_000_000_000


class TraceError(LakehouseError):
    """A trace could not be delivered."""


@dataclass(frozen=True)
class Traces:
    """Sends the trace of a run."""

    settings: TraceSettings

    def begin(self, metrics: Metrics) -> None:
        """From here on the lines of the log carry the id of the trace."""
        structlog.contextvars.bind_contextvars(trace_id=trace_and_parent(metrics.run_id)[0])

    def tell(self, metrics: Metrics) -> None:
        """Send it; TraceError when the receiver does not take it. A run that was refused has none."""
        if not metrics.is_refused:
            self._send(spans_of(metrics))
        structlog.contextvars.unbind_contextvars("trace_id")

    def _send(self, spans: Iterable[ReadableSpan]) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 - of the same extra

        authorization = self.settings.authorization
        headers = {} if authorization is None else {"Authorization": reveal(authorization)}
        exporter = OTLPSpanExporter(endpoint=self.settings.endpoint, headers=headers, timeout=self.settings.timeout_s)
        try:
            if exporter.export(list(spans)) is not SpanExportResult.SUCCESS:
                raise TraceError(f"{self.settings.endpoint} did not take the trace; the log above says why")
        finally:
            exporter.shutdown()


def trace_and_parent(run_id: str) -> tuple[str, str | None]:
    """The trace that a run belongs to and the span that started it, both in hexadecimal digits.

    Without a `TRACEPARENT`, or with one that is none, the run is a trace of its own, whose id follows from its own.
    """
    if match := _TRACEPARENT.fullmatch(os.environ.get(VARIABLE, "").strip().lower()):
        return match["trace"], match["span"]
    return sha256(run_id.encode()).hexdigest()[:32], None


def spans_of(metrics: Metrics) -> list[ReadableSpan]:
    """The span of a run, those of its steps, and in these those of the tables that they changed."""
    from opentelemetry import trace  # noqa: PLC0415 - an extra: who has no traces need not have it
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    trace_id, parent_id = trace_and_parent(metrics.run_id)
    ended: list[ReadableSpan] = []

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return int(trace_id, 16)

    class Collector(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    resource = Resource({"service.name": SERVICE, "service.version": RELEASE})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=Ids(), shutdown_on_exit=False)
    provider.add_span_processor(Collector())
    tracer = provider.get_tracer(SERVICE, RELEASE)
    begun = int(datetime.fromisoformat(metrics.started_at).timestamp() * _NANOS)

    def at(seconds: float) -> int:
        return begun + int(seconds * _NANOS)

    outside = None
    if parent_id is not None:
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        caller = trace.SpanContext(int(trace_id, 16), int(parent_id, 16), is_remote=True, trace_flags=flags)
        outside = trace.set_span_in_context(trace.NonRecordingSpan(caller))
    run = tracer.start_span(metrics.job, outside, attributes=_of_run(metrics), start_time=begun)
    for step in metrics.steps:
        inside = trace.set_span_in_context(run)
        span = tracer.start_span(step.name, inside, attributes=dict(step.counts), start_time=at(step.began_s))
        if attributes := _of_table(metrics, step):
            within = trace.set_span_in_context(span)
            table = tracer.start_span(f"table {step.name}", within, attributes=attributes, start_time=at(step.began_s))
            table.end(at(step.began_s + step.seconds))
        span.end(at(step.began_s + step.seconds))
    if metrics.status in (FAILED, STOPPED):
        run.set_status(trace.Status(trace.StatusCode.ERROR, metrics.message))
    run.end(at(metrics.duration_s or 0))
    return ended


def _of_run(metrics: Metrics) -> dict[str, Any]:
    outcomes = {f"orders_lakehouse.records.{name}": number for name, number in metrics.outcomes.items()}
    error = {"error.type": metrics.error} if metrics.error else {}
    about = {"orders_lakehouse.run_id": metrics.run_id, "orders_lakehouse.status": metrics.status}
    return {**about, **error, **outcomes}


def _of_table(metrics: Metrics, step: StepMetrics) -> Mapping[str, Any]:
    """What a step did to the table of its name; empty for a step that changed none."""
    table = (metrics.tables or {}).get(step.name)
    if table is None or table.version_after == table.version_before:
        return {}
    numbers = {name: number for name, number in vars(table).items() if number is not None}
    return {"db.collection.name": step.name, **{f"orders_lakehouse.{name}": number for name, number in numbers.items()}}
