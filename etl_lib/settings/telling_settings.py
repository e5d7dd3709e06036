"""The settings of what is told of runs: logs, the ways of telling, and what counts as healthy."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

import httpx
from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from etl_lib.process.lock import local_folder
from etl_lib.process.secrets import HIDDEN, Secret
from etl_lib.settings.api_settings import HttpUrl, is_loopback
from etl_lib.settings.strict_model import Location, Section

LogLevel = Literal["debug", "info", "warning", "error"]
JobName = Literal["orders", "value_props", "pull", "publish", "quarantine", "maintain"]


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


class Telling(Section):
    """How runs are told, beside metrics.json and the summary."""

    report: bool = True
    """Write a page in HTML about each run, and an index of all."""
    progress: bool = True
    """On a terminal show the steps while they last."""
    personal: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Fields of which no value is told, beside user_id and email."""
    metrics: PrometheusSettings = PrometheusSettings()


class Health(Section):
    """What the health job calls healthy."""

    max_age_hours: dict[JobName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How long ago the last success of a job may be; a job without a number is not judged by its age."""
    max_failures: Annotated[int, Field(ge=1)] = 1
    """So many failures in a row make a job unhealthy."""
