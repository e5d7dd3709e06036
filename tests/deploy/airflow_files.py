"""The DAGs of Airflow, as far as they can be read without it. `make airflow` holds them against Airflow itself."""

from __future__ import annotations

import re

from deploy.airflow.dags.lakehouse.tasks import SCHEDULED
from tests.deploy.scheduled import ROOT, ScheduledRun

DAGS = ROOT / "deploy" / "airflow" / "dags"
PLATFORMS = ("databricks", "emr_serverless", "local")
VARIABLES = re.compile(r"\$\{(\w+)")
"""What a configuration takes from the environment, with a default or without."""


def scheduled_runs() -> list[ScheduledRun]:
    """The tasks of each DAG that has a schedule."""
    return [
        ScheduledRun(
            f"airflow: orders_{platform} / {task.name}", task.job, ("--config", _config(platform), *task.arguments)
        )
        for platform in PLATFORMS
        for task in SCHEDULED
    ]


def single_runs() -> dict[str, bool]:
    """All DAGs are made by one call of DAG."""
    texts = [path.read_text() for path in DAGS.rglob("*.py")]
    made = [found for text in texts for found in re.findall(r"\bDAG\(\n(.*?)\n    \)", text, re.DOTALL)]
    return {"airflow: all DAGs": len(made) == 1 and "max_active_runs=1," in made[0]}


def _config(platform: str) -> str:
    """The one path of a configuration that the files of a platform name, where Airflow's variables are not set."""
    texts = (DAGS / f"orders_{platform}.py").read_text() + (DAGS / "lakehouse" / f"{platform}.py").read_text()
    code = re.search(r"^CODE = .*'(/[^']+)'", texts, re.MULTILINE)
    named = re.findall(r"""["']((?:\{CODE\}/|environment/)?conf/\w+\.yaml)["']""", texts)
    assert len(named) == 1, f"{platform}: {named}"
    return named[0].replace("{CODE}", code[1] if code else "")
