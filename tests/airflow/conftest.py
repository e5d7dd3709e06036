"""An Airflow of the tests' own: a home in a scratch folder, SQLite, the project's DAGs and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from tests.airflow.platforms import Platforms

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "deploy" / "airflow" / "dags"
sys.path.insert(0, str(ROOT))

HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ |= {
    "AIRFLOW_HOME": HOME.name,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-tests-alone-that-is-long-enough-for-its-algorithm",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "AIRFLOW_VAR_ORDERS_HOME": str(ROOT),
    "AIRFLOW_VAR_ORDERS_EMR_APPLICATION_ID": "00application",
    "AIRFLOW_VAR_ORDERS_EMR_ROLE_ARN": "arn:aws:iam::123456789012:role/orders-job",
    "AIRFLOW_VAR_ORDERS_EMR_BUCKET": "lake",
}

try:  # it reads the environment once, so it comes after; `make airflow` installs it into an environment of its own
    import airflow.sdk  # noqa: F401
except ImportError:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def airflow_home() -> Iterator[Path]:
    """The home, with its database made."""
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    yield Path(HOME.name)
    HOME.cleanup()


@pytest.fixture
def platforms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platforms]:
    """The platforms, and Airflow's connections to them."""
    from tests.airflow.platforms import Platforms, serve  # noqa: PLC0415 - only where Airflow is

    asked = Platforms()
    with serve(asked) as server:
        channel = f"json://127.0.0.1:{server.server_port}/alerts"
        connections = {
            "orders_alerts": {"conn_type": "apprise", "extra": {"config": [{"path": channel, "tag": "all"}]}},
            "aws_default": {
                "conn_type": "aws",
                "login": "key",
                "password": "secret",
                "extra": {"region_name": "eu-west-1", "endpoint_url": asked.url},
            },
            "databricks_default": {
                "conn_type": "databricks",
                "host": "127.0.0.1",
                "schema": "http",
                "port": server.server_port,
                "password": "token",
            },
        }
        for name, connection in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        yield asked
        server.shutdown()


@pytest.fixture
def dags(airflow_home: Path) -> dict[str, DAG]:
    """All DAGs by their ids, as Airflow reads them for each task anew."""
    from airflow.dag_processing.dagbag import BundleDagBag  # noqa: PLC0415 - only where Airflow is

    assert airflow_home.is_dir()
    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    return bag.dags
