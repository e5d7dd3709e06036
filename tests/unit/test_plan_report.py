"""What a person reads: the summary and the plan, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.ids_alike import IdCount, UnlikeIds
from etl_lib.deciding.outcomes import OUTCOMES
from etl_lib.deciding.results import order_metrics
from etl_lib.run.job import MEANINGS, Job
from etl_lib.run.metric_parts import TableMetrics
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.settings.config import Inputs, Settings
from etl_lib.telling.metrics_files import MetricsFiles, metrics_paths
from etl_lib.telling.summary import print_json, print_plan, print_summary


class StagedRun:
    """As much of a stage as its run."""

    run_id = "run-1"


def batch(**counts: DatasetCounts) -> Batch:
    return Batch(StagedRun(), counts)  # type: ignore[arg-type]


ORDERS = DatasetCounts(
    outcomes=Counter(inserted=1000, updated=200, unchanged=30, stale=4, superseded=5, out_of_window=6, rejected=7),
    rules=Counter(price_given=3, order_id_given=7),
    unknown_fields=Counter({"channel": 2, "metadata.utm": 1}),
    conflicts=2,
    conflict_keys=["A-1", "A-2"],
    winners=1234,
    items=5678,
    blank=9,
    dates={date(2024, 5, 2): Counter(updated=1), date(2024, 5, 1): Counter(inserted=1)},
)
ROWS = {"dim_user": 7, "dim_product": 8}
JOB = Job("orders", (), MEANINGS)


def metrics_of(some: Batch) -> Metrics:
    return Metrics(
        run_id="run-1",
        status="done",
        duration_s=12.5,
        batch=order_metrics(some, ROWS),
        inferred={"users": 2, "products": 0},
        tables={"fact_sales": TableMetrics(0, 1234567, 0, 1), "dim_user": TableMetrics(5, 5, 3, 3)},
    )


def numbers_of(some: Batch) -> dict[str, Any]:
    """What the JSON has of a batch."""
    found: dict[str, Any] = json.loads(as_json(Metrics(batch=order_metrics(some, ROWS))))
    return found


def summary(metrics: Metrics, output: str = "/out", warehouse: str = "/wh") -> str:
    stream = StringIO()
    settings = Settings(warehouse=warehouse, output=output, rules="/rules.yaml", input=Inputs())
    print_summary(JOB, metrics, settings, stream)
    return stream.getvalue()


def plan(some: Batch) -> str:
    stream = StringIO()
    print_plan(JOB, metrics_of(some), stream)
    return stream.getvalue()


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of all tables."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_the_metrics_have_the_names_of_the_contract_and_add_up() -> None:
    metrics = numbers_of(batch(orders=ORDERS))
    assert metrics == {
        "input_orders": 1252,
        "blank_lines": 9,
        "valid_orders": 1245,
        "deduped_orders": 1234,
        "items": 5678,
        "dim_user": 7,
        "dim_product": 8,
        "outcomes": {
            "inserted": 1000,
            "updated": 200,
            "unchanged": 30,
            "stale": 4,
            "superseded": 5,
            "out_of_window": 6,
            "rejected": 7,
        },
        "conflicts": 2,
        "conflict_orders": ["A-1", "A-2"],
        "datasets": {
            "orders": {
                "records": 1252,
                "outcomes": metrics["outcomes"],
                "rules": {"order_id_given": 7, "price_given": 3},
                "unknown_fields": {"channel": 2, "metadata.utm": 1},
            }
        },
        "drift": {"orders": {"new_field": {"channel": 2, "metadata.utm": 1}}},
        "warnings": [],
        "dates": ["2024-05-01", "2024-05-02"],
    }
    assert sum(metrics["outcomes"].values()) == metrics["input_orders"]


def test_a_batch_without_orders_has_every_number_at_zero() -> None:
    metrics = numbers_of(batch(users=DatasetCounts(Counter(inserted=1))))
    assert (metrics["input_orders"], metrics["valid_orders"], metrics["conflicts"]) == (0, 0, 0)
    assert metrics["outcomes"] == dict.fromkeys(OUTCOMES, 0)
    assert metrics["datasets"]["users"]["outcomes"] == {**dict.fromkeys(OUTCOMES, 0), "inserted": 1}


def test_the_summary_tells_outcomes_rules_tables_conflicts_drift_and_places() -> None:
    users = DatasetCounts(Counter(inserted=3))
    told = summary(metrics_of(batch(orders=ORDERS, users=users)))
    assert "Run run-1 done in 12.5 s" in told
    assert ["inserted", "1,000", "3", MEANINGS["inserted"]] in rows(told)
    assert ["rejected", "7", "0", "in quarantine"] in rows(told)
    assert ["input", "1,252", "3", "the sum"] in rows(told)
    assert ["orders", "order_id_given", "7"] in rows(told)
    assert "unknown users (inferred)" in told
    assert "unknown products" not in told
    assert ["fact_sales", "0", "1,234,567", "0 -> 1"] in rows(told)
    assert ["dim_user", "5", "5", "3 (unchanged)"] in rows(told)
    assert "Conflicts (one version, two contents): 2 orders: A-1, A-2" in told
    assert "Schema drift in orders, fields that no table has: channel (2), metadata.utm (1)" in told
    assert "Tables   /wh\nMetrics  /out/metrics.json\n         /out/runs/run-1/metrics.json\n" in told
    assert "/metrics.json\nReport   /out/runs/run-1/report.html\n" in told
    assert "Nothing new" not in told


def test_ids_that_are_unlike_are_told_in_the_summary_and_in_the_plan() -> None:
    unlike = UnlikeIds("users", "user_id", IdCount(40, 12), ["orders"], ["98702.0", "98703.0"])
    told = f"Warning {unlike.message}\n"
    some = replace(batch(users=DatasetCounts(Counter(inserted=40))), unlike_ids=[unlike])
    assert told in summary(metrics_of(some))
    assert told in plan(some)
    assert "Warning" not in summary(metrics_of(batch(orders=ORDERS)))


def test_an_outcome_that_no_record_has_is_left_out() -> None:
    stale = batch(orders=DatasetCounts(Counter(stale=1)))
    told = summary(metrics_of(stale))
    assert "stale" in told
    assert "inserted" not in told


def test_a_run_without_new_files_says_so_and_names_the_runs_it_finished() -> None:
    nothing = order_metrics(batch(), {})
    told = summary(Metrics("run-2", "done", finished_runs=["run-0", "run-1"], batch=nothing))
    assert "Nothing new: the ledger has every file, no table was changed." in told
    assert "Finished first, from their stage: run-0, run-1" in told
    assert "Conflicts" not in told
    assert "Records by outcome" not in told


@pytest.mark.parametrize("name", ["[bold]A[/bold]", "[/]", "[/red]", "A[red]1", ":smile:", "A[1]"])
def test_names_from_the_data_are_shown_as_they_are(name: str) -> None:
    orders = DatasetCounts(
        Counter(inserted=1),
        rules=Counter({name: 1}),
        unknown_fields=Counter({name: 1}),
        conflicts=1,
        conflict_keys=[name],
    )
    told = summary(metrics_of(batch(orders=orders)), output=f"/out/{name}", warehouse=f"/wh/{name}")
    assert f"1 orders: {name}\n" in told
    assert f"no table has: {name} (1)\n" in told
    assert f"Tables   /wh/{name}\nMetrics  /out/{name}/metrics.json\n" in told
    assert ["orders", name, "1"] in rows(told)


def test_a_plan_that_changes_nothing_says_what_is_left_alone_and_why() -> None:
    counts = Counter(unchanged=30, stale=4, superseded=5, out_of_window=6, rejected=7)
    told = plan(batch(orders=DatasetCounts(counts)))
    for outcome, number in counts.items():
        assert f"  = {number} orders {outcome}: {MEANINGS[outcome]}\n" in told
    assert "Plan: 0 to insert, 0 to update, 45 left alone, 7 to quarantine.\n" in told
    assert "--apply run-1" in told


def test_metrics_are_one_json_object_on_one_line() -> None:
    stream = StringIO()
    print_json(Metrics(run_id="run-1", finished_runs=["é\n"]), stream)
    assert stream.getvalue() == '{"run_id": "run-1", "finished_runs": ["é\\n"]}\n'


def test_metrics_are_written_beside_the_run_and_as_the_latest(tmp_path: Path) -> None:
    output = str(tmp_path / "out put 100% [1]")
    for run_id in ("run-1", "run-2"):
        MetricsFiles(output).tell(Metrics(run_id, "dône"))
    latest, own = metrics_paths(f"{output}/", "run-2")
    assert (latest, own) == (f"{output}/metrics.json", f"{output}/runs/run-2/metrics.json")
    assert Path(latest).read_text(encoding="utf-8") == Path(own).read_text(encoding="utf-8")
    assert json.loads(Path(latest).read_bytes()) == {"run_id": "run-2", "status": "dône"}
    assert json.loads(Path(output, "runs/run-1/metrics.json").read_bytes())["run_id"] == "run-1"


def test_every_outcome_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(OUTCOMES)
