"""The health job on states, locks and folders, as the jobs leave them; it starts no Spark."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl_lib.process.lock import warehouse_lock
from etl_lib.tables.schemas import FEATURE_TABLES, ORDER_TABLES
from etl_lib.telling.health import TABLES
from etl_lib.telling.state import Attempt, JobState, write_state
from jobs import health
from tests.conftest import ROOT


def attempt(number: int, *, status: str = "done", hours: float = 1, message: str | None = None) -> Attempt:
    ended = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")
    return Attempt(
        run_id=f"run-{number}",
        job="orders",
        status=status,
        started_at=ended,
        ended_at=ended,
        duration_s=1,
        message=message,
    )


def leave(folder: Path, *attempts: Attempt, job: str = "orders") -> None:
    """The state after these attempts, and the tables of a job that succeeded."""
    state = JobState()
    for each in attempts:
        state = state.after(each)
    write_state(str(folder / "output"), job, state)
    for table in TABLES[job]:
        (folder / "warehouse" / table / "_delta_log").mkdir(parents=True, exist_ok=True)


def check(folder: Path, *options: str) -> int:
    places = [f"warehouse={folder / 'warehouse'}", f"output={folder / 'output'}"]
    return health.main(["--set", *places, *options])


def told(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = check(folder, *options, "--json")
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer["is_healthy"] == (code == 0)
    return code, answer


def test_runs_that_succeed_are_healthy_until_they_are_too_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, attempt(1, hours=27))
    assert told(tmp_path, capsys)[0] == 0
    assert told(tmp_path, capsys, "health.max_age_hours={orders: 28}")[0] == 0
    code, answer = told(tmp_path, capsys, "health.max_age_hours={orders: 26, pull: 1}")
    assert code == 1
    assert answer["problems"] == [
        "orders: its last success was 27.0 hours ago, more than 26",
        "pull: it has never succeeded",
    ]
    assert answer["jobs"]["orders"]["last_success"]["run_id"] == "run-1"


def test_failures_in_a_row_are_counted_and_the_last_reason_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = [attempt(number, status="failed", message="no [disk]") for number in (2, 3)]
    leave(tmp_path, attempt(1), *failed, attempt(4, status="busy"))
    assert told(tmp_path, capsys, "health.max_failures=3")[0] == 0
    code, answer = told(tmp_path, capsys, "health.max_failures=2")
    assert (code, answer["jobs"]["orders"]["failures_in_a_row"]) == (1, 2)
    assert check(tmp_path) == 1
    printed = capsys.readouterr()
    assert "Problem orders: 2 failed in a row" in printed.out
    assert "not healthy" in json.loads(printed.err)["event"]
    leave(tmp_path, attempt(1), *failed, attempt(5))
    assert check(tmp_path) == 0
    assert "Healthy" in capsys.readouterr().out


def test_where_nothing_ran_yet_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = told(tmp_path, capsys)
    assert (code, answer["jobs"], answer["missing_tables"]) == (0, {}, [])
    assert told(tmp_path, capsys, "warehouse=catalog:main.orders")[1]["missing_tables"] is None
    assert not (tmp_path / "output").exists()


def test_a_table_that_is_gone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, attempt(1))
    (tmp_path / "warehouse" / "fact_sales" / "_delta_log").rmdir()
    code, answer = told(tmp_path, capsys)
    assert (code, answer["problems"]) == (1, ["tables are not there: fact_sales"])


def test_the_tables_of_the_jobs_are_those_that_are_declared() -> None:
    assert set(TABLES["orders"]) == {table.name for table in ORDER_TABLES}
    assert set(TABLES["value_props"]) == {table.name for table in FEATURE_TABLES}


def hold(warehouse: str, is_held: Any) -> None:
    with warehouse_lock(warehouse, "run-7", "2026-01-01T00:00:00Z", 0):
        is_held.set()
        time.sleep(60)


def test_who_holds_the_warehouse_is_told_and_a_killed_holder_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, attempt(1))
    processes = multiprocessing.get_context("spawn")
    is_held = processes.Event()
    process = processes.Process(target=hold, args=(str(tmp_path / "warehouse"), is_held))
    process.start()
    assert is_held.wait(30)
    code, answer = told(tmp_path, capsys)
    assert code == 0
    assert (answer["lock"]["run_id"], answer["lock"]["pid"], answer["lock"]["is_dead"]) == ("run-7", process.pid, False)
    process.kill()
    process.join()
    code, answer = told(tmp_path, capsys)
    assert code == 1
    assert "run run-7 was killed while it held the warehouse" in answer["problems"][0]


@pytest.mark.parametrize("option", ["health.max_failures=0", "health.max_age_hours={order: 1}", "health.colour=red"])
def test_a_wrong_configuration_is_told_as_such(tmp_path: Path, option: str) -> None:
    assert check(tmp_path, option) == 2


def test_it_answers_within_a_second_and_without_spark(tmp_path: Path) -> None:
    """As a probe starts it."""
    leave(tmp_path, attempt(1))
    settings = [f"warehouse={tmp_path / 'warehouse'}", f"output={tmp_path / 'output'}"]
    script = "import sys, jobs.health; print(jobs.health.main(sys.argv[1:]), 'pyspark' in sys.modules)"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, "--set", *settings],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
    assert time.monotonic() - started < 5  # 0.6 s on an idle machine


def test_a_held_publish_and_a_sink_that_is_behind_are_told_until_a_later_attempt_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = replace(attempt(1, hours=3), publish="held", sinks={"parquet": "nothing new", "postgres": "differs"})
    leave(tmp_path, held)
    code, answer = told(tmp_path, capsys)
    assert (code, [problem.partition(":")[0] for problem in answer["publish"]]) == (
        1,
        ["the publish is held since run run-1 or before", "sink postgres is behind, its last publish ended as differs"],
    )
    released = replace(attempt(2, hours=1), job="publish", sinks={"parquet": "complete", "postgres": "complete"})
    write_state(str(tmp_path / "output"), "publish", JobState().after(released))
    leave(tmp_path, held, attempt(3, hours=0))
    assert told(tmp_path, capsys)[0] == 0
