"""The bundle in deploy/databricks as the command line of Databricks resolves it: includes, targets, variables, modes.

What it does itself is little: variables, the settings of targets that are used there, and the pause of `development`.
Whatever else stands in a job is held against the classes of databricks-bundles, which know every field.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from databricks.bundles.jobs import Job

from tests.deploy.scheduled import ROOT, ScheduledRun

BUNDLE = ROOT / "deploy" / "databricks"
PAGE = ROOT / "docs" / "how-to" / "databricks.md"
FRAME: dict[str, Any] = yaml.safe_load((BUNDLE / "databricks.yml").read_text())
TARGETS: tuple[str, ...] = tuple(FRAME["targets"])
VARIANTS = ("cluster.yml", "serverless.yml")
"""The two forms of the job; databricks.yml includes one."""

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def filled_in() -> dict[str, str]:
    """What the page says to fill in, with its examples."""
    found = re.search(r"^```json\n(.+?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE} has no example of what to fill in"
    values: dict[str, str] = json.loads(found[1])
    return values


def values_in(target: str) -> dict[str, str]:
    """The value of everything that a text of the bundle may refer to."""
    defaults = {name: declared["default"] for name, declared in FRAME["variables"].items() if "default" in declared}
    chosen = {**defaults, **filled_in(), **FRAME["targets"][target].get("variables", {})}
    values = {f"var.{name}": str(value) for name, value in chosen.items()}
    values |= {"bundle.name": FRAME["bundle"]["name"], "bundle.target": target}
    workspace = FRAME["targets"][target].get("workspace", {})
    values["workspace.root_path"] = workspace.get("root_path", "/Workspace/Users/me/.bundle/orders-lakehouse/dev")
    values["workspace.file_path"] = "${workspace.root_path}/files"
    return values


def resolved(part: Any, values: dict[str, str]) -> Any:
    """A part of the bundle with its references replaced; KeyError for one that means nothing."""
    if isinstance(part, dict):
        return {key: resolved(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [resolved(value, values) for value in part]
    while isinstance(part, str) and _REFERENCE.search(part):
        part = _REFERENCE.sub(lambda found: values[found[1]], part)
    return part


@cache
def jobs_of(target: str, variant: str) -> dict[str, Job]:
    """The jobs of a target by their keys, with the given variant of the scheduled one."""
    jobs: dict[str, Job] = {}
    for file in (variant if file in VARIANTS else file for file in FRAME["include"]):
        tree = yaml.safe_load((BUNDLE / file).read_text())
        assert tree.keys() == {"resources"}
        assert tree["resources"].keys() == {"jobs"}
        for key, job in resolved(tree["resources"]["jobs"], values_in(target)).items():
            assert key not in jobs, f"{key} is defined twice"
            jobs[key] = Job.from_dict(job)
    return jobs


def is_scheduled(job: Any, target: str) -> bool:
    """Whether Databricks starts it by itself: the mode `development` pauses what does not say otherwise."""
    assert job.trigger is None
    assert job.continuous is None
    if job.schedule is None:
        return False
    said = job.schedule.pause_status
    return said.value == "UNPAUSED" if said else FRAME["targets"][target]["mode"] != "development"


def command_of(job: Any, task: Any, **parameters: str) -> tuple[str, tuple[str, ...]]:
    """The job of this project that a task runs, and its arguments, with these parameters of the job or its defaults."""
    given = {each.name: each.default for each in job.parameters} | parameters
    texts = {f"{{{{job.parameters.{name}}}}}": value for name, value in given.items()}
    run = task.spark_python_task or task.python_wheel_task
    assert run, f"{task.task_key} runs no job of this project"
    called = Path(run.python_file).stem if task.spark_python_task else run.entry_point
    return called.replace("-", "_"), tuple(texts.get(text, text) for text in run.parameters)


def environment_of(job: Any, task: Any) -> dict[str, str]:
    """The environment variables of a task: those of its cluster."""
    clusters = {each.job_cluster_key: each.new_cluster for each in job.job_clusters}
    return dict(clusters[task.job_cluster_key].spark_env_vars) if task.job_cluster_key else {}


def scheduled_runs() -> list[ScheduledRun]:
    """What starts in production by itself. The other targets differ by the values of variables alone."""
    return [
        ScheduledRun(
            f"databricks: {variant} {key} / {task.task_key}", *command_of(job, task), environment_of(job, task)
        )
        for variant in VARIANTS
        for key, job in jobs_of("prod", variant).items()
        if is_scheduled(job, "prod")
        for task in job.tasks
    ]


def single_runs() -> dict[str, bool]:
    """Every job of every target and variant, and whether it runs once at a time."""
    return {
        f"databricks: {target} {variant} {key}": job.max_concurrent_runs == 1
        for target in TARGETS
        for variant in VARIANTS
        for key, job in jobs_of(target, variant).items()
    }
