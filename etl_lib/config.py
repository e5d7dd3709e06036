"""The settings of a run: typed, frozen, and the same for every environment but for their values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Location = Annotated[str, StringConstraints(min_length=1)]
"""A path or URI; a relative one counts from the file (or, for an override, the directory) that names it."""

TimeField = Literal["updated_at", "created_at"]
Layout = Literal["auto", "lines", "array"]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no coerced types, no changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Inputs(Section):
    """Where the landing files are: each a file, a folder or a glob on any Hadoop file system."""

    orders: Location
    users: Location | None = None
    products: Location | None = None
    layout: Layout = "auto"
    """How order files are laid out: `auto` looks at the first character of each, which reads them once more."""


class Quality(Section):
    """What stops a run, apart from the rules with severity `fail`."""

    max_rejected_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Stop before any table changes when more than this share of the orders is rejected."""


class Settings(Section):
    """Everything a run depends on, apart from its command line."""

    warehouse: Location
    """A folder (`<warehouse>/<table>`), or `catalog:<catalog>.<schema>` for tables found by name."""
    output: Location
    """The folder for metrics and plans."""
    rules: Location
    """The YAML file with the rules of each dataset."""
    input: Inputs
    version_fields: Annotated[tuple[TimeField, ...], Field(min_length=1, strict=False)] = ("updated_at", "created_at")
    """The times that make the version of an order: the first that is given counts."""
    quality: Quality = Quality()
    lock_timeout_s: Annotated[float, Field(ge=0)] = 0
    """How long to wait for a warehouse that another run holds, in seconds."""
    samples: Annotated[int, Field(ge=1)] = 20
    """How many keys to show of what a rule or a conflict hit."""
    spark: dict[str, str] = Field(default_factory=dict)
    """Spark settings for a session that this job builds itself; one that is already there is left as it is."""
