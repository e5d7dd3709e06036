"""What a person reads of a run of value_props: its summary and its plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from io import StringIO
from typing import Any

import pytest

from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.outcomes import VALID
from etl_lib.deciding.results import event_metrics
from etl_lib.run.job import EVENT_MEANINGS, Job
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.settings.config import Inputs, Settings
from etl_lib.tables.ledger import RuleResult
from etl_lib.telling.summary import print_plan, print_summary
from etl_lib.value_props.expectations import warnings
from etl_lib.value_props.feature_run import feature_metrics, window_metrics
from etl_lib.value_props.weeks import Windows

JOB = Job("value_props", (), EVENT_MEANINGS)
MONDAY = date(2020, 11, 23)
WINDOWS = Windows((date(2020, 11, 16), MONDAY), "calendar", 3)
DATASETS = ("prints", "taps", "pays")


def on_days(valid: Mapping[date, int]) -> dict[date, Counter[str]]:
    """So many valid events on each day."""
    return {day: Counter({VALID: n}) for day, n in valid.items()}


PRINTS = DatasetCounts(
    outcomes=Counter(valid=1200, rejected=34),
    rules=Counter(day_is_date=34, position_given=5),
    unknown_fields=Counter({"event_data.campaign": 2}),
    blank=3,
    dates=on_days({MONDAY: 1100, date(2020, 11, 28): 100}),
)
PAYS = DatasetCounts(
    outcomes=Counter(valid=60, rejected=0),
    blank=1,
    dates=on_days(
        {
            date(2020, 10, 25): 1,
            date(2020, 10, 26): 2,
            date(2020, 11, 22): 4,
            date(2020, 11, 23): 8,
            date(2020, 12, 24): 16,
        }
    ),
)
WEEKS = {"2020-11-16": {"rows": 0, "clicked_rows": 0}, "2020-11-23": {"rows": 1200, "clicked_rows": 77}}


def batch(prints: DatasetCounts = PRINTS, pays: DatasetCounts = PAYS) -> Batch:
    return Batch(None, {"prints": prints, "taps": DatasetCounts(), "pays": pays})  # type: ignore[arg-type]


def metrics(some: Batch | None = None, told: Sequence[str] = (), file: str = "/out/final.csv") -> Metrics:
    """Those of a run that warned of what is `told` and wrote a file."""
    return Metrics(
        run_id="run-1",
        status="done",
        duration_s=12.5,
        batch=event_metrics(some or batch(), told),
        windows=window_metrics(batch(), WINDOWS, date(2020, 11, 28)),
        weeks=WEEKS,
        features=feature_metrics(WEEKS, Counter(prints=2), [file], {}),
    )


def numbers_told() -> dict[str, Any]:
    """What the JSON has of that run."""
    found: dict[str, Any] = json.loads(as_json(metrics()))
    return found


def summary(found: Metrics, output: str = "/out") -> str:
    stream = StringIO()
    print_summary(JOB, found, Settings(warehouse="/wh", output=output, rules="/r.yaml", input=Inputs()), stream)
    return stream.getvalue()


def cells(text: str) -> list[list[str]]:
    """The cells of the rows of all tables."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_the_metrics_have_the_names_of_the_contract_and_add_up() -> None:
    found = numbers_told()
    for dataset, numbers in zip(DATASETS, ((1234, 1200, 34), (0, 0, 0), (60, 60, 0)), strict=True):
        assert tuple(found[f"{kind}_{dataset}"] for kind in ("input", "valid", "rejected")) == numbers
    assert found["outcomes"] == {"valid": 1260, "rejected": 34}
    assert found["blank_lines"] == 4
    assert found["datasets"]["prints"]["rules"] == {"day_is_date": 34, "position_given": 5}
    assert (found["rows"], found["clicked_rows"]) == (1200, 77)
    assert [found[f"duplicate_{dataset}"] for dataset in DATASETS] == [2, 0, 0]


def test_the_windows_of_several_weeks_reach_from_the_first_to_the_last() -> None:
    found = numbers_told()
    assert (found["target_week"], found["target_weeks"]) == ("2020-11-23", ["2020-11-16", "2020-11-23"])
    assert (found["reference_date"], found["target_week_complete"]) == ("2020-11-28", False)
    assert (found["window_first_day"], found["window_last_day"]) == ("2020-10-26", "2020-11-22")
    assert (found["pays_before_windows"], found["pays_after_windows"]) == (1, 24)
    rolling = window_metrics(batch(), Windows(WINDOWS.weeks, "rolling", 1), MONDAY)
    assert (rolling.window_first_day, rolling.window_last_day) == ("2020-11-09", "2020-11-28")
    assert (rolling.pays_before_windows, rolling.pays_after_windows) == (3, 16)


def test_the_week_is_complete_when_there_is_a_print_of_its_sunday_or_later() -> None:
    def complete(*days: date) -> bool:
        prints = DatasetCounts(outcomes=Counter(valid=len(days)), dates=on_days(Counter(days)))
        return window_metrics(batch(prints), WINDOWS, MONDAY).target_week_complete

    assert [complete(date(2020, 11, 28)), complete(date(2020, 11, 29)), complete(date(2021, 1, 1))] == [
        *(False, True),
        True,
    ]
    assert not complete()


def test_the_summary_tells_outcomes_rules_weeks_windows_warnings_drift_and_places() -> None:
    told = summary(metrics(told=["the week has no prints: 2020-11-16"]))
    assert "Run run-1 done in 12.5 s" in told
    assert ["valid", "1,200", "60", EVENT_MEANINGS["valid"]] in cells(told)
    assert ["rejected", "34", "0", EVENT_MEANINGS["rejected"]] in cells(told)
    assert ["input", "1,234", "60", "the sum"] in cells(told)
    assert ["prints", "day_is_date", "34"] in cells(told)
    assert ["2020-11-16", "0", "0"] in cells(told)
    assert ["2020-11-23", "1,200", "77"] in cells(told)
    assert "Reference date 2020-11-28, window calendar, 3 weeks: 2020-10-26 to 2020-11-22\n" in told
    assert "Pays before the windows 1, after them 24; exact duplicates: 2 prints, 0 taps, 0 pays\n" in told
    assert "Warning the week has no prints: 2020-11-16\n" in told
    assert "Schema drift in prints, fields that no table has: event_data.campaign (2)" in told
    assert "File     /out/final.csv\n" in told
    assert "Tables   /wh\nMetrics  /out/metrics.json\n         /out/runs/run-1/metrics.json\n" in told
    assert "/metrics.json\nReport   /out/runs/run-1/report.html\n" in told


@pytest.mark.parametrize("name", ["[bold]A[/bold]", "[/]", "[/red]", ":smile:", "A[1]"])
def test_names_from_outside_are_shown_as_they_are(name: str) -> None:
    prints = DatasetCounts(Counter(valid=1), Counter({name: 1}), Counter({name: 1}))
    found = metrics(batch(prints), file=f"/out/{name}/final.csv")
    told = summary(found, output=f"/out/{name}")
    assert f"File     /out/{name}/final.csv\n" in told
    assert f"no table has: {name} (1)\n" in told
    assert ["prints", name, "1"] in cells(told)


def test_a_plan_tells_the_rows_now_and_then_of_each_week() -> None:
    stream = StringIO()
    found = metrics(told=["the week has no prints: 2020-11-16"])
    found.weeks = {"2020-11-16": {"rows_now": 1500, "rows": 0}, "2020-11-23": {"rows_now": 0, "rows": 1200}}
    print_plan(JOB, found, stream)
    told = stream.getvalue()
    assert "Plan run-1: what the run would do" in told
    assert ["2020-11-16", "1,500", "0"] in cells(told)
    assert ["2020-11-23", "0", "1,200"] in cells(told)
    assert ["rejected", "34", "0", "in quarantine"] in cells(told)
    assert "Warning the week has no prints: 2020-11-16\n" in told
    assert "The plan changed no feature" in told


def test_just_the_rules_that_a_week_broke_are_warnings() -> None:
    results = [
        RuleResult("prints", "week_has_prints", "warn", 4, 2, ["2020-11-02", "2020-11-09"]),
        RuleResult("prints", "week_not_thin", "warn", 4, 0, []),
    ]
    assert warnings(results) == ["the week has no prints: 2020-11-02, 2020-11-09"]
