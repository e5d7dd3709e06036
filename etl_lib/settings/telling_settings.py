"""The settings of what is told of runs: logs, the ways of telling, and what counts as healthy."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

import httpx
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from etl_lib.process.lock import local_folder
from etl_lib.process.secrets import HIDDEN, BareUrl, Secret
from etl_lib.settings.api_settings import HttpUrl, is_loopback
from etl_lib.settings.strict_model import Location, Section, Share

PERSONAL = ("user_id", "email")
"""Fields that are personal in every shop: of them no value is told."""
LogLevel = Literal["debug", "info", "warning", "error"]
JobName = Literal["orders", "value_props", "pull", "publish", "quarantine", "maintain"]
AlertKind = Literal[
    "run_failed",
    "retries_used_up",
    "gate_stopped",
    "gate_held",
    "too_many_rejected",
    "conflicts",
    "drift",
    "sink",
    "no_data",
    "silent",
    "recovered",
]
"""What somebody can be alerted to."""


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
        return _on_this_machine(file)


def _on_this_machine(place: str | None) -> str | None:
    if place is not None and local_folder(place) is None:
        raise ValueError("must be on a disk of this machine")
    return place


class Pushgateway(Section):
    """The Prometheus Pushgateway that gets the metrics of each run.

    Credentials are references (`token`, or `username` and `password`), never values, and never part of the URL.
    """

    url: HttpUrl | None = None
    """Its address, without `/metrics`; none: nothing is pushed."""
    grouping: dict[str, Annotated[str, StringConstraints(min_length=1)]] = Field(default_factory=dict)
    """Further labels of all that is pushed, such as `environment`."""
    token: Secret | None = None
    """Sent as a bearer token."""
    username: Secret | None = None
    password: Secret | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 10
    """The longest wait for the connection, and for the answer."""
    ca_file: Location | None = None
    """The certificates (PEM) of a private certificate authority, trusted instead of the public ones."""
    allow_http: bool = False
    """Allow plain http to other machines."""

    @field_validator("grouping")
    @classmethod
    def _has_label_names(cls, grouping: dict[str, str]) -> dict[str, str]:
        for name in grouping:
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__") or name in ("job", "job_name"):
                raise ValueError(f"{name!r} is no label of its own: letters, digits and _, and not job or job_name")
        return grouping

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        url = httpx.URL(self.url or "")
        problems = {
            "url: plain http can be read by everybody on the way; write https, or set allow_http: true where the "
            "network is trusted": url.scheme == "http" and not self.allow_http and not is_loopback(url),
            "username and password go together": (self.username is None) != (self.password is None),
            "give a token or a username and password, not both": self.token is not None and self.username is not None,
        }
        for problem, is_so in problems.items():
            if is_so:
                raise PydanticCustomError(HIDDEN, "{problem}", {"problem": problem})
        return self


class PrometheusSettings(Section):
    """How Prometheus gets the metrics of each run. Needs the extra `metrics`."""

    folder: Location | None = None
    """The folder on this machine that node_exporter's textfile collector reads; none: no file is written."""
    pushgateway: Pushgateway = Pushgateway()

    @field_validator("folder")
    @classmethod
    def _is_local(cls, folder: str | None) -> str | None:
        return _on_this_machine(folder)

    @property
    def is_on(self) -> bool:
        """Whether the metrics go anywhere."""
        return self.folder is not None or self.pushgateway.url is not None


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


class AlertRoute(Section):
    """One channel to people: where it leads, and what it carries."""

    name: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_-]+$")]
    """What the channel is called in logs and in the state of the alerts."""
    url: Secret
    """An Apprise URL, which holds credentials: given by reference."""
    kinds: Annotated[tuple[AlertKind, ...], Field(min_length=1, strict=False)] | None = None
    """The kinds that it carries; None is all of them."""

    def carries(self, kind: str) -> bool:
        """Whether alerts of this kind go this way."""
        return self.kinds is None or kind in self.kinds


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class AlertSettings(Section):
    """Who is alerted to what, and how often."""

    routes: Annotated[tuple[AlertRoute, ...], Field(strict=False)] = ()
    """Without any, nobody is alerted."""
    repeat_after_hours: Annotated[float, Field(gt=0)] = 24
    """A channel gets the same alert again only after so many hours, or after it was over in between."""
    most_per_hour: Annotated[int, Field(ge=1)] = 20
    """The most alerts that a channel gets within an hour."""
    retries: Annotated[int, Field(ge=1)] = 3
    """So many failures of a job in a row use its retries up."""
    rejected_share: Share = 0.1
    """A greater share of the records of a dataset that a run rejects is too much."""
    no_data_hours: dict[Literal["orders"], Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """For how many hours the runs of a job may find nothing new."""
    muted_until: dict[AlertKind, Annotated[datetime, Field(strict=False), AfterValidator(_in_utc)]] = Field(
        default_factory=dict
    )
    """Until when nobody is alerted to a kind; a time without a zone is in UTC."""

    @field_validator("routes")
    @classmethod
    def _have_their_own_names(cls, routes: tuple[AlertRoute, ...]) -> tuple[AlertRoute, ...]:
        names = [route.name for route in routes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two routes have the name {', '.join(twice)}")
        return routes


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
    report_url: Annotated[BareUrl, StringConstraints(pattern="^https?://")] | None = None
    """Where a web server shows the folder `output`; alerts lead there."""
    alerts: AlertSettings = AlertSettings()
    metrics: PrometheusSettings = PrometheusSettings()


class Health(Section):
    """What the health job calls healthy."""

    max_age_hours: dict[JobName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How long ago the last success of a job may be; a job without a number is not judged by its age."""
    max_failures: Annotated[int, Field(ge=1)] = 1
    """So many failures in a row make a job unhealthy."""
