"""Metrics as JSON: what is left out, what is told though it is empty, and what is read back."""

from __future__ import annotations

import json

import pytest

from etl_lib.run.metric_parts import (
    ChangeMetrics,
    PublishMetrics,
    PullMetrics,
    Restore,
    TableMetrics,
    UndoMetrics,
    UpkeepMetrics,
)
from etl_lib.run.metrics import Metrics, as_json, restore_from
from etl_lib.tables.ledger import SetAside, set_aside_from

PULL = PullMetrics("p", "complete", 1, 2, 0, resumed=False, folder="/p")
CHANGES = ChangeMetrics(is_full=True, reason=None, previous=None, versions={"a": 1}, groups={}, dates={})
FILE = SetAside("orders", "/a.gz", 1, 2, "it is broken")
TABLE = TableMetrics(0, 1, 2, 3)
RESTORE = Restore("r0", {"a": 1}, ["r0", "r1"], 2)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (Metrics(), {}),
        (Metrics("r", commit_retries=0, duration_s=0.0), {"run_id": "r", "commit_retries": 0, "duration_s": 0.0}),
        (Metrics(unmatched={}, set_aside=(), tables={}), {"unmatched": {}, "set_aside": [], "tables": {}}),
        (
            Metrics(tables={"a": TABLE}),
            {"tables": {"a": {name: value for name, value in vars(TABLE).items() if value is not None}}},
        ),
        (Metrics(pulls={"orders": PULL}), {"pulls": {"orders": vars(PULL)}}),
        (Metrics(publishes={"s": PublishMetrics("/s")}), {"publishes": {"s": {"address": "/s"}}}),
        (
            Metrics(publishes={"s": PublishMetrics("/s", CHANGES, rows={}, status="planned")}),
            {"publishes": {"s": {"address": "/s", **vars(CHANGES), "rows": {}, "status": "planned"}}},
        ),
        (
            Metrics(upkeep=UpkeepMetrics("restore", {}, undo=UndoMetrics("r0", [], 2))),
            {"task": "restore", "tables": {}, "restored_run_id": "r0", "undone_runs": [], "files_new_again": 2},
        ),
    ],
    ids=[
        "nothing",
        "zeros",
        "empty",
        "a table",
        "a pull",
        "a publish that failed at once",
        "a planned publish",
        "a restore",
    ],
)
def test_what_is_not_known_is_left_out_and_what_is_empty_is_told(metrics: Metrics, expected: dict[str, object]) -> None:
    assert json.loads(as_json(metrics)) == expected


def test_what_a_later_run_needs_is_read_back() -> None:
    text = as_json(Metrics(set_aside=[FILE], restore=RESTORE))
    assert set_aside_from(json.loads(text)["set_aside"]) == (FILE,)
    assert restore_from(text) == RESTORE


def test_other_values_are_refused() -> None:
    with pytest.raises(TypeError, match="no metrics"):
        as_json(Metrics(message=object()))  # type: ignore[arg-type]
