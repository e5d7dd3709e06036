"""What is known of a run from its start on, and the versions of landing files that it loaded or set aside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

REPLAY_JOB = "quarantine"
"""The job whose stages hold entries of the quarantine instead of the records of files."""


@dataclass(frozen=True)
class SetAside:
    """A version of a landing file that could not be read, and why; `modified_at` in microseconds since the epoch."""

    dataset: str
    path: str
    size: int
    modified_at: int
    reason: str


@dataclass(frozen=True)
class LoadedFile:
    """A version of a landing file with the number of its records and the first and last version of an order among
    them; times in microseconds since the epoch.
    """

    dataset: str
    path: str
    size: int
    modified_at: int
    records: int
    min_version_at: int | None
    max_version_at: int | None


@dataclass(frozen=True)
class RunManifest:
    """What finishing a run needs to know of its start."""

    run_id: str
    job: str
    arguments: tuple[str, ...]
    started_at: str
    is_plan: bool
    """A plan waits for `--apply`; any other stage is finished by the next run."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """The versions of PUBLISHED_TABLES that the run was staged against: what to go back to, to undo it."""
    set_aside: tuple[SetAside, ...] = ()
    """The files that wait, because they cannot be read as they are."""

    @property
    def is_replay(self) -> bool:
        """Whether the records come from the quarantine and not from files."""
        return self.job == REPLAY_JOB


def set_aside_from(text: str) -> list[SetAside]:
    """The files in `set_aside` of a run."""
    return [SetAside(**file) for file in json.loads(text)]
