"""The metrics of a run as typed values, and the one way from them to JSON and back.

The same JSON is metrics.json, what `--json` prints, and `etl_runs.metrics`. A field that has its default is left out;
one without a default never is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass

from etl_lib.process.errors import PlanError
from etl_lib.process.redaction import redacted
from etl_lib.run.metric_parts import (
    Counts,
    DatasetProfile,
    EventMetrics,
    FeatureMetrics,
    OrderChanges,
    OrderMetrics,
    Part,
    ProfileShift,
    PublishMetrics,
    PullMetrics,
    Restore,
    SalesMetrics,
    StepMetrics,
    TableMetrics,
    UpkeepMetrics,
    WindowMetrics,
)
from etl_lib.tables.file_changes import FileChanges
from etl_lib.tables.ledger import FAILED, GateResult, RunManifest, SetAside

_UNSHOWN = {"in_json": False}
"""The metadata of a field that is in no JSON."""


@dataclass
class Metrics:
    """All that a run tells, filled in as it becomes known."""

    run_id: str = ""
    status: str = ""
    job: str = ""
    arguments: Sequence[str] = ()
    started_at: str = ""
    """ISO 8601, in UTC."""
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
    changes: OrderChanges | None = field(default=None, metadata=_UNSHOWN)
    features: FeatureMetrics | None = None
    restore: Restore | None = None
    gates: Sequence[GateResult] = ()
    publish: str | None = None
    """`held` while the sinks wait for a gate."""
    held_by: Sequence[str] = ()
    """The runs that gates hold back, the oldest first."""
    profile: Mapping[str, DatasetProfile] | None = None
    profile_shifts: Sequence[ProfileShift] = ()
    sales: SalesMetrics | None = None
    publishes: dict[str, PublishMetrics] = field(default_factory=dict)
    commit_retries: int | None = None
    steps: list[StepMetrics] = field(default_factory=list)
    message: str | None = None
    error: str | None = None
    """The kind of error with which the run ended."""
    duration_s: float | None = None
    is_refused: bool = field(default=False, metadata=_UNSHOWN)
    """Whether the run did nothing at all: the metrics of the run that holds the warehouse, or of the plan, stay."""

    @property
    def outcomes(self) -> Counts:
        """The records by outcome; empty for a run that read none."""
        return self.batch.outcomes if self.batch else {}

    @property
    def text(self) -> str:
        """All metrics, as the ledger keeps them: one JSON object, in ASCII."""
        return as_json(self, ensure_ascii=True)

    def fail(self, error: Exception, message: str) -> None:
        """Say why the run ended; one that found its plan to be none was refused."""
        self.error, self.message = type(error).__name__, redacted(message)
        self.is_refused = self.is_refused or isinstance(error, PlanError)

    def tell_input(self, batch: OrderMetrics | EventMetrics, manifest: RunManifest) -> None:
        """What was read, and which files could not be."""
        self.batch, self.set_aside = batch, manifest.set_aside


def metrics_of(manifest: RunManifest) -> Metrics:
    """The metrics of a run that has just begun: it has failed until it comes to another end."""
    arguments = [redacted(argument) for argument in manifest.arguments]
    return Metrics(manifest.run_id, FAILED, manifest.job, arguments, manifest.started_at)


def table_metrics(
    rows_before: Counts, rows: Counts, before: Counts, after: Counts, files: Mapping[str, FileChanges | None]
) -> dict[str, TableMetrics]:
    """Each table with its rows, version and files, which are by its name."""
    told = {name: vars(changes) for name, changes in files.items() if changes is not None}
    return {
        name: TableMetrics(rows_before[name], rows[name], before[name], after[name], **told.get(name, {}))
        for name in rows
    }


def as_json(metrics: Metrics, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """All metrics, as one JSON object."""
    return json.dumps(metrics, default=values_by_key, indent=indent, ensure_ascii=ensure_ascii)


def values_by_key(metrics: object) -> dict[str, object]:
    """The keys that some metrics have in JSON, with their values."""
    if not is_dataclass(metrics):
        raise TypeError(f"no metrics: {metrics!r}")
    values: dict[str, object] = {}
    for one in fields(metrics):
        if one.metadata == _UNSHOWN:
            continue
        value = getattr(metrics, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if isinstance(value, Part):
            values |= values_by_key(value)
        elif value != default:
            values[one.name] = value
    return values


def restore_from(text: str) -> Restore:
    """The restore that the metrics of its run hold."""
    return Restore(**json.loads(text)["restore"])
