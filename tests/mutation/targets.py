"""What is mutated, and by which tests each module is judged: the quick ones first."""

from __future__ import annotations

TESTS: dict[str, tuple[str, ...]] = {
    "applying.steps": ("tests/unit/test_applying.py",),
    "deciding.judge": ("tests/unit/test_judge.py",),
    "deciding.winners": ("tests/unit/test_winners.py",),
    "deciding.stage": ("tests/unit/test_stage.py",),
    "tables.ledger": ("tests/unit/test_ledger.py",),
    "tables.open_runs": ("tests/unit/test_stage.py", "tests/unit/test_applying.py"),
    "tables.merge": ("tests/unit/test_merge.py",),
    "applying.orders": ("tests/unit/test_apply_orders.py",),
}
"""The tests of each mutated module, which is named as below etl_lib."""

EQUIVALENT: dict[str, str] = {
    "@dataclass(frozen=False)": "nothing assigns to its fields; frozen says so to readers and to mypy",
    'refusing = F.array(*(F.lit(name) for name, rule in rules.items() if rule.severity < "warn"))': (
        "no severity sorts after `warn`"
    ),
    '.withColumn("is_conflict", competes & (lowest < highest))': "the lowest is never above the highest",
    '.withColumn("outcome", F.when(competes & (F.col("place") != 1), "superseded").otherwise(F.col("outcome")))': (
        "places are counted from 1"
    ),
    '"is_last": F.coalesce(F.col("at") + 1, F.lit(0)) >= F.col("line_count"),': "no line has a number above the count",
    'return _from_json(rows[ -1]["raw"])': "a run has one manifest",
    'return dict(plans[ -1]["versions_before"]) if plans else None': "a run has one row",
    'is_open = F.coalesce("status", F.lit(APPLYING)) <= APPLYING': "no status sorts before `applying`",
    'F.bool_or(F.col("status") <= APPLYING).alias("has_open"),': "no status sorts before `applying`",
}
"""Mutated lines that no test can tell from the original ones, each with the reason; they stay in the score."""
