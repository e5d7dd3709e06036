"""The gates: what stops a run after it is staged and before any table changes."""

from __future__ import annotations

import structlog

from etl_lib.deciding.counts import Batch
from etl_lib.deciding.results import drift_of, record_failure
from etl_lib.process.errors import AccountingError, QualityGateError
from etl_lib.reading.datasets import DATASETS
from etl_lib.run.job import drift_sentences
from etl_lib.run.run import Run
from etl_lib.tables.ledger import RunManifest

log = structlog.get_logger(__name__)


def pass_gates(run: Run, batch: Batch) -> None:
    """Let a batch pass that adds up and is good enough; else enter the run as failed and raise why."""
    error = accounting_problem(batch) or quality_problem(run, batch, run.manifest)
    if error is not None:
        record_failure(run, batch, str(error))
        raise error
    for drift in drift_sentences(drift_of(batch), run.settings.drift, "warn"):
        log.warning(f"schema drift in {drift}")
    for ids in batch.unlike_ids:
        log.warning(ids.logged)


def accounting_problem(batch: Batch) -> AccountingError | None:
    """Every record that was read has exactly one outcome."""
    wrong = [
        f"{dataset}: {read} records were read, {batch.of(dataset).records} have an outcome"
        for dataset, read in batch.read.items()
        if read != batch.of(dataset).records
    ]
    if not wrong:
        return None
    return AccountingError("the outcomes do not add up, no table was changed:\n  " + "\n  ".join(wrong))


def quality_problem(run: Run, batch: Batch, manifest: RunManifest) -> QualityGateError | None:
    """No rule with severity `fail` is broken, nothing drifted with the policy `fail`, and not too many records were
    rejected; of a replay all were rejected before.
    """
    problems = [
        f"{dataset}: {counts.rules[name]} records broke {name} ({rule.message})"
        for dataset, counts in batch.datasets.items()
        for name, rule in run.rules.of(dataset).items()
        if rule.severity == "fail" and counts.rules[name]
    ]
    most = run.settings.quality.max_rejected_share
    for dataset, counts in batch.datasets.items():
        share = counts.outcomes["rejected"] / max(counts.records, 1)
        if DATASETS[dataset].is_limited and not manifest.is_replay and share > most:
            problems.append(f"{dataset}: {share:.1%} rejected, above quality.max_rejected_share {most:.1%}")
    problems += [f"schema drift in {drift}" for drift in drift_sentences(drift_of(batch), run.settings.drift, "fail")]
    if not problems:
        return None
    return QualityGateError("the quality gate is closed, no table was changed:\n  " + "\n  ".join(problems))
