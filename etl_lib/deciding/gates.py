"""The gates: what stops a run after it is staged and before any table changes."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from etl_lib.deciding.bookkeeping import record_failure
from etl_lib.deciding.counts import Batch, Counted, DatasetCounts, drift_of
from etl_lib.process.errors import AccountingError, QualityGateError
from etl_lib.run.report import drift_told
from etl_lib.run.run import Run
from etl_lib.tables.ledger import RunManifest

log = structlog.get_logger(__name__)


def pass_gates(run: Run, batch: Batch) -> None:
    """Let a batch pass that adds up and is good enough; else enter the run as failed and raise why."""
    error = accounting_problem(batch) or quality_problem(run, batch, limited_datasets(run.manifest))
    if error is not None:
        record_failure(run, batch, str(error))
        raise error
    warn_of_drift(run, batch)
    for unlike in batch.unlike_ids:
        log.warning(unlike.told())


def warn_of_drift(run: Run, batch: Counted) -> None:
    """Warn of each dataset and kind of schema drift with the policy `warn`."""
    for drift in drift_told(drift_of(batch), run.settings.drift, "warn"):
        log.warning(f"schema drift in {drift}")


def limited_datasets(manifest: RunManifest) -> Sequence[str]:
    """The datasets of which not too many records may be rejected; of a replay all were rejected before."""
    return () if manifest.is_replay else ("orders",)


def accounting_problem(batch: Counted) -> AccountingError | None:
    """Every record that was read has exactly one outcome."""
    # A dataset all of whose files were set aside has nothing in the stage.
    outcomes = {dataset: counts.records for dataset, counts in batch.datasets.items()}
    wrong = [
        f"{dataset}: {read} records were read, {outcomes.get(dataset, 0)} have an outcome"
        for dataset, read in batch.read.items()
        if read != outcomes.get(dataset, 0)
    ]
    return (
        AccountingError("the outcomes do not add up, no table was changed:\n  " + "\n  ".join(wrong)) if wrong else None
    )


def quality_problem(run: Run, batch: Counted, limited: Sequence[str]) -> QualityGateError | None:
    """No rule with severity `fail` is broken, nothing drifted with the policy `fail`, and of the `limited` datasets not
    too many records were rejected.
    """
    problems = [
        f"{dataset}: {counts.rules[name]} records broke {name} ({rule.message})"
        for dataset, counts in batch.datasets.items()
        for name, rule in run.rules.of(dataset).items()
        if rule.severity == "fail" and counts.rules[name]
    ]
    most = run.settings.quality.max_rejected_share
    for dataset in limited:
        counts = batch.datasets.get(dataset, DatasetCounts())
        share = counts.outcomes["rejected"] / max(counts.records, 1)
        if share > most:
            problems.append(f"{dataset}: {share:.1%} rejected, above quality.max_rejected_share {most:.1%}")
    problems += [f"schema drift in {drift}" for drift in drift_told(drift_of(batch), run.settings.drift, "fail")]
    if not problems:
        return None
    return QualityGateError("the quality gate is closed, no table was changed:\n  " + "\n  ".join(problems))
