"""The DAGs as Airflow reads them: three platforms, one graph, and commands that the jobs take."""

from __future__ import annotations

import tomllib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.execution_time.context import VariableAccessor

from tests.deploy import airflow_files
from tests.deploy.scheduled import ROOT, ScheduledRun
from tests.parsers import PARSERS

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

pytestmark = pytest.mark.airflow

SCHEDULED = ["orders_databricks", "orders_emr_serverless", "orders_local"]
BACKFILLS = [f"{name}_backfill" for name in SCHEDULED]
RUN_ID = "20261121T090148Z-c14f8d"


def graph(dag: DAG) -> dict[str, tuple[str, list[str]]]:
    """Each task with its rule and the tasks behind it."""
    return {name: (task.trigger_rule.value, sorted(task.downstream_task_ids)) for name, task in dag.task_dict.items()}


def rendered(task: BaseOperator) -> Any:
    """The task as it is run, where `plan` has made its plan."""
    ti = SimpleNamespace(
        dag_id=task.dag_id, task_id=task.task_id, run_id="a-run", xcom_pull=lambda **_: {"run_id": RUN_ID}
    )
    context = {
        "ti": ti,
        "params": {"since": "2024-05-01", "until": "2024-05-03"},
        "var": {"value": VariableAccessor(deserialize_json=False)},
    }
    copy = task.prepare_for_execution()
    copy.render_template_fields(context, jinja_env=task.dag.get_template_env())
    return copy


def command(task: Any) -> tuple[str, list[str], dict[str, str]]:
    """The job that a rendered task runs, its arguments, and its environment."""
    if task.task_type == "LocalJob":
        return task.command[1].removeprefix("jobs/").removesuffix(".py"), task.command[2:], task.env
    if task.task_type == "EmrServerlessJob":
        driver = task.job_driver["sparkSubmit"]
        settings = dict(one.split("=", 1) for one in driver["sparkSubmitParameters"].split() if one != "--conf")
        of_driver = "spark.emr-serverless.driverEnv."
        environment = {name.removeprefix(of_driver): value for name, value in settings.items() if of_driver in name}
        job = driver["entryPoint"].rpartition("/jobs/")[2].removesuffix(".py")
        return job, driver["entryPointArguments"], environment
    run = task.json["tasks"][0]
    wheel = run["python_wheel_task"]
    return wheel["entry_point"].replace("-", "_"), wheel["parameters"], run["new_cluster"]["spark_env_vars"]


def jobs(dag: DAG) -> list[BaseOperator]:
    return [task for task in dag.topological_sort() if task.task_id not in ("approve", "stopped")]


def test_the_three_platforms_have_the_same_graph(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == sorted([*SCHEDULED, *BACKFILLS])
    last = ("none_failed_min_one_success", [])
    for name in SCHEDULED:
        assert graph(dags[name]) == {
            "orders": ("all_success", ["stopped", "value_props"]),
            "value_props": ("all_success", ["publish", "stopped"]),
            "publish": ("all_success", ["stopped"]),
            "stopped": last,
        }
    for name in BACKFILLS:
        assert graph(dags[name]) == {
            "plan": ("all_success", ["approve", "stopped"]),
            "approve": ("all_success", ["apply"]),
            "apply": ("all_success", ["stopped"]),
            "stopped": last,
        }


@pytest.mark.parametrize("name", [*SCHEDULED, *BACKFILLS])
def test_one_run_at_a_time_and_none_for_times_that_have_passed(dags: dict[str, DAG], name: str) -> None:
    dag = dags[name]
    assert (dag.max_active_runs, dag.catchup, dag.schedule is None) == (1, False, name in BACKFILLS)
    assert all(task.retries == 2 for task in jobs(dag))
    # Who clears a task that was skipped finds it skipped again.
    assert all(task.inherits_from_skipmixin for task in jobs(dag))


def test_each_scheduled_command_is_what_the_lane_for_all_platforms_checks(dags: dict[str, DAG]) -> None:
    found = [
        ScheduledRun(f"airflow: {name} / {task.task_id}", job, tuple(arguments))
        for name in SCHEDULED
        for task in jobs(dags[name])
        for job, arguments, _ in [command(rendered(task))]
    ]
    assert found == airflow_files.scheduled_runs()


@pytest.mark.parametrize("name", BACKFILLS)
def test_a_backfill_applies_exactly_what_was_planned(dags: dict[str, DAG], name: str) -> None:
    plan, apply = (command(rendered(dags[name].get_task(task))) for task in ("plan", "apply"))
    planned, applied = (PARSERS[job](arguments) for job, arguments, _ in (plan, apply))
    window = planned.scope.window
    assert (planned.plan, planned.as_json, window.since, window.until) == (
        True,
        True,
        "2024-05-01T00:00:00+00:00",
        "2024-05-03T00:00:00+00:00",
    )
    assert applied.apply_run_id == RUN_ID


@pytest.mark.parametrize("name", SCHEDULED)
def test_all_jobs_of_a_run_are_in_one_trace_that_its_names_make(dags: dict[str, DAG], name: str) -> None:
    parents = [command(rendered(task))[2]["TRACEPARENT"] for task in jobs(dags[name])]
    assert len({parent.split("-")[1] for parent in parents}) == 1
    assert len({parent.split("-")[2] for parent in parents}) == len(parents)
    if name == "orders_local":  # printf orders_local/a-run | sha256sum, and orders_local/a-run/orders
        assert parents[0] == "00-5b11926320614d9fc31171997efaece6-238f2a4287b8838d-01"


def test_a_job_joins_the_trace_of_airflow_where_it_has_one(dags: dict[str, DAG]) -> None:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    task = dags["orders_local"].get_task("orders")
    with TracerProvider().get_tracer("airflow").start_as_current_span("worker.orders") as span:
        ids = span.get_span_context()
        assert rendered(task).env["TRACEPARENT"] == f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"


def test_what_the_platforms_are_told_is_there(dags: dict[str, DAG]) -> None:
    """The wheel has this project's version, the configurations ask for no variable that is not set."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    task = rendered(dags["orders_databricks"].get_task("orders"))
    assert f"orders_lakehouse-{version}-py3" in task.json["tasks"][0]["libraries"][0]["whl"]
    emr = rendered(dags["orders_emr_serverless"].get_task("orders"))
    assert f"/code/{version}/" in emr.job_driver["sparkSubmit"]["entryPoint"]
    for task_, config in ((task, "databricks"), (emr, "emr")):
        needed = set(airflow_files.VARIABLES.findall((ROOT / "conf" / f"{config}.yaml").read_text()))
        assert needed <= command(task_)[2].keys()
