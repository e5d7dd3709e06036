"""The gates before applying: what stops a run after it is staged, and what holds back its publish or warns."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from etl_lib.deciding.counts import Batch
from etl_lib.deciding.gate_checks import gate_results
from etl_lib.deciding.profile import TOLD_SHIFT, profile_shifts
from etl_lib.deciding.results import drift_of, record_failure, record_stop
from etl_lib.process.errors import AccountingError, QualityGateError
from etl_lib.run.job import drift_sentences
from etl_lib.run.run import Run
from etl_lib.tables.holds import PASSED
from etl_lib.tables.ledger import STOPPED, GateResult

log = structlog.get_logger(__name__)


def pass_gates(run: Run, batch: Batch) -> None:
    """Let a batch pass that adds up and that no gate stops; else enter the run as failed or stopped, and raise why."""
    if (error := accounting_problem(batch)) is not None:
        record_failure(run, batch, str(error))
        raise error
    tell_profile(run, batch)
    run.metrics.gates = gate_results(run, batch, run.manifest)
    if (stop := stop_of(run.metrics.gates)) is not None:
        record_stop(run, run.manifest, run.metrics, batch, str(stop))
        raise QualityGateError(f"{stop}\n{_how_to_go_on(run, run.metrics.gates)}")
    for gate in run.metrics.gates:
        if gate.state != PASSED:
            log.warning("a gate is closed", gate=gate.gate, state=gate.state, reason=gate.message.replace("\n", "; "))
    for drift in drift_sentences(drift_of(batch), run.settings.drift, "warn"):
        log.warning(f"schema drift in {drift}")
    for ids in batch.unlike_ids:
        log.warning(ids.logged)


def tell_profile(run: Run, batch: Batch) -> None:
    """Put the profile into the metrics, and what has shifted since the run before."""
    quality = run.settings.quality
    least = min(TOLD_SHIFT, quality.max_profile_shift or TOLD_SHIFT)
    run.metrics.profile = batch.profile
    run.metrics.profile_shifts = profile_shifts(
        batch.profile_before, batch.profile, least=least, min_records=run.settings.drift.min_records
    )


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


def stop_of(gates: Sequence[GateResult]) -> QualityGateError | None:
    """The error that says which gates stop a run; None when none does."""
    problems = [gate.message.replace("\n", "\n  ") for gate in gates if gate.state == STOPPED]
    if not problems:
        return None
    return QualityGateError("the quality gate is closed, no table was changed:\n  " + "\n  ".join(problems))


def stopping(gates: Sequence[GateResult]) -> list[str]:
    """The names of the gates that stop a run."""
    return list(dict.fromkeys(gate.gate for gate in gates if gate.state == STOPPED))


def _how_to_go_on(run: Run, gates: Sequence[GateResult]) -> str:
    accept = " ".join(f"--accept-gate {name}" for name in stopping(gates))
    again = f"jobs/orders.py --apply {run.run_id}" if run.applies_stages else f"jobs/{run.manifest.job}.py"
    return f"Mend the input and run again, or carry it out as it is: {again} {accept}"
