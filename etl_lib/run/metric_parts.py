"""The parts of a run's metrics: what is known of its input, its tables, its weeks, its gates, its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

Counts = Mapping[str, int]
Drift = Mapping[str, Mapping[str, Counts]]
"""The records (of CSV: the files) with each name, by dataset and kind; without what did not drift."""


class Part:
    """Metrics whose keys stand among those of what they are a part of."""


@dataclass(frozen=True)
class StepMetrics:
    """One step: when it began after the start of the run and how long it took, in seconds, and what it counted."""

    name: str
    began_s: float
    seconds: float
    counts: Counts


@dataclass(frozen=True)
class FieldProfile:
    """One field of the accepted records of a dataset; values as texts."""

    nulls: int
    distinct: int
    """Approximate."""
    least: str | None = None
    greatest: str | None = None
    quantiles: Sequence[str] = ()
    """Of a number, approximately: a quarter, half, and three quarters of the records are at most this."""
    frequent: Sequence[tuple[str, int]] = ()
    """The most frequent values with their records; never of a personal field."""


@dataclass(frozen=True)
class DatasetProfile:
    """The accepted records of one dataset."""

    records: int
    fields: Mapping[str, FieldProfile]


@dataclass(frozen=True)
class ProfileShift:
    """What differs much between the profile of a run and that of the run before."""

    dataset: str
    field: str
    measure: str
    before: float
    now: float


@dataclass(frozen=True)
class SalesMetrics:
    """What daily_sales says after a run of the latest dates that it touched, and what its own orders sold the most of.

    Each has a `date`, `country` or `sku`, `currency`, `units`, and `revenue` as a text with all its digits; none adds
    two currencies.
    """

    days: Sequence[Mapping[str, Any]]
    countries: Sequence[Mapping[str, Any]]
    products: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class DatasetMetrics:
    """One dataset of the input."""

    records: int
    outcomes: Counts
    rules: Counts
    unknown_fields: Counts
    newest: str | None = None
    """The newest version of an accepted record, in UTC."""


@dataclass(frozen=True)
class TableMetrics:
    """The rows and the Delta version of a table before and after the run, and its files where its log says so."""

    rows_before: int
    rows_after: int
    version_before: int
    version_after: int
    files_added: int | None = None
    files_removed: int | None = None
    bytes_added: int | None = None
    bytes_removed: int | None = None


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
    """What a plan of orders shows a person beyond its numbers."""

    orders: Sequence[Mapping[str, Any]]
    """The first ones: `order_id`, `outcome`, and the columns `before` and `after`, as texts by their names."""
    more: int
    """How many orders there are besides."""
    dates: Mapping[date, Counts]
    """The orders by outcome of each date, the first one first."""
    files: Mapping[str, tuple[int, int]]
    """How many files of a table hold a row that changes, and how many it has, by its name."""
