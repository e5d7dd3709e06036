"""What becomes of a DAG run when a job ends with one of its exit codes. Only the jobs are stand-ins."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.api_fastapi.app import create_app
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from tests.airflow.platforms import Platforms

pytestmark = pytest.mark.airflow

RUN_ID = "20261121T090148Z-c14f8d"
PLANNED = {"run_id": RUN_ID, "status": "planned", "outcomes": {"inserted": 3}}
PLAN, APPLY = "--plan --json --since 2024-05-01 --until 2024-05-03", f"--apply {RUN_ID}"
WINDOW = {"since": "2024-05-01", "until": "2024-05-03"}
DONE = {"orders": "success 1", "value_props": "success 1", "publish": "success 1", "stopped": "skipped 0"}
DECIDED = {"plan": "success 1", "approve": "success 1", "apply": "success 1", "stopped": "skipped 0"}


@dataclass
class Local:
    """The DAGs of one machine, and jobs that only end."""

    dags: dict[str, DAG]
    alerts: list[dict[str, Any]]
    folder: Path

    def stand_in(self, job: str = "none", exit_code: int = 0, written: dict[str, Any] | None = None) -> None:
        """One job ends with an exit code, all others with 0; each writes an object and a line of a log."""
        script = self.folder / "submit"
        script.write_text(
            f'#!/usr/bin/env bash\necho \'{{"event": "a log", "status": "none"}}\' >&2\n'
            f"echo \"$*\" >>'{self.folder}/calls'\necho '{json.dumps(written or {})}'\n"
            f"[[ $1 != jobs/{job}.py ]] || exit {exit_code}\n"
        )
        script.chmod(0o755)

    def calls(self) -> list[str]:
        """The command lines of all jobs."""
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def local(dags: dict[str, DAG], platforms: Platforms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    monkeypatch.setenv("AIRFLOW_VAR_ORDERS_SUBMIT", str(tmp_path / "submit"))
    return Local(dags, platforms.alerts, tmp_path)


def run(dag: DAG, conf: dict[str, str] | None = None) -> tuple[str, dict[str, str]]:
    """Run a DAG; gives the state of the run, and of each task its state and tries."""
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
    ended = dag.test(run_conf=conf)
    return str(ended.state), {ti.task_id: f"{ti.state} {ti.try_number}" for ti in ended.get_task_instances()}


def behind(*names: str) -> dict[str, str]:
    """The states of tasks behind one that failed."""
    return dict.fromkeys(names, "upstream_failed 0")


@pytest.mark.parametrize(
    ("ended", "states", "alerted"),
    [
        (("none", 0), {}, []),
        (("orders", 1), {"orders": "failed 3", **behind("value_props", "publish", "stopped")}, ["orders"]),
        (("orders", 2), {"orders": "failed 1", **behind("value_props", "publish", "stopped")}, ["orders"]),
        (("value_props", 5), {"value_props": "failed 3", **behind("publish", "stopped")}, ["value_props"]),
        (("orders", 3), {"value_props": "skipped 0", "publish": "skipped 0", "stopped": "failed 1"}, ["stopped"]),
        (("publish", 3), {"stopped": "failed 1"}, ["stopped"]),
    ],
)
def test_an_exit_code_goes_on_tries_again_gives_up_or_takes_the_branch(
    local: Local, ended: tuple[str, int], states: dict[str, str], alerted: list[str]
) -> None:
    local.stand_in(*ended)
    state, tasks = run(local.dags["orders_local"])
    assert tasks == DONE | states
    assert state == ("failed" if alerted else "success")
    assert [alert["title"] for alert in local.alerts] == [f"orders_local: {name} failed" for name in alerted]
    assert all(alert["message"].startswith(f"{ended[0]}: ") for alert in local.alerts)


@pytest.mark.parametrize("name", ["orders_emr_serverless", "orders_databricks"])
@pytest.mark.parametrize(
    ("exit_code", "states"),
    [
        (0, {}),
        (1, {"value_props": "failed 3", **dict.fromkeys(["publish", "stopped"], "upstream_failed 0")}),
        (2, {"value_props": "failed 1", **dict.fromkeys(["publish", "stopped"], "upstream_failed 0")}),
        (3, {"publish": "skipped 0", "stopped": "failed 1"}),
    ],
)
def test_a_platform_that_says_failed_takes_the_same_branches(
    dags: dict[str, DAG], platforms: Platforms, name: str, exit_code: int, states: dict[str, str]
) -> None:
    platforms.exit_codes["value_props"] = exit_code
    assert run(dags[name])[1] == DONE | states


def test_a_plan_that_finds_nothing_asks_nobody(local: Local) -> None:
    local.stand_in(written={"run_id": RUN_ID, "status": "done"})
    state, tasks = run(local.dags["orders_local_backfill"], WINDOW)
    assert (state, local.alerts) == ("success", [])
    assert tasks == {"plan": "success 1", **dict.fromkeys(["approve", "apply", "stopped"], "skipped 0")}


@pytest.mark.parametrize(
    ("answer", "state", "applied"), [("Approve", "success 1", [APPLY]), ("Reject", "skipped 0", [])]
)
def test_a_person_decides_whether_the_plan_is_applied(
    local: Local, answer: str, state: str, applied: list[str]
) -> None:
    local.stand_in(written=PLANNED)
    assert decided(local.dags["orders_local_backfill"], answer) == DECIDED | {"apply": state}
    commands = [f"jobs/orders.py --config conf/local.yaml {options}" for options in (PLAN, *applied)]
    assert (local.calls(), local.alerts) == (commands, [])


@pytest.mark.parametrize("name", ["orders_emr_serverless", "orders_databricks"])
def test_a_plan_of_a_platform_is_applied_by_its_run_id(dags: dict[str, DAG], platforms: Platforms, name: str) -> None:
    platforms.written = json.dumps({"event": "a log", "status": "none"}) + f"\n{json.dumps(PLANNED)}\n"
    assert decided(dags[f"{name}_backfill"], "Approve") == DECIDED
    assert [" ".join(arguments[2:]) for arguments in map(arguments_of, platforms.runs)] == [PLAN, APPLY]


def arguments_of(request: dict[str, Any]) -> list[str]:
    """The arguments of a job that a platform was asked to start, and nothing but those."""
    if "jobDriver" in request:
        return request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    task = request["tasks"][0]["python_wheel_task"]
    assert task.keys() == {"package_name", "entry_point", "parameters"}
    return task["parameters"]


def decided(dag: DAG, answer: str) -> dict[str, str]:
    """The states of the tasks of a backfill about which a person has decided."""
    person = threading.Thread(target=decide, args=(dag.dag_id, answer), daemon=True)
    person.start()
    state, tasks = run(dag, WINDOW)
    assert state == "success"
    return tasks


def decide(dag_id: str, answer: str) -> None:
    """Answer as a person does in the browser: by the public API of Airflow."""
    with TestClient(create_app(apps="core")) as browser:
        token = browser.get("/auth/token").json()["access_token"]
        browser.headers["Authorization"] = f"Bearer {token}"
        while not (waiting := waiting_runs()):
            time.sleep(0.2)
        task = f"/api/v2/dags/{dag_id}/dagRuns/{waiting[0]}/taskInstances/approve/-1/hitlDetails"
        browser.patch(task, json={"chosen_options": [answer], "params_input": {}}).raise_for_status()


def waiting_runs() -> list[str]:
    with create_session() as session:
        waiting = session.query(TaskInstance).filter(TaskInstance.state == "awaiting_input")
        return [ti.run_id for ti in waiting]
