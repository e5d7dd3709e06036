"""What docker compose brings up: the specification takes the file, and the services know each other as they are."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.deploy.scheduled import ROOT
from tests.unit.test_compose import COMPOSE, DOCKERFILE, SHOP, TEXT

pytestmark = pytest.mark.deploy

GRAFANA = ROOT / "deploy" / "grafana"
PROVISIONING = GRAFANA / "provisioning"
DAG = ROOT / "deploy" / "airflow" / "dags" / "orders_local.py"


def interpolated() -> dict[str, Any]:
    """The file as compose reads it: what has a default has it, and the rest somebody has filled in."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", TEXT)
    file: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:\?[^}]*\}", "filled-in", text))
    return file


FILE = interpolated()
SERVICES: dict[str, Any] = FILE["services"]
AIRFLOW = SERVICES["airflow"]["environment"]
IGNORED = (COMPOSE / "Dockerfile.dockerignore").read_text()


def check(file: dict[str, Any]) -> None:
    """ValueError for what the specification of compose does not have."""
    PyCompose.from_yaml(yaml.safe_dump(file)).validate()


@pytest.mark.parametrize(
    ("service", "change"),
    [
        ("job", {"enviroment": {}}),
        ("airflow", {"restart": "sometimes"}),
        ("minio", {"healthcheck": {"test": ["CMD", "true"], "interval": "soon"}}),
    ],
)
def test_the_specification_takes_the_file_and_nothing_else(service: str, change: dict[str, Any]) -> None:
    check(FILE)
    other = copy.deepcopy(FILE)
    other["services"][service] |= change
    with pytest.raises(ValueError, match=next(iter(change)).removesuffix("s")):
        check(other)


def mounted(service: str) -> dict[str, Path]:
    """The files of this project by where the service finds them."""
    pairs = [volume.split(":")[:2] for volume in SERVICES[service]["volumes"]]
    return {target: (COMPOSE / source).resolve() for source, target in pairs if source.startswith(".")}


def test_prometheus_and_alertmanager_take_what_is_mounted(tmp_path: Path) -> None:
    for service, tool in (
        ("prometheus", ("promtool", "check", "config")),
        ("alertmanager", ("amtool", "check-config")),
    ):
        assert shutil.which(tool[0]), f"{tool[0]} is not installed; Debian has it in prometheus"
        for target, source in mounted(service).items():
            inside = tmp_path / target.removeprefix("/")
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_text(source.read_text().replace(" [/etc/", f" [{tmp_path}/etc/"))
        (flag,) = [each for each in SERVICES[service]["command"] if each.startswith("--config.file=/")]
        subprocess.run([*tool, f"{tmp_path}{flag.partition('=')[2]}"], check=True, capture_output=True)


def test_who_asks_another_service_asks_it_where_it_listens() -> None:
    """It listens where its own health check looks; of PostgreSQL the default counts."""
    listening = {
        name: int(found[1])
        for name, service in SERVICES.items()
        if (found := re.search(r"127\.0\.0\.1:(\d+)", str(service.get("healthcheck"))))
    }
    files = [SHOP, COMPOSE / "prometheus.yaml", *PROVISIONING.rglob("*.yaml"), COMPOSE / "docker-compose.yml"]
    asked = [found for file in files for found in re.findall(r"(?<=[/\"])([a-z]+):(\d{4,5})\b", file.read_text())]
    assert {host for host, _ in asked} == {"minio", "prometheus", "pushgateway", "alertmanager"}
    assert [(host, port) for host, port in asked if host != "minio" and listening[host] != int(port)] == []
    for name, port in listening.items():
        assert [each.rpartition(":")[2] for each in SERVICES[name].get("ports", [f"{port}"])] == [f"{port}"], name


def test_grafana_finds_its_prometheus_and_the_dashboard() -> None:
    files = mounted("grafana")
    assert files["/etc/grafana/provisioning"] == PROVISIONING
    (dashboard,) = [target for target, source in files.items() if source == GRAFANA / "dashboard.json"]
    provider = yaml.safe_load((PROVISIONING / "dashboards" / "orders.yaml").read_text())
    source = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())
    assert provider["apiVersion"] == source["apiVersion"] == 1
    assert [(each["type"], each["options"]["path"]) for each in provider["providers"]] == [
        ("file", str(Path(dashboard).parent))
    ]
    assert [(each["type"], each["isDefault"]) for each in source["datasources"]] == [("prometheus", True)]


def test_airflow_has_the_dag_of_one_machine_and_its_variables() -> None:
    copied = [source for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]]
    assert "deploy/airflow/dags/orders_local.py" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert [each for each in re.findall(r"^!(\S+)$", IGNORED, re.MULTILINE) if source.startswith(each)], source
    given = {name.removeprefix("AIRFLOW_VAR_").lower() for name in AIRFLOW if name.startswith("AIRFLOW_VAR_")}
    assert given == set(re.findall(r"var\.value\.get\('(\w+)'", DAG.read_text()))
    assert AIRFLOW["AIRFLOW_VAR_ORDERS_CONFIG"] in mounted("airflow")
    assert AIRFLOW["AIRFLOW__CORE__DAGS_FOLDER"] == "/opt/airflow/dags"
