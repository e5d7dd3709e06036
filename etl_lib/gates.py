"""The gates: what stops a run after it is staged and before any table changes."""

from __future__ import annotations

from etl_lib.batch import Batch
from etl_lib.bookkeeping import record_failure
from etl_lib.errors import AccountingError, QualityGateError
from etl_lib.run import Run


def pass_gates(run: Run, batch: Batch) -> None:
    """Let a batch pass that adds up and is good enough; else enter the run as failed and raise why."""
    error = _accounting(batch) or quality_problem(run, batch)
    if error is not None:
        record_failure(run, batch, str(error))
        raise error


def _accounting(batch: Batch) -> AccountingError | None:
    """Every record that was read has exactly one outcome."""
    wrong = [
        f"{dataset}: {read} records were read, {batch.of(dataset).records} have an outcome"
        for dataset, read in batch.read.items()
        if read != batch.of(dataset).records
    ]
    return (
        AccountingError("the outcomes do not add up, no table was changed:\n  " + "\n  ".join(wrong)) if wrong else None
    )


def quality_problem(run: Run, batch: Batch) -> QualityGateError | None:
    """No record broke a rule with severity `fail`, and not too many orders were rejected."""
    problems = [
        f"{dataset}: {counts.rules[name]} records broke {name} ({rule.message})"
        for dataset, counts in batch.datasets.items()
        for name, rule in run.rules.of(dataset).items()
        if rule.severity == "fail" and counts.rules[name]
    ]
    orders, most = batch.of("orders"), run.settings.quality.max_rejected_share
    share = orders.outcomes["rejected"] / max(orders.records, 1)
    if share > most:
        problems.append(f"orders: {share:.1%} rejected, above quality.max_rejected_share {most:.1%}")
    if not problems:
        return None
    return QualityGateError("the quality gate is closed, no table was changed:\n  " + "\n  ".join(problems))
