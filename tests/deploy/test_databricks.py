"""The bundle of Databricks: every job loads, everything it names is there, and nothing of it is out of the ordinary."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from etl_lib.process.errors import ConfigError
from etl_lib.settings.config import Settings
from etl_lib.settings.strict_model import load_settings
from tests.deploy.databricks_files import (
    BUNDLE,
    FRAME,
    TARGETS,
    VARIANTS,
    command_of,
    environment_of,
    filled_in,
    is_scheduled,
    jobs_of,
    resolved,
    values_in,
)
from tests.deploy.scheduled import ROOT, ScheduledRun
from tests.parsers import PARSERS

pytestmark = pytest.mark.deploy

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FIELDS = {
    "bundle": {"name", "databricks_cli_version"},
    "variable": {"description", "default"},
    "artifact": {"type", "path", "build", "dynamic_version"},
    "sync": {"paths"},
    "target": {"mode", "default", "workspace", "run_as", "permissions", "variables"},
    "workspace": {"root_path"},
    "permission": {"level", "service_principal_name", "group_name"},
}
"""The fields of the frame that are used here, as bundle/schema/jsonschema.json of databricks/cli has them; the
classes of databricks-bundles know jobs alone."""
FILLED_IN = {"since": "2024-05-01", "until": "2024-05-02", "run_id": "20240501T120000Z-abcdef"}
"""The parameters of the backfill."""
TIMES = (FILLED_IN["since"], FILLED_IN["until"])

CASES = [(target, variant) for target in TARGETS for variant in VARIANTS]
TASKS = [
    pytest.param(job, task, id=f"{target} {variant} {key} {task.task_key}")
    for target, variant in CASES
    for key, job in jobs_of(target, variant).items()
    for task in job.tasks
    if task.condition_task is None
]


def settings_of(job: Any, task: Any) -> Settings:
    """What a task's run is configured with."""
    run = ScheduledRun(task.task_key, *command_of(job, task, **FILLED_IN), environment_of(job, task))
    return load_settings(Settings, run.settings_file(), PARSERS[run.job](run.arguments).overrides, run.environment)


def test_the_frame_has_fields_that_there_are() -> None:
    assert FRAME.keys() == {"bundle", "include", "variables", "artifacts", "sync", "targets"}
    found: dict[str, list[dict[str, Any]]] = {
        "bundle": [FRAME["bundle"]],
        "variable": list(FRAME["variables"].values()),
        "artifact": list(FRAME["artifacts"].values()),
        "sync": [FRAME["sync"]],
        "target": list(FRAME["targets"].values()),
        "workspace": [target.get("workspace", {}) for target in FRAME["targets"].values()],
        "permission": [each for target in FRAME["targets"].values() for each in target.get("permissions", ())],
    }
    assert {kind: {key for part in parts for key in part} for kind, parts in found.items()} == FIELDS


def test_the_page_fills_in_what_has_no_default_and_nothing_is_declared_for_nobody() -> None:
    assert filled_in().keys() == {name for name, declared in FRAME["variables"].items() if "default" not in declared}
    text = "".join(file.read_text() for file in BUNDLE.glob("*.yml"))
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == FRAME["variables"].keys()


@pytest.mark.parametrize("target", TARGETS)
def test_only_a_shared_target_starts_by_itself_as_a_principal_from_one_place(target: str) -> None:
    frame = resolved(FRAME["targets"][target], values_in(target))
    principal = filled_in()["service_principal"]
    is_shared = frame["mode"] == "production"
    assert is_shared == (target != "dev")
    for variant in VARIANTS:
        scheduled = {key: is_scheduled(job, target) for key, job in jobs_of(target, variant).items()}
        assert scheduled == {"orders": is_shared, "orders_backfill": False}
    if is_shared:
        assert frame["run_as"] == {"service_principal_name": principal}
        assert frame["workspace"]["root_path"] == f"/Workspace/Users/{principal}/.bundle/orders-lakehouse/{target}"
        assert {"level": "CAN_MANAGE", "service_principal_name": principal} in frame["permissions"]


def test_one_of_the_variants_is_included_and_both_define_the_same_job() -> None:
    assert len([file for file in FRAME["include"] if file in VARIANTS]) == 1
    assert {file.name for file in BUNDLE.glob("*.yml")} == {"databricks.yml", *VARIANTS, *FRAME["include"]}
    cluster, serverless = (jobs_of("prod", variant)["orders"] for variant in VARIANTS)
    shared = ("name", "schedule", "queue", "timeout_seconds", "health", "email_notifications", "notification_settings")
    for field in shared:
        assert getattr(cluster, field) == getattr(serverless, field), field


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_follow_orders_and_publishing_needs_the_orders_alone(variant: str) -> None:
    job: Any = jobs_of("prod", variant)["orders"]
    order = {
        task.task_key: (
            command_of(job, task)[0],
            [each.task_key for each in task.depends_on],
            task.run_if and task.run_if.value,
        )
        for task in job.tasks
    }
    assert order == {
        "orders": ("orders", [], None),
        "value_props": ("value_props", ["orders"], None),
        "publish": ("publish", ["orders", "value_props"], "AT_LEAST_ONE_SUCCESS"),
    }
    # a failure that the last task hides is told by its own task
    assert job.tasks[1].email_notifications.on_failure == [filled_in()["alert_email"]]
    assert {(task.max_retries, task.min_retry_interval_millis) for task in job.tasks} == {(1, 900_000)}


@pytest.mark.parametrize(("job", "task"), TASKS)
def test_a_task_runs_what_is_there(job: Any, task: Any) -> None:
    name = command_of(job, task)[0]
    if task.spark_python_task:
        file = (BUNDLE / task.spark_python_task.python_file).resolve()
        assert (file, file.exists()) == (ROOT / "jobs" / f"{name}.py", True)
        assert [library.whl for library in task.libraries] == ["../../dist/*.whl"]
    else:
        assert task.python_wheel_task.package_name == PROJECT["name"].replace("-", "_")
        assert PROJECT["scripts"][task.python_wheel_task.entry_point] == f"jobs.{name}:run"


@pytest.mark.parametrize(("job", "task"), TASKS)
def test_the_settings_of_a_task_are_whole_and_in_unity_catalog(job: Any, task: Any) -> None:
    settings = settings_of(job, task)
    assert settings.warehouse.startswith("catalog:")
    assert settings.lease.enabled  # two jobs share the warehouse, and `max_concurrent_runs` knows one of them
    places = [settings.output, *settings.input.model_dump(exclude_defaults=True).values()]
    assert len(places) == 7
    assert all(place.startswith("/Volumes/") for place in places), places
    assert (settings.sinks != ()) == (task.task_key == "publish")


@pytest.mark.parametrize("target", TARGETS)
def test_both_variants_read_and_write_the_same_places(target: str) -> None:
    cluster, serverless = (jobs_of(target, variant)["orders"] for variant in VARIANTS)
    for one, other in zip(cluster.tasks[:2], serverless.tasks[:2], strict=True):
        assert settings_of(cluster, one) == settings_of(serverless, other)


def test_a_backfill_is_planned_unless_it_names_a_plan_and_whoever_forgets_a_time_starts_nothing() -> None:
    job: Any = jobs_of("prod", VARIANTS[0])["orders_backfill"]
    chosen, plan, apply = job.tasks
    assert chosen.condition_task.as_dict() == {"op": "EQUAL_TO", "left": "{{job.parameters.run_id}}", "right": "plan"}
    assert [(each.task_key, each.outcome) for task in (plan, apply) for each in task.depends_on] == [
        (chosen.task_key, "true"),
        (chosen.task_key, "false"),
    ]
    planned, applied = (PARSERS["orders"](command_of(job, task, **FILLED_IN)[1]) for task in (plan, apply))
    assert (planned.plan, planned.scope.window.since[:10], planned.scope.window.until[:10]) == (True, *TIMES)
    assert (applied.plan, applied.apply_run_id) == (False, FILLED_IN["run_id"])
    with pytest.raises(ConfigError, match="not an ISO 8601 date"):
        PARSERS["orders"](command_of(job, plan)[1])


@pytest.mark.parametrize("target", TARGETS)
def test_the_serverless_job_needs_nothing_of_a_cluster(target: str) -> None:
    job: Any = jobs_of(target, "serverless.yml")["orders"]
    assert not job.job_clusters
    environments = {each.environment_key: each.spec.dependencies for each in job.environments}
    assert environments == {"wheel": ["../../dist/*.whl"]}
    for task in job.tasks:
        assert task.environment_key in environments
        assert not task.libraries
        assert task.python_wheel_task is not None
        assert task.disable_auto_optimization is True


def test_what_is_copied_is_what_the_jobs_need_and_the_wheel_is_built_where_it_is_looked_for() -> None:
    copied = {(BUNDLE / path).resolve() for path in FRAME["sync"]["paths"]}
    assert copied == {ROOT / "jobs", ROOT / "etl_lib", ROOT / "conf"}
    (artifact,) = FRAME["artifacts"].values()
    assert (BUNDLE / artifact["path"]).resolve() == ROOT
    assert "--wheel-dir dist" in artifact["build"]


@pytest.mark.parametrize("file", sorted((ROOT / "jobs").glob("[a-z]*.py")), ids=lambda file: file.name)
def test_a_job_runs_as_databricks_runs_a_file(file: Path, tmp_path: Path) -> None:
    """It gives the text of the file to exec, with its path, but without `__file__`, from any folder."""
    code = "import sys; exec(compile(open(sys.argv[1], 'rb').read(), sys.argv.pop(1), 'exec'))"
    command = [sys.executable, "-c", code, file, "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: jobs/{file.name}" in done.stdout
