"""The settings of what is told of runs: logs, the ways of telling, and what counts as healthy."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from etl_lib.process.lock import local_folder
from etl_lib.process.secrets import HIDDEN, BareUrl, Secret
from etl_lib.settings.strict_model import Location, Section

LogLevel = Literal["debug", "info", "warning", "error"]
JobName = Literal["orders", "value_props", "pull", "publish", "quarantine", "maintain"]


def _of_http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise PydanticCustomError(HIDDEN, "expected a URL that begins with http:// or https://")
    return url


class Logs(Section):
    """What is logged, and where to besides stderr."""

    level: LogLevel = "info"
    """The least that this project logs; other libraries never log less than warnings."""
    file: Location | None = None
    """A file on this machine's disk, for JSON lines."""

    @field_validator("file")
    @classmethod
    def _is_local(cls, file: str | None) -> str | None:
        if file is not None and local_folder(file) is None:
            raise ValueError("must be on a disk of this machine")
        return file


class TraceSettings(Section):
    """Where traces go: a receiver of OTLP over HTTP."""

    endpoint: Annotated[BareUrl, AfterValidator(_of_http)]
    """The whole URL, such as `http://collector:4318/v1/traces`."""
    authorization: Secret | None = None
    """The header Authorization, if the receiver asks for one."""
    timeout_s: Annotated[int, Field(ge=1, le=60)] = 5
    """How long the run waits for the receiver at its end."""


class LineageSettings(Section):
    """Where the events of OpenLineage go: to a file, by HTTP, or both."""

    namespace: Annotated[str, Field(min_length=1)] = "orders-lakehouse"
    """The namespace of the jobs, and of tables that are found by name."""
    file: Location | None = None
    """A file on this machine's disk, which gets a line an event."""
    url: Annotated[BareUrl, AfterValidator(_of_http)] | None = None
    """The whole URL, such as `http://marquez:5000/api/v1/lineage`."""
    api_key: Secret | None = None
    timeout_s: Annotated[int, Field(ge=1, le=60)] = 5

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.file is None and self.url is None:
            raise ValueError("needs file or url")
        return self


class Telling(Section):
    """How runs are told, beside metrics.json and the summary."""

    report: bool = True
    """Write a page in HTML about each run, and an index of all."""
    progress: bool = True
    """On a terminal show the steps while they last."""
    traces: TraceSettings | None = None
    """Send each run as a trace of OpenTelemetry."""
    lineage: LineageSettings | None = None
    """Tell what each run read and wrote, as events of OpenLineage."""
    personal: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Fields of which no value is told, beside user_id and email."""


class Health(Section):
    """What the health job calls healthy."""

    max_age_hours: dict[JobName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How long ago the last success of a job may be; a job without a number is not judged by its age."""
    max_failures: Annotated[int, Field(ge=1)] = 1
    """So many failures in a row make a job unhealthy."""
