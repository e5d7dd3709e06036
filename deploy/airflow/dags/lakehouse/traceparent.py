"""Which trace of OpenTelemetry a job belongs to, as the environment variable `TRACEPARENT` tells it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


def traceparent(ti: RuntimeTaskInstanceProtocol) -> str:
    """The span that starts the job, in the form of W3C Trace Context.

    It is Airflow's own span of the task where Airflow sends traces (`[traces] otel_on`) and keeps this one. Else it is
    made of names: the trace is the first 32 hexadecimal digits of the SHA-256 of `DAG_ID/RUN_ID`, the span the first 16
    of that of `DAG_ID/RUN_ID/TASK_ID`. So all jobs of one DAG run are in one trace, and everybody can work out which.
    """
    if trace.get_current_span().get_span_context().trace_flags.sampled:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier["traceparent"]
    run = f"{ti.dag_id}/{ti.run_id}"
    return f"00-{_digest(run)[:32]}-{_digest(f'{run}/{ti.task_id}')[:16]}-01"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
