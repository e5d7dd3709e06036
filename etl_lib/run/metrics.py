"""The metrics of a run as typed values, and the one way from them to JSON and back.

The same JSON is metrics.json, what `--json` prints, and `etl_runs.metrics`. A field that has its default is left out;
one without a default never is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import date
from typing import Any

from etl_lib.tables.run_manifest import Manifest, SetAside

Counts = Mapping[str, int]
Drift = Mapping[str, Mapping[str, Counts]]
"""The records (of CSV: the files) with each name, by dataset and kind; without what did not drift."""


class Part:
    """Metrics whose keys stand among those of what they are a part of."""


@dataclass(frozen=True)
class DatasetMetrics:
    """One dataset of the input."""

    records: int
    outcomes: Counts
    rules: Counts
    unknown_fields: Counts


@dataclass(frozen=True)
class TableMetrics:
    """The rows and the Delta version of a table before and after the run."""

    rows_before: int
    rows_after: int
    version_before: int
    version_after: int


@dataclass(frozen=True, kw_only=True)
class OrderMetrics(Part):
    """The input of a run of orders, or of a replay."""

    input_orders: int
    blank_lines: int
    valid_orders: int
    deduped_orders: int
    items: int
    dim_user: int | None = None
    dim_product: int | None = None
    outcomes: Counts
    conflicts: int
    conflict_orders: Sequence[str]
    datasets: Mapping[str, DatasetMetrics]
    drift: Drift
    warnings: Sequence[str]
    dates: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class EventMetrics(Part):
    """The input of a run of value_props."""

    outcomes: Counts
    input_prints: int
    valid_prints: int
    rejected_prints: int
    input_taps: int
    valid_taps: int
    rejected_taps: int
    input_pays: int
    valid_pays: int
    rejected_pays: int
    blank_lines: int
    repeated_headers: int
    datasets: Mapping[str, DatasetMetrics]
    drift: Drift
    warnings: Sequence[str] | None = None
    """None until the weeks are judged."""


@dataclass(frozen=True, kw_only=True)
class WindowMetrics(Part):
    """The weeks that a run of value_props is about."""

    reference_date: str
    target_week: str
    target_week_complete: bool
    target_weeks: Sequence[str]
    window: str
    window_weeks: int
    window_first_day: str
    window_last_day: str
    pays_before_windows: int
    pays_after_windows: int


@dataclass(frozen=True)
class FeatureMetrics(Part):
    """What a run of value_props has written."""

    rows: int
    clicked_rows: int
    duplicate_prints: int
    duplicate_taps: int
    duplicate_pays: int
    files: Sequence[str]
    versions: Counts


@dataclass(frozen=True)
class CheckMetrics(Part):
    """Violations and sample keys by invariant."""

    invariants: Counts
    samples: Mapping[str, Sequence[str]]
    not_checked: Sequence[str]


@dataclass(frozen=True)
class UndoMetrics(Part):
    """What a restore undoes."""

    restored_run_id: str
    undone_runs: Sequence[str]
    files_new_again: int


@dataclass
class UpkeepMetrics(Part):
    """What a run of the maintain job does."""

    task: str = ""
    tables: dict[str, dict[str, int]] | None = None
    """What was done to each table, by its name."""
    check: CheckMetrics | None = None
    undo: UndoMetrics | None = None


@dataclass(frozen=True)
class Restore:
    """What undoing a run does: decided once, entered in etl_runs, and carried out from there."""

    restored_run_id: str
    versions: Mapping[str, int]
    """The version that each table goes back to, by its name."""
    undone_runs: Sequence[str]
    """The run itself, and those after it that changed the same tables; also such as were cut off."""
    files: int
    """How many landing files count as new again."""


@dataclass(frozen=True)
class PullMetrics:
    """One pull of a dataset."""

    pull_id: str
    status: str
    pages: int
    records: int
    malformed_pages: int
    resumed: bool
    folder: str


@dataclass(frozen=True)
class ChangeMetrics(Part):
    """What a sink lacks: everything, for a reason, or the changes since its previous publish."""

    is_full: bool
    reason: str | None
    previous: str | None
    versions: Counts
    groups: Counts
    dates: Counts


@dataclass
class PublishMetrics:
    """One publish to a sink."""

    address: str
    changes: ChangeMetrics | None = None
    publish_id: str | None = None
    rows: Counts | None = None
    status: str = ""
    message: str | None = None


@dataclass(frozen=True)
class OrderChanges:
    """What a plan of orders shows a person beyond its numbers; it is in no JSON."""

    orders: Sequence[Mapping[str, Any]]
    """The first ones: `order_id`, `outcome`, and the columns `before` and `after`, as texts by their names."""
    more: int
    """How many orders there are besides."""
    dates: Mapping[date, Counts]
    """The orders by outcome of each date, the first one first."""
    files: Mapping[str, tuple[int, int]]
    """How many files of a table hold a row that changes, and how many it has, by its name."""


@dataclass
class Metrics:
    """All that a run tells, filled in as it becomes known."""

    run_id: str = ""
    status: str = ""
    upkeep: UpkeepMetrics = field(default_factory=UpkeepMetrics)
    finished_restores: list[str] = field(default_factory=list)
    finished_runs: list[str] = field(default_factory=list)
    pulls: dict[str, PullMetrics] = field(default_factory=dict)
    unmatched: Mapping[str, str] | None = None
    batch: OrderMetrics | EventMetrics | None = None
    inferred: Counts | None = None
    set_aside: Sequence[SetAside] | None = None
    replayed: int | None = None
    discarded: int | None = None
    tables: Mapping[str, TableMetrics] | None = None
    windows: WindowMetrics | None = None
    weeks: Mapping[str, Counts] | None = None
    changes: OrderChanges | None = None
    features: FeatureMetrics | None = None
    restore: Restore | None = None
    publishes: dict[str, PublishMetrics] = field(default_factory=dict)
    commit_retries: int | None = None
    message: str | None = None
    duration_s: float | None = None

    @property
    def outcomes(self) -> Counts:
        """The records by outcome; empty for a run that read none."""
        return self.batch.outcomes if self.batch else {}

    @property
    def text(self) -> str:
        """All metrics, as the ledger keeps them: one JSON object, in ASCII."""
        return as_json(self, ensure_ascii=True)

    def tell_input(self, batch: OrderMetrics | EventMetrics, manifest: Manifest) -> None:
        """What was read, and which files could not be."""
        self.batch, self.set_aside = batch, manifest.set_aside


def table_metrics(rows_before: Counts, rows: Counts, before: Counts, after: Counts) -> dict[str, TableMetrics]:
    """Each table with its rows and version, which are by its name."""
    return {name: TableMetrics(rows_before[name], rows[name], before[name], after[name]) for name in rows}


def as_json(metrics: Metrics, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """All metrics, as one JSON object."""
    return json.dumps(metrics, default=values_by_key, indent=indent, ensure_ascii=ensure_ascii)


def values_by_key(metrics: object) -> dict[str, object]:
    """The keys that some metrics have in JSON, with their values."""
    if not is_dataclass(metrics):
        raise TypeError(f"no metrics: {metrics!r}")
    values: dict[str, object] = {}
    for one in fields(metrics):
        value = getattr(metrics, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if isinstance(value, Part):
            values |= values_by_key(value)
        elif value != default and not isinstance(value, OrderChanges):
            values[one.name] = value
    return values


def restore_from(text: str) -> Restore:
    """The restore that the metrics of its run hold."""
    return Restore(**json.loads(text)["restore"])
