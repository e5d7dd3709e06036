"""What each gate says of a staged batch: that it is open, or why it is closed.

A gate that has no limit, or whose dataset had no input, says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from statistics import fmean, median

from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.profile import profile_shifts
from etl_lib.deciding.results import drift_of
from etl_lib.reading.datasets import DATASETS
from etl_lib.run.job import drift_sentences
from etl_lib.run.run import Run
from etl_lib.settings.config import Quality
from etl_lib.settings.rules import Rule
from etl_lib.tables.history import volumes_before
from etl_lib.tables.holds import HELD, PASSED
from etl_lib.tables.ledger import STOPPED, GateResult, RunManifest

WARNED = "warned"
ACCEPTED = "accepted"
_CLOSED = {"stop": STOPPED, "hold_publish": HELD, "warn": WARNED}
"""The state of a closed gate by its effect."""
_MAD_TO_SIGMA, _MEAN_DEVIATION_TO_SIGMA = 1.4826, 1.2533
"""Of a normal distribution: its standard deviation in median, and in mean, absolute deviations."""


def gate_results(run: Run, batch: Batch, manifest: RunManifest) -> list[GateResult]:
    """What every gate says that has something to say. Of a replay all records were rejected before, and are few."""
    effects = run.settings.quality.effects
    results: list[GateResult] = []
    for dataset, counts in batch.datasets.items():
        results += _rule_results(dataset, counts, run.rules.of(dataset))
        policies = run.settings.drift
        if "fail" in policies.model_dump().values():
            results.append(gate_result("drift", dataset, "stop", _drift_problems(run, batch, dataset)))
        if not manifest.is_replay:
            limits = _limit_problems(run.settings.quality, dataset, counts, manifest)
            results += [gate_result(gate, dataset, getattr(effects, gate), why) for gate, why in limits]
    if run.settings.quality.max_volume_z is not None and not manifest.is_replay:
        results += _volume_results(run, batch, manifest)
    if (most := run.settings.quality.max_profile_shift) is not None and not manifest.is_replay:
        results += _profile_results(run, batch, most)
    accepted = run.arguments.accepted_gates
    return [accepted_result(each) if each.gate in accepted else each for each in results]


def gate_result(gate: str, dataset: str, effect: str, problems: Sequence[str]) -> GateResult:
    """What a gate says that found these problems."""
    return GateResult(gate, dataset, effect, _CLOSED[effect] if problems else PASSED, "\n".join(problems))


def accepted_result(result: GateResult) -> GateResult:
    """A gate that somebody has overruled; an open one stays as it is."""
    state = result.state if result.state == PASSED else ACCEPTED
    return GateResult(result.gate, result.dataset, result.effect, state, result.message)


def _rule_results(dataset: str, counts: DatasetCounts, rules: Mapping[str, Rule]) -> Iterator[GateResult]:
    """Rules with severity `fail` stop; those with `warn` and a threshold warn of more records than it allows."""
    for severity, effect in (("fail", "stop"), ("warn", "warn")):
        asked = {
            name: rule
            for name, rule in rules.items()
            if rule.severity == severity and (severity == "fail" or rule.threshold is not None)
        }
        if asked:
            problems = [
                _sentence(dataset, name, rule, counts) for name, rule in asked.items() if _is_broken(name, rule, counts)
            ]
            yield gate_result("rules", dataset, effect, problems)


def _is_broken(name: str, rule: Rule, counts: DatasetCounts) -> bool:
    failed = counts.rules[name]
    return failed > 0 if rule.threshold is None else rule.threshold.is_exceeded(failed, counts.records)


def _sentence(dataset: str, name: str, rule: Rule, counts: DatasetCounts) -> str:
    allowed = f", above its threshold of {rule.threshold}" if rule.threshold else ""
    owner = f", its owner is {rule.owner}" if rule.owner else ""
    return f"{dataset}: {counts.rules[name]} records broke {name} ({rule.message}){allowed}{owner}"


def _drift_problems(run: Run, batch: Batch, dataset: str) -> list[str]:
    kinds = drift_of(batch).get(dataset)
    sentences = drift_sentences({dataset: kinds}, run.settings.drift, "fail") if kinds else []
    return [f"schema drift in {sentence}" for sentence in sentences]


def _limit_problems(
    quality: Quality, dataset: str, counts: DatasetCounts, manifest: RunManifest
) -> Iterator[tuple[str, list[str]]]:
    """The gates that hold a number of the batch against a limit, each with what is wrong."""
    if DATASETS[dataset].is_limited and quality.max_rejected_share < 1:
        share, most = counts.outcomes["rejected"] / max(counts.records, 1), quality.max_rejected_share
        text = f"{dataset}: {share:.1%} rejected, above quality.max_rejected_share {most:.1%}"
        yield "rejected", [text] if share > most else []
    if (fewest := quality.min_records.get(dataset)) is not None:
        text = f"{dataset}: {counts.records:,} records, below quality.min_records {fewest:,}"
        yield "records", [text] if counts.records < fewest else []
    if (hours := quality.max_age_hours.get(dataset)) is not None and counts.newest is not None:
        age = (datetime.fromisoformat(manifest.started_at) - counts.newest).total_seconds() / 3600
        text = f"{dataset}: the newest version is {age:,.1f} hours old, above quality.max_age_hours {hours:g}"
        yield "freshness", [text] if age > hours else []


def _volume_results(run: Run, batch: Batch, manifest: RunManifest) -> Iterator[GateResult]:
    quality = run.settings.quality
    limited = [dataset for dataset in batch.datasets if DATASETS[dataset].is_limited]
    for dataset, before in volumes_before(run.warehouse, manifest, limited, quality.volume_runs).items():
        if len(before) < quality.volume_runs:
            continue
        records, most = batch.of(dataset).records, quality.max_volume_z or 0
        z = robust_z(records, before)
        text = (
            f"{dataset}: {records:,} records, and {median(before):,.0f} in the middle of the last {len(before)} runs "
            f"of this weekday: a robust z-score of {z:.1f}, above quality.max_volume_z {most:g}"
        )
        yield gate_result("volume", dataset, quality.effects.volume, [text] if abs(z) > most else [])


def _profile_results(run: Run, batch: Batch, most: float) -> Iterator[GateResult]:
    effect, least = run.settings.quality.effects.profile, run.settings.drift.min_records
    shifts = profile_shifts(batch.profile_before, batch.profile, least=most, min_records=least)
    for dataset in batch.profile_before.keys() & batch.profile.keys():
        problems = [
            f"{dataset}.{shift.field}: {shift.measure} went from {shift.before:g} to {shift.now:g}, "
            f"quality.max_profile_shift is {most:g}"
            for shift in shifts
            if shift.dataset == dataset
        ]
        yield gate_result("profile", dataset, effect, problems)


def robust_z(value: float, before: Sequence[float]) -> float:
    """How many standard deviations a value is from what was before, estimated so that outliers among it do not count.

    The deviation is the median absolute one; where more than half of the values are equal, the mean absolute one
    (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993). Infinite where all are equal and this one is not.
    """
    middle = median(before)
    deviations = [abs(each - middle) for each in before]
    sigma = _MAD_TO_SIGMA * median(deviations) or _MEAN_DEVIATION_TO_SIGMA * fmean(deviations)
    difference = value - middle
    return difference / sigma if sigma else math.copysign(math.inf, difference) if difference else 0.0
