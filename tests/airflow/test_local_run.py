"""The DAG of one machine really run over the sample, by Airflow's own command and with the jobs as they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

from tests.deploy.scheduled import ROOT

if TYPE_CHECKING:
    from tests.airflow.platforms import Platforms

pytestmark = pytest.mark.airflow

SAMPLE = ROOT / "sample_data"


def test_the_first_run_loads_the_second_finds_nothing_new_and_a_gate_takes_the_branch(
    airflow_home: Path, platforms: Platforms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert airflow_home.is_dir()
    config = tmp_path / "conf" / "shop.yaml"
    monkeypatch.setenv("AIRFLOW_VAR_ORDERS_CONFIG", str(config))
    shutil.copytree(SAMPLE / "orders", tmp_path / "landing")
    settings = settings_for(tmp_path, platforms.url)
    write(config, settings)

    first, first_states = run_dag()
    written = commits(tmp_path)
    second, second_states = run_dag()

    done = {"orders": "success", "value_props": "success", "publish": "success", "stopped": "skipped"}
    assert (first_states, second_states) == (done, done)
    orders, *later = [run for run in runs(tmp_path) if run["job"] == "orders"]
    assert (orders["status"], orders["outcomes"]["inserted"], len(later)) == ("done", 34, 1)
    assert (later[0]["status"], later[0]["input_orders"]) == ("done", 0)
    assert commits(tmp_path) == written
    assert list((tmp_path / "published" / "fact_sales").rglob("*.parquet"))
    for dag_run in (first, second):
        trace = bytes.fromhex(sha256(f"orders_local/{dag_run}".encode()).hexdigest()[:32])
        assert any(trace in sent for sent in platforms.traces)

    (tmp_path / "landing" / "later.jsonl").write_text('{"broken\n')
    write(config, settings | {"quality": {"max_rejected_share": 0.5}})
    assert run_dag()[1] == {"orders": "success", "value_props": "skipped", "publish": "skipped", "stopped": "failed"}
    assert commits(tmp_path) == written
    assert [alert["title"] for alert in platforms.alerts] == ["orders_local: stopped failed"]


def settings_for(folder: Path, receiver: str) -> dict[str, Any]:
    """The sample with a landing folder of its own, a sink, and a receiver of traces."""
    events = {name: str(SAMPLE / "value_props" / name) for name in ("prints.jsonl", "taps.jsonl", "pays.csv")}
    people = {name: str(SAMPLE / f"{name}.csv") for name in ("users", "products")}
    return {
        "warehouse": str(folder / "warehouse"),
        "output": str(folder / "output"),
        "rules": str(ROOT / "conf" / "rules.yaml"),
        "input": {"orders": str(folder / "landing"), **people, **{Path(name).stem: at for name, at in events.items()}},
        "sinks": ["parquet"],
        "publish": {"parquet": {"path": str(folder / "published")}},
        "telling": {"traces": {"endpoint": f"{receiver}/v1/traces"}},
    }


def write(config: Path, settings: dict[str, Any]) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(yaml.safe_dump(settings))


def run_dag() -> tuple[str, dict[str, str]]:
    """Run it once; gives the id of the run and the states of its tasks."""
    command = [sys.executable, "-m", "airflow", "dags", "test", "orders_local"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    with create_session() as session:
        last = session.query(DagRun).filter_by(dag_id="orders_local").order_by(DagRun.run_after.desc()).first()
        states = {ti.task_id: str(ti.state) for ti in last.get_task_instances(session=session)}
        assert ended.returncode == (0 if last.state == "success" else 1), ended.stdout[-5000:]
        return last.run_id, states


def runs(folder: Path) -> list[dict[str, Any]]:
    """What all runs of the jobs say of themselves, the first one first."""
    files = sorted((folder / "output" / "runs").glob("*/metrics.json"))
    return [json.loads(file.read_text()) for file in files]


def commits(folder: Path) -> list[str]:
    """The commits of the data tables that the orders job fills."""
    tables = ("fact_sales", "dim_order", "dim_user", "dim_product", "daily_sales")
    return sorted(
        str(file) for table in tables for file in (folder / "warehouse" / table / "_delta_log").glob("*.json")
    )
