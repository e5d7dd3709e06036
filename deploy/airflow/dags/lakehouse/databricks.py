"""Jobs on Databricks: each task is a run of the wheel on a cluster of its own, submitted from here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.databricks.hooks.databricks import DatabricksHook
from airflow.providers.databricks.operators.databricks import DatabricksSubmitRunOperator
from airflow.sdk import BaseOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowException

from lakehouse.outcomes import DONE, Concludes
from lakehouse.tasks import LONGEST

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.tasks import Task

EXIT_CODE = re.compile(r"\bSystemExit: (\d+)")
"""How the error of a Python task names its exit code."""


class DatabricksJob(DatabricksSubmitRunOperator, Concludes):
    """Runs a job, and reads its exit code from the error of the run when it has failed."""

    def execute(self, context: Context) -> None:
        """Submit it and wait for its end."""
        self.params = ParamsDict()  # the templates have taken them; left there, they would become named parameters
        try:
            super().execute(context)
        except AirflowException as error:
            named = EXIT_CODE.search(str(error))
            if not named:  # the cluster did not start, or the like
                raise
            self.log.warning("%s", error)
            self.conclude(context, int(named[1]))
        else:
            is_told = "--json" in self.json["tasks"][0]["python_wheel_task"]["parameters"]
            self.conclude(context, DONE, self.logs() if is_told else "")

    def logs(self) -> str:
        """What the job wrote; Databricks keeps the last 5 MB."""
        hook = DatabricksHook(self.databricks_conn_id)
        task_run_id = hook.get_run(self.run_id)["tasks"][0]["run_id"]
        return hook.get_run_output(task_run_id).get("logs") or ""


@dataclass(frozen=True)
class Databricks:
    """Makes the tasks of one workspace."""

    connection: str
    wheel: str
    config: str
    cluster: dict[str, Any]
    environment: dict[str, str]

    def operator(self, task: Task) -> BaseOperator:
        """A task as an operator of the DAG that is being made."""
        run = {
            "task_key": task.name,
            "python_wheel_task": {
                "package_name": "orders-lakehouse",
                "entry_point": task.job.replace("_", "-"),
                "parameters": ["--config", self.config, *task.arguments],
            },
            "libraries": [{"whl": self.wheel}],
            "new_cluster": {
                **self.cluster,
                "spark_env_vars": {**self.environment, "TRACEPARENT": "{{ traceparent(ti) }}"},
            },
        }
        return DatabricksJob(
            task_id=task.name,
            databricks_conn_id=self.connection,
            json={"run_name": f"orders lakehouse: {task.name}", "tasks": [run]},
            timeout_seconds=int(LONGEST.total_seconds()),
            deferrable=False,
        )
