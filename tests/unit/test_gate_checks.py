"""What each gate says of a batch, by its numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.gate_checks import accepted_result, gate_results, robust_z
from etl_lib.deciding.gates import stop_of, stopping
from etl_lib.settings.config import DriftPolicies, Quality
from etl_lib.settings.rules import Rule, RuleBook
from etl_lib.tables.ledger import GateResult, RunManifest

MANIFEST = RunManifest("r", "orders", (), "2024-05-04T00:00:00+00:00", is_plan=False)
REPLAY = RunManifest("r", "quarantine", (), "2024-05-04T00:00:00+00:00", is_plan=False)
TWO_DAYS_OLD = datetime(2024, 5, 2, tzinfo=UTC)


@dataclass
class FakeRun:
    """As much of a run as the gates look at."""

    quality: Quality = field(default_factory=Quality)
    orders: dict[str, Rule] = field(default_factory=dict)
    drift: DriftPolicies = field(default_factory=DriftPolicies)
    accepted: tuple[str, ...] = ()

    @property
    def settings(self) -> Any:
        return SimpleNamespace(quality=self.quality, drift=self.drift)

    @property
    def rules(self) -> RuleBook:
        return RuleBook(orders=self.orders)

    @property
    def arguments(self) -> Any:
        return SimpleNamespace(accepted_gates=self.accepted)


def said(run: FakeRun, manifest: RunManifest = MANIFEST, **counts: Any) -> list[tuple[str, str, str]]:
    """Gate, state and message for ten orders, two of which were rejected, of which four broke the rule `odd`."""
    orders = {"outcomes": Counter(inserted=8, rejected=2), "rules": Counter(odd=4), "newest": TWO_DAYS_OLD, **counts}
    batch = Batch(SimpleNamespace(), {"orders": DatasetCounts(**orders), "users": DatasetCounts()})  # type: ignore[arg-type]
    return [(each.gate, each.state, each.message) for each in gate_results(run, batch, manifest)]  # type: ignore[arg-type]


def rule(severity: Any, **about: Any) -> dict[str, Rule]:
    return {"odd": Rule(severity=severity, check="true", message="is odd", **about)}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(FakeRun(), [], id="without limits no gate says anything"),
        pytest.param(FakeRun(orders=rule("warn")), [], id="nor does a rule that only warns"),
        pytest.param(
            FakeRun(orders=rule("fail", owner="ann")),
            [("rules", "stopped", "orders: 4 records broke odd (is odd), its owner is ann")],
            id="one that fails stops",
        ),
        pytest.param(
            FakeRun(orders=rule("fail", threshold={"share": 0.4})), [("rules", "passed", "")], id="as many as may"
        ),
        pytest.param(
            FakeRun(orders=rule("fail", threshold={"count": 3})),
            [("rules", "stopped", "orders: 4 records broke odd (is odd), above its threshold of 3 records")],
            id="more than may, as a count",
        ),
        pytest.param(
            FakeRun(orders=rule("warn", threshold={"share": 0.39})),
            [("rules", "warned", "orders: 4 records broke odd (is odd), above its threshold of 39.0%")],
            id="more than may, as a share, warns",
        ),
        pytest.param(FakeRun(Quality(max_rejected_share=0.2)), [("rejected", "passed", "")], id="rejected: as many"),
        pytest.param(
            FakeRun(Quality(max_rejected_share=0.19)),
            [("rejected", "stopped", "orders: 20.0% rejected, above quality.max_rejected_share 19.0%")],
            id="rejected: more",
        ),
        pytest.param(
            FakeRun(Quality(max_rejected_share=0.19), accepted=("rejected",)),
            [("rejected", "accepted", "orders: 20.0% rejected, above quality.max_rejected_share 19.0%")],
            id="rejected: overruled",
        ),
        pytest.param(
            FakeRun(Quality(min_records={"orders": 10, "pays": 1})),
            [("records", "passed", "")],
            id="just enough records",
        ),
        pytest.param(
            FakeRun(Quality(min_records={"orders": 11, "users": 1})),
            [
                ("records", "stopped", "orders: 10 records, below quality.min_records 11"),
                ("records", "stopped", "users: 0 records, below quality.min_records 1"),
            ],
            id="too few records",
        ),
        pytest.param(
            FakeRun(Quality(max_age_hours={"orders": 48})), [("freshness", "passed", "")], id="just new enough"
        ),
        pytest.param(
            FakeRun(Quality(max_age_hours={"orders": 47.5, "users": 1})),
            [
                (
                    "freshness",
                    "held",
                    "orders: the newest version is 48.0 hours old, above quality.max_age_hours 47.5",
                )
            ],
            id="too old, and users without any version",
        ),
        pytest.param(
            FakeRun(Quality(max_age_hours={"orders": 1}, effects={"freshness": "stop"})),  # type: ignore[arg-type]
            [("freshness", "stopped", "orders: the newest version is 48.0 hours old, above quality.max_age_hours 1")],
            id="with another effect",
        ),
    ],
)
def test_a_gate_is_closed_above_its_limit_and_not_at_it(run: FakeRun, expected: list[tuple[str, str, str]]) -> None:
    assert said(run) == expected


def test_drift_stops_only_the_dataset_that_drifted_and_only_with_that_policy() -> None:
    run = FakeRun(drift=DriftPolicies(new_field="fail", changed_type="ignore"))
    drifted = said(run, unknown_fields=Counter(colour=3), changed_types=Counter(amount=1))
    assert drifted == [
        ("drift", "stopped", "schema drift in orders, fields that no table has: colour (3)"),
        ("drift", "passed", ""),
    ]


def test_a_replay_is_judged_by_its_rules_alone() -> None:
    limits = Quality(max_rejected_share=0, min_records={"orders": 99}, max_age_hours={"orders": 1}, max_volume_z=1)
    assert [gate for gate, *_ in said(FakeRun(limits, rule("fail")), REPLAY)] == ["rules"]


def test_what_stops_a_run_is_told_at_once_and_an_open_gate_cannot_be_accepted() -> None:
    gates = [
        GateResult("rules", "orders", "stop", "stopped", "a\nb"),
        GateResult("volume", "orders", "hold_publish", "held", "c"),
        GateResult("rejected", "orders", "stop", "stopped", "d"),
    ]
    assert str(stop_of(gates)) == "the quality gate is closed, no table was changed:\n  a\n  b\n  d"
    assert stopping(gates) == ["rules", "rejected"]
    assert stop_of(gates[1:2]) is None
    passed = GateResult("rules", "orders", "stop", "passed")
    assert accepted_result(passed) == passed


@pytest.mark.parametrize(
    ("value", "before", "z"),
    [
        pytest.param(100, [90, 100, 110, 95, 105], 0.0, id="the usual"),
        pytest.param(114.826, [90, 100, 110, 100, 1000], 1.0, id="an outlier of before does not count"),
        pytest.param(84.334, [100, 100, 100, 150], -1.0, id="mostly equal: by the mean deviation"),
        pytest.param(101, [100, 100, 100], math.inf, id="all equal, and this one is not"),
        pytest.param(99, [100, 100, 100], -math.inf, id="all equal, and this one is less"),
        pytest.param(100, [100, 100, 100], 0.0, id="all equal"),
    ],
)
def test_the_robust_score_of_a_volume(value: float, before: list[float], z: float) -> None:
    assert robust_z(value, before) == pytest.approx(z, abs=2e-3)
