"""What tells one job from another, and what the names mean that they count by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etl_lib.run.metric_parts import Drift
from etl_lib.settings.config import DriftKind, DriftPolicies, DriftPolicy
from etl_lib.tables.schemas import Table

Meanings = Mapping[str, str]
"""What the names mean that a job counts by: its outcomes, or its invariants."""

MEANINGS = {
    "inserted": "new",
    "updated": "better than the table's version",
    "unchanged": "already in the table as they are",
    "stale": "the table has a better version",
    "superseded": "a better version is in the same batch",
    "out_of_window": "outside --since/--until",
    "rejected": "in quarantine",
}
EVENT_MEANINGS = {"valid": "counted where a window or a target week holds its day", "rejected": "in quarantine"}
DRIFT_MEANINGS: dict[DriftKind, str] = {
    "new_field": "fields that no table has",
    "lost_field": "fields that no record has",
    "changed_type": "fields of another type, their records rejected",
    "changed_case": "fields in another case, read in CSV alone",
}


@dataclass(frozen=True)
class Job:
    """A job: its name, its tables, and what the names mean that it counts by."""

    name: str
    tables: Sequence[Table]
    meanings: Meanings


def drift_sentences(drift: Drift, policies: DriftPolicies, *policy: DriftPolicy) -> list[str]:
    """A sentence for each dataset and kind that has drifted and has one of these policies."""
    return [
        f"{dataset}, {meaning}: " + ", ".join(f"{name} ({n})" for name, n in kinds[kind].items())
        for dataset, kinds in drift.items()
        for kind, meaning in DRIFT_MEANINGS.items()
        if kind in kinds and getattr(policies, kind) in policy
    ]
