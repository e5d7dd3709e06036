"""The gates: what stops a run after it is staged and before any table changes."""

from __future__ import annotations

from collections.abc import Sequence

from etl_lib.batch import Batch, Counted, DatasetCounts
from etl_lib.bookkeeping import record_failure
from etl_lib.errors import AccountingError, QualityGateError
from etl_lib.run import Run


def pass_gates(run: Run, batch: Batch) -> None:
    """Let a batch pass that adds up and is good enough; else enter the run as failed and raise why."""
    error = accounting_problem(batch) or quality_problem(run, batch)
    if error is not None:
        record_failure(run, batch, str(error))
        raise error


def accounting_problem(batch: Counted) -> AccountingError | None:
    """Every record that was read has exactly one outcome."""
    wrong = [
        f"{dataset}: {read} records were read, {batch.datasets[dataset].records} have an outcome"
        for dataset, read in batch.read.items()
        if read != batch.datasets[dataset].records
    ]
    return (
        AccountingError("the outcomes do not add up, no table was changed:\n  " + "\n  ".join(wrong)) if wrong else None
    )


def quality_problem(run: Run, batch: Counted, limited: Sequence[str] = ("orders",)) -> QualityGateError | None:
    """No record broke a rule with severity `fail`, and of the `limited` datasets not too many were rejected."""
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
    if not problems:
        return None
    return QualityGateError("the quality gate is closed, no table was changed:\n  " + "\n  ".join(problems))
