"""The settings of what is told of runs: logs, the ways of telling, and what counts as healthy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from etl_lib.process.lock import local_folder
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
        if file is not None and local_folder(file) is None:
            raise ValueError("must be on a disk of this machine")
        return file


class Telling(Section):
    """How runs are told, beside metrics.json and the summary."""

    report: bool = True
    """Write a page in HTML about each run, and an index of all."""
    progress: bool = True
    """On a terminal show the steps while they last."""
    personal: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Fields of which no value is told, beside user_id and email."""


class Health(Section):
    """What the health job calls healthy."""

    max_age_hours: dict[JobName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How long ago the last success of a job may be; a job without a number is not judged by its age."""
    max_failures: Annotated[int, Field(ge=1)] = 1
    """So many failures in a row make a job unhealthy."""
