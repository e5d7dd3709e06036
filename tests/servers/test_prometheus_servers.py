"""From a run to a call: Debian's Prometheus with exporter, gateway and Alertmanager, on free ports of the loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import yaml

from etl_lib.run.metric_parts import PublishMetrics, PullMetrics
from etl_lib.run.metrics import Metrics
from etl_lib.settings.config import Settings
from etl_lib.settings.strict_model import load_settings
from etl_lib.telling.prometheus.prometheus_ways import PrometheusFile
from etl_lib.telling.state import State
from tests.conftest import ROOT
from tests.reports import STARTED, rich_metrics
from tests.unit.test_docs import anchors

pytestmark = pytest.mark.servers

RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
PATIENCE_S = 30


def tool(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=RULES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def awaited(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer; a server that is not up yet has none."""
    ends, answer = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < ends:
        try:
            if answer := ask():
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s; the last answer was {answer}")


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        port: int = it.getsockname()[1]
        return port


@contextmanager
def serving(program: str, folder: Path, *options: str, ready: str = "-/ready") -> Iterator[str]:
    """The address of a server that is ready, as one of its pages says."""
    assert shutil.which(program), f"{program} is not installed; Debian has it"
    port = free_port()
    address, log = f"127.0.0.1:{port}", folder / f"{program}.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [program, f"--web.listen-address={address}", *options], cwd=folder, stdout=stream, stderr=stream
        )
    try:
        awaited(lambda: process.poll() is None and httpx.get(f"http://{address}/{ready}").is_success, log.name)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Webhook(BaseHTTPRequestHandler):
    """Keeps the alerts that it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.alerts += json.loads(body)["alerts"]  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def prometheus(folder: Path, scrape: list[dict[str, Any]], **others: Any) -> Any:
    """A Prometheus that scrapes and judges every second."""
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": scrape,
        **others,
    }
    page = folder / "prometheus.yaml"
    page.write_text(yaml.safe_dump(settings))
    return serving("prometheus", folder, f"--config.file={page}", f"--storage.tsdb.path={folder / 'data'}")


def asked(address: str, expression: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"http://{address}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def test_the_rules_and_examples_are_valid_and_the_rules_fire_when_they_are_to() -> None:
    tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")
    tool("promtool", "check", "config", "prometheus.yaml")
    tool("promtool", "test", "rules", "alerts_test.yaml")
    tool("amtool", "check-config", "alertmanager.yaml")


def test_every_alert_says_what_to_type_and_links_to_its_page() -> None:
    rules = yaml.safe_load((RULES / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len(rules) > 10
    tested = (RULES / "alerts_test.yaml").read_text()
    for rule in rules:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert anchor in anchors(ROOT / page), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} <= set(rule["annotations"])
        assert rule["for"]
        assert rule["alert"] in tested


def runs_of_a_life(folder: Path) -> Path:
    """What several jobs leave, told as each tells itself: good runs, a failed and a held one."""
    good, held = rich_metrics(), rich_metrics()
    assert held.batch
    orders = replace(held.batch.datasets["orders"], newest="2024-05-31T05:00:00+00:00")
    held.run_id, held.publish = "held-1", "held"
    held.batch = replace(held.batch, datasets={**held.batch.datasets, "orders": orders})  # type: ignore[arg-type]
    held.publishes = {"postgres": PublishMetrics("postgresql://db/shop", status="differs")}
    pull = PullMetrics("p-7", "complete", 12, 1180, 1, resumed=True, folder="/lake/landing/orders/p-7")
    pulled = Metrics("pull-1", "done", "pull", (), STARTED, pulls={"orders": pull}, duration_s=4.1)
    failed = Metrics("weeks-1", "failed", "value_props", (), STARTED, error="InputError", duration_s=3.5)
    overrides = ["warehouse=w", f"output={folder}", "sinks=[postgres]", f"telling.metrics.folder={folder / 'prom'}"]
    postgres = "publish.postgres={url: 'jdbc:postgresql://db/shop', user: '${A}', password: '${B}'}"
    settings = load_settings(Settings, ROOT / "conf" / "local.yaml", [*overrides, postgres])
    for metrics in (good, held, pulled, failed):
        State(str(folder), metrics.job).tell(metrics)
        PrometheusFile(settings).tell(metrics)
    return folder / "prom"


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped the files of several jobs, which node_exporter has read."""
    folder = tmp_path_factory.mktemp("scraped")
    files = sorted(runs_of_a_life(folder).glob("*.prom"))
    assert len(files) == 3
    for file in files:
        subprocess.run(["promtool", "check", "metrics"], input=file.read_bytes(), check=True)
    options = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}/prom")
    with serving("prometheus-node-exporter", folder, *options, ready="") as exporter:
        scrape = [{"job_name": "node", "static_configs": [{"targets": [exporter]}]}]
        with prometheus(folder, scrape) as address:
            awaited(lambda: asked(address, "node_textfile_scrape_error"), "the scrape")
            yield address


def test_the_exporter_reads_the_files_of_all_jobs_together(scraped: str) -> None:
    """It gives up all of them where two have the same series, or differ in what they say of a metric."""
    assert [each["value"][1] for each in asked(scraped, "node_textfile_scrape_error")] == ["0"]
    jobs = {each["metric"]["job_name"] for each in asked(scraped, "orders_lakehouse_build_info")}
    assert jobs == {"orders", "pull", "value_props"}


def queries() -> list[tuple[str, str]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def test_the_dashboard_is_whole() -> None:
    """Its panels have ids of their own and do not lie on each other; each shows something that it explains."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"]
        assert panel["type"] in {"stat", "timeseries", "bargauge", "table"}
        assert {each["datasource"]["uid"] for each in (panel, *panel["targets"])} == {"${datasource}"}
        assert len({each["refId"] for each in panel["targets"]}) == len(panel["targets"])
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", " ".join(expression for _, expression in queries())))
    assert variables == used | {"datasource"}


@pytest.mark.parametrize(("title", "expression"), queries())
def test_every_query_of_the_dashboard_is_answered(scraped: str, title: str, expression: str) -> None:
    assert asked(scraped, expression.replace("$job_name", ".*")), title


def test_every_metric_is_on_the_dashboard_or_in_an_alert(scraped: str) -> None:
    names = httpx.get(f"http://{scraped}/api/v1/label/__name__/values").json()["data"]
    told = {name for name in names if name.startswith("orders_lakehouse_")}
    assert len(told) > 20
    used = DASHBOARD.read_text() + (RULES / "alerts.yaml").read_text()
    assert {name for name in told if name not in used} == set()


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("last_run_status{status='failed'} == 1", {"job_name": "value_props"}),
        ("last_run_records{outcome='rejected'} > 1000", {"job_name": "orders", "dataset": "orders"}),
    ],
)
def test_what_is_scraped_keeps_its_job(scraped: str, expression: str, labels: dict[str, str]) -> None:
    (found,) = asked(scraped, f"orders_lakehouse_{expression}")
    assert labels.items() <= found["metric"].items()
    assert not any(name.startswith("exported_") for name in found["metric"])


def rules_at_once(folder: Path) -> Path:
    """The rules as they are, but for their waiting."""
    rules = yaml.safe_load((RULES / "alerts.yaml").read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    page = folder / "alerts.yaml"
    page.write_text(yaml.safe_dump(rules))
    return page


def alertmanager(folder: Path, webhook: int) -> Any:
    """The example, but for its waiting and its receiver."""
    settings = yaml.safe_load((RULES / "alertmanager.yaml").read_text())
    settings["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    settings["receivers"][0]["webhook_configs"][0]["url"] = f"http://127.0.0.1:{webhook}/alerts"
    page = folder / "alertmanager.yaml"
    page.write_text(yaml.safe_dump(settings))
    options = (f"--config.file={page}", f"--storage.path={folder / 'alerts'}", "--cluster.listen-address=")
    return serving("prometheus-alertmanager", folder, *options)


def failing_run(folder: Path, gateway: str) -> None:
    """The orders job itself, whose input is not there: it fails before it needs Spark, and pushes that."""
    places = [f"warehouse={folder / 'w'}", f"output={folder / 'o'}", f"input.orders={folder / 'none.jsonl'}"]
    pushing = [
        f"telling.metrics.pushgateway.url=http://{gateway}",
        "telling.metrics.pushgateway.grouping={place: test}",
    ]
    done = subprocess.run(
        [sys.executable, "jobs/orders.py", "--set", *places, *pushing],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be told" not in done.stderr


def test_a_run_that_fails_calls_somebody_who_is_told_when_it_is_well_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        webhook = stack.enter_context(http_server(Webhook))
        webhook.alerts = []  # type: ignore[attr-defined]
        gateway = stack.enter_context(serving("prometheus-pushgateway", tmp_path))
        manager = stack.enter_context(alertmanager(tmp_path, webhook.server_port))
        address = stack.enter_context(
            prometheus(
                tmp_path,
                [{"job_name": "gateway", "honor_labels": True, "static_configs": [{"targets": [gateway]}]}],
                rule_files=[str(rules_at_once(tmp_path))],
                alerting={"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
            )
        )
        failing_run(tmp_path, gateway)

        def called(status: str) -> dict[str, Any] | None:
            alerts = webhook.alerts  # type: ignore[attr-defined]
            of_failures = (each for each in alerts if each["labels"]["alertname"] == "OrdersLakehouseRunFailed")
            return next((each for each in of_failures if each["status"] == status), None)

        alert = awaited(lambda: called("firing"), "the call")
        expected = {"job": "orders_lakehouse", "job_name": "orders", "place": "test", "severity": "warning"}
        assert expected.items() <= alert["labels"].items()
        assert alert["annotations"]["summary"] == "The last run of orders failed"
        assert len(asked(address, "orders_lakehouse_failures_in_a_row == 1")) == 1

        httpx.delete(f"http://{gateway}/metrics/job/orders_lakehouse/job_name/orders/place/test").raise_for_status()
        awaited(lambda: called("resolved"), "the end of the call")
