"""Jobs on the machine of the Airflow worker, by the project's `spark-submit.sh`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator

from lakehouse.outcomes import Concludes

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.tasks import Task


class LocalJob(BaseOperator, Concludes):
    """Runs a job as a process. There is no shell between, so what a person types into a form stays an argument."""

    template_fields: Sequence[str] = ("command", "env", "cwd")

    def __init__(self, *, command: Sequence[str], env: dict[str, str], cwd: str, **of_all: object) -> None:
        """`env` is added to the environment of the worker; `of_all` is what every operator takes."""
        super().__init__(**of_all)
        self.command = list(command)
        self.env = env
        self.cwd = cwd

    @cached_property
    def hook(self) -> SubprocessHook:
        """What runs the process and copies its output into the log of the task."""
        return SubprocessHook()

    def execute(self, context: Context) -> None:
        """Run it; its log comes at once, its summary (stdout) at the end."""
        with NamedTemporaryFile() as stdout:
            apart = ["bash", "-c", 'exec "${@:2}" >"$1"', "job", stdout.name]
            environment = {**os.environ, **self.env}
            ended = self.hook.run_command([*apart, *self.command], env=environment, cwd=self.cwd)
            output = Path(stdout.name).read_text(encoding="utf-8")
        for line in output.splitlines():
            self.log.info("%s", line)
        self.conclude(context, ended.exit_code, output)

    def on_kill(self) -> None:
        """End the process with the task."""
        self.hook.send_sigterm()


@dataclass(frozen=True)
class Local:
    """Makes the tasks of one checkout of the project."""

    home: str
    submit: str
    config: str

    def operator(self, task: Task) -> LocalJob:
        """A task as an operator of the DAG that is being made."""
        command = [self.submit, f"jobs/{task.job}.py", "--config", self.config, *task.arguments]
        return LocalJob(task_id=task.name, command=command, env={"TRACEPARENT": "{{ traceparent(ti) }}"}, cwd=self.home)
