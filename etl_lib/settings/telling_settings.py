"""The settings of what is told of runs: logs, the ways of telling, and what counts as healthy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from etl_lib.process.lock import local_folder
from etl_lib.process.secrets import BareUrl, Secret
from etl_lib.settings.strict_model import Location, Section, Share

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
    personal: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Fields of which no value is told, beside user_id and email."""
    report_url: Annotated[BareUrl, StringConstraints(pattern="^https?://")] | None = None
    """Where a web server shows the folder `output`; alerts lead there."""
    alerts: AlertSettings = AlertSettings()


class Health(Section):
    """What the health job calls healthy."""

    max_age_hours: dict[JobName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How long ago the last success of a job may be; a job without a number is not judged by its age."""
    max_failures: Annotated[int, Field(ge=1)] = 1
    """So many failures in a row make a job unhealthy."""
