"""What Prometheus is told of runs: the numbers of the metrics, under names that Prometheus expects."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from etl_lib.process.errors import ConfigError
from etl_lib.run.job import Job
from etl_lib.run.metric_parts import PublishMetrics
from etl_lib.run.metrics import Metrics
from etl_lib.settings.arguments import parse_order_arguments
from etl_lib.settings.config import Inputs, Settings
from etl_lib.settings.sink_settings import ParquetSettings, SinkName, SinkSettings
from etl_lib.settings.strict_model import load_settings
from etl_lib.settings.telling_settings import PrometheusSettings, Pushgateway, Telling
from etl_lib.telling.prometheus.prometheus_ways import PrometheusFile, PrometheusPush
from etl_lib.telling.state import JobState, State, read_state, state_path
from etl_lib.telling.ways import tell, ways_on
from tests.conftest import ROOT
from tests.prometheus_text import Values, one, values_in
from tests.reports import STARTED, rich_metrics
from tests.tls import certificate_for

ORDERS = Job("orders", (), {})
FILE = "orders_lakehouse_orders.prom"
BEARER = {"token": "${GATE_PASSWORD}"}


def settings_with(output: Path, /, *sinks: SinkName, **metrics: Any) -> Settings:
    return Settings(
        warehouse="w",
        output=str(output),
        rules="r",
        input=Inputs(),
        sinks=sinks,
        publish=SinkSettings(parquet=ParquetSettings(path="p")),
        telling=Telling(metrics=PrometheusSettings(**metrics)),
    )


def way_to_file(folder: Path, *sinks: SinkName) -> PrometheusFile:
    return PrometheusFile(settings_with(folder, *sinks, folder=str(folder)))


def way_to(output: Path, gateway: Pushgateway) -> PrometheusPush:
    return PrometheusPush(settings_with(output, pushgateway=gateway))


def tell_file(folder: Path, *runs: Metrics) -> Values:
    """The file after these runs, each told as a job tells it."""
    for metrics in runs:
        State(str(folder), metrics.job).tell(metrics)
        way_to_file(folder, "parquet").tell(metrics)
    return values_in(folder / FILE)


def failed(number: int, **others: Any) -> Metrics:
    return Metrics(f"failed-{number}", "failed", "orders", (), STARTED, error="DiskFullError", duration_s=4.5, **others)


def test_the_numbers_of_a_run_are_those_of_its_metrics(tmp_path: Path) -> None:
    metrics = rich_metrics()
    values = tell_file(tmp_path, metrics)
    assert metrics.batch
    assert metrics.tables
    assert values["last_run_records"] == {
        (("dataset", name), ("outcome", outcome)): n
        for name, dataset in metrics.batch.datasets.items()
        for outcome, n in dataset.outcomes.items()
    }
    assert values["last_run_rule_records"] == {
        (("dataset", "orders"), ("rule", rule)): n for rule, n in metrics.batch.datasets["orders"].rules.items()
    }
    assert values["last_run_step_seconds"] == {(("step", step.name),): step.seconds for step in metrics.steps}
    for name, field in (
        ("table_rows", "rows_after"),
        ("last_run_table_added_files", "files_added"),
        ("last_run_table_removed_files", "files_removed"),
        ("last_run_table_added_bytes", "bytes_added"),
        ("last_run_table_removed_bytes", "bytes_removed"),
    ):
        assert values[name] == {(("table", table),): getattr(each, field) for table, each in metrics.tables.items()}
    assert values["last_run_gate_closed"] == {
        (("dataset", "orders"), ("effect", "stop"), ("gate", "rejected")): 0,
        (("dataset", "orders"), ("effect", "warn"), ("gate", "volume")): 1,
    }
    singles = ("last_run_conflicts", "last_run_set_aside_files", "last_run_commit_retries", "last_run_duration_seconds")
    assert [one(values[name]) for name in singles] == [2, 1, 1, 73.108]
    assert list(values["build_info"].values()) == [1]


def test_a_step_that_is_taken_twice_is_told_once_with_all_its_seconds(tmp_path: Path) -> None:
    metrics = rich_metrics()
    metrics.steps += metrics.steps
    assert tell_file(tmp_path, metrics)["last_run_step_seconds"][("step", "stage"),] == 2 * 31.884


def test_successes_failures_and_what_is_not_known(tmp_path: Path) -> None:
    values = tell_file(tmp_path, failed(1))
    assert one(values["last_success_timestamp_seconds"]) == 0
    assert "last_run_conflicts" not in values  # not 0: nobody counted
    tell_file(tmp_path, rich_metrics())
    success = values_in(tmp_path / FILE)["last_run_timestamp_seconds"]
    values = tell_file(tmp_path, failed(2), failed(3))
    assert one(values["failures_in_a_row"]) == 2
    assert values["last_success_timestamp_seconds"] == success
    assert values["last_run_status"] == {
        (("status", "done"),): 0,
        (("status", "failed"),): 1,
        (("status", "stopped"),): 0,
    }
    busy = Metrics("busy", "failed", "orders", (), STARTED, error="WarehouseBusyError")
    assert tell_file(tmp_path, busy) == values


def test_a_run_whose_state_could_not_be_kept_is_told_all_the_same(tmp_path: Path) -> None:
    """As on a full disk."""
    tell_file(tmp_path, rich_metrics(), failed(1))
    way_to_file(tmp_path).tell(failed(2))
    assert one(values_in(tmp_path / FILE)["failures_in_a_row"]) == 2


def test_the_newest_version_outlasts_runs_that_bring_nothing(tmp_path: Path) -> None:
    """Else an alert about old data would be silent just when nothing comes."""

    def run(number: int, newest: str | None, status: str = "done") -> Metrics:
        metrics = rich_metrics()
        assert metrics.batch
        orders = replace(metrics.batch.datasets["orders"], newest=newest)
        metrics.batch = replace(metrics.batch, datasets={"orders": orders})  # type: ignore[arg-type]
        metrics.run_id, metrics.status = f"run-{number}", status
        metrics.publishes = {} if status == "stopped" else metrics.publishes
        return metrics

    def newest(*runs: Metrics) -> float:
        return tell_file(tmp_path, *runs)["dataset_newest_timestamp_seconds"][("dataset", "orders"),]

    first = run(1, "2024-05-31T05:00:00+00:00")
    assert newest(first) == 1717131600
    assert newest(
        run(2, None), run(3, "2024-05-30T00:00:00+00:00"), run(4, "2024-06-01T00:00:00+00:00", "stopped")
    ) == (1717131600)
    unpublished = run(6, "2024-06-02T00:00:00+00:00", "failed")  # its sink failed, and the tables have the records
    assert newest(unpublished) == 1717286400
    ahead = tell_file(tmp_path, run(5, "2999-01-01T00:00:00+00:00"))
    assert newest() == one(ahead["last_run_timestamp_seconds"])


def test_a_sink_that_is_behind_and_a_held_publish_are_told_by_times(tmp_path: Path) -> None:
    def after(number: int, sink: str, publish: str | None = None, status: str = "done") -> Values:
        metrics = rich_metrics()
        metrics.run_id, metrics.publish, metrics.status = f"run-{number}", publish, status
        metrics.publishes = {name: PublishMetrics("/lake", status=sink) for name in ("parquet", "postgres")}
        return tell_file(tmp_path, metrics)

    def held_and_free(values: Values) -> tuple[float, float]:
        return one(values["publish_held_timestamp_seconds"]), one(values["publish_free_timestamp_seconds"])

    parquet = (("sink", "parquet"),)
    never = after(1, "failed", status="failed")
    assert never["sink_up_to_date_timestamp_seconds"][parquet] == 0 < never["sink_attempt_timestamp_seconds"][parquet]
    assert list(never["sink_attempt_timestamp_seconds"]) == [parquet]  # postgres is in use no more
    assert held_and_free(never) == (0, 0)
    good = after(2, "nothing new")
    ended = one(good["last_run_timestamp_seconds"])
    assert good["sink_up_to_date_timestamp_seconds"][parquet] == ended
    assert held_and_free(good) == (0, ended)
    bad = after(3, "differs", "held", "failed")
    last = one(bad["last_run_timestamp_seconds"])
    assert bad["sink_up_to_date_timestamp_seconds"][parquet] == ended
    assert bad["sink_attempt_timestamp_seconds"][parquet] == last > ended
    assert held_and_free(bad) == (last, 0)
    elsewhere = tell_file(tmp_path, Metrics("run-4", "done", "orders", (), STARTED, duration_s=1))
    assert held_and_free(elsewhere) == (0, 0)
    assert elsewhere["sink_up_to_date_timestamp_seconds"][parquet] == ended


def test_a_state_of_before_begins_without_the_newest_versions(tmp_path: Path) -> None:
    path = Path(state_path(str(tmp_path), "orders"))
    path.parent.mkdir()
    path.write_text('{"failures_in_a_row": 3, "attempts": [], "last_attempt": null, "last_success": null}')
    assert read_state(str(tmp_path), "orders") == JobState(failures_in_a_row=3)


def test_the_file_is_whole_whenever_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that ends half-way leaves the file of before, and nothing else that node_exporter would read."""
    values = tell_file(tmp_path, rich_metrics())
    monkeypatch.setattr("etl_lib.telling.prometheus.prometheus_ways.generate_latest", lambda _: b"half" * 10_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            way_to_file(tmp_path).tell(failed(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert values_in(tmp_path / FILE) == values
    assert [path.name for path in tmp_path.glob("*.prom")] == [FILE]


class Gateway(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers with the status of its server."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.sent.append((self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"no such <user>\nhere")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def gateway(status: int) -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.status, server.sent = status, []  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def pushing(server: HTTPServer, **others: Any) -> Pushgateway:
    return Pushgateway(url=f"http://127.0.0.1:{server.server_port}/base/", **others)


def test_a_push_names_its_group_and_carries_the_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # not for requests to this machine
    monkeypatch.setenv("GATE_USER", "reporter")
    monkeypatch.setenv("GATE_PASSWORD", "not-for-logs")
    with gateway(200) as server:
        basic = {"username": "${GATE_USER}", "password": "${GATE_PASSWORD}"}
        way_to(tmp_path, pushing(server, grouping={"place": "a/b"}, **basic)).tell(rich_metrics())
        way_to(tmp_path, pushing(server, **BEARER)).tell(rich_metrics())
    first, second = server.sent  # type: ignore[attr-defined]
    assert first[:2] == (
        "/base/metrics/job/orders_lakehouse/job_name/orders/place@base64/YS9i",
        "Basic cmVwb3J0ZXI6bm90LWZvci1sb2dz",
    )
    assert second[:2] == ("/base/metrics/job/orders_lakehouse/job_name/orders", "Bearer not-for-logs")
    assert b'orders_lakehouse_last_run_conflicts{job_name="orders"} 2.0' in first[2]


@pytest.mark.parametrize(("status", "told_of"), [(401, "answers 401 to a push: no such <user> here"), (302, "302")])
def test_a_gateway_that_refuses_stops_nothing_and_is_logged_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, told_of: str
) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "not-for-logs")
    with gateway(status) as server, capture_logs() as logs:
        push = way_to(tmp_path, pushing(server, **BEARER))
        tell([push, way_to_file(tmp_path)], rich_metrics())
    assert (tmp_path / FILE).exists()
    assert [log["way"] for log in logs] == ["PrometheusPush"]
    assert told_of in logs[0]["reason"]
    assert "not-for-logs" not in str(logs)


def test_a_push_trusts_the_given_authority_alone(tmp_path: Path) -> None:
    certificate, key = certificate_for("127.0.0.1", tmp_path)
    with gateway(200) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://127.0.0.1:{server.server_port}"
        way_to(tmp_path, Pushgateway(url=url, ca_file=f"file:{certificate}")).tell(rich_metrics())
        assert len(server.sent) == 1  # type: ignore[attr-defined]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            way_to(tmp_path, Pushgateway(url=url)).tell(rich_metrics())


def test_a_gateway_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        push = Pushgateway(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            way_to(tmp_path, push).tell(rich_metrics())
        assert time.monotonic() - started < 4


def names(settings: Settings, *arguments: str) -> list[str]:
    ways = ways_on(ORDERS, settings, parse_order_arguments(arguments))
    return [type(way).__name__ for way in ways if "Prometheus" in type(way).__name__]


def test_it_is_off_until_it_has_a_place_and_a_plan_is_never_told(tmp_path: Path) -> None:
    assert names(settings_with(tmp_path)) == []
    trusted = Pushgateway(url="http://gate.example", allow_http=True)
    assert names(settings_with(tmp_path, pushgateway=trusted)) == ["PrometheusPush"]
    both = settings_with(tmp_path, folder=str(tmp_path), pushgateway=Pushgateway(url="https://gate"))
    assert names(both) == ["PrometheusFile", "PrometheusPush"]
    assert names(both, "--plan") == []


def test_without_the_extra_a_run_that_wants_it_ends_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert names(settings_with(tmp_path)) == []
    with pytest.raises(ConfigError, match=r"orders-lakehouse\[metrics\]"):
        names(settings_with(tmp_path, folder=str(tmp_path)))


def test_the_extra_is_not_imported_while_it_is_off() -> None:
    code = (
        "import sys\n"
        "from etl_lib.run.job import Job\n"
        "from etl_lib.settings.arguments import parse_order_arguments\n"
        "from etl_lib.settings.config import Inputs, Settings\n"
        "from etl_lib.telling.ways import ways_on\n"
        "settings = Settings(warehouse='w', output='o', rules='r', input=Inputs())\n"
        "print(len(ways_on(Job('orders', (), {}), settings, parse_order_arguments([]))) > 2)\n"
        "print([name for name in sys.modules if 'prometheus' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True", "[]"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("folder: s3://bucket/metrics", "telling.metrics.folder: Value error, must be on a disk of this machine"),
        ("pushgateway: {url: 'http://gate.example:9091'}", "telling.metrics.pushgateway: url: plain http"),
        ("pushgateway: {url: 'https://me:pass-word@gate'}", "`@`"),
        ("pushgateway: {url: gate}", "expected https://host/path"),
        ("pushgateway: {url: 'https://gate', token: in-the-open}", "never by its value"),
        ("pushgateway: {url: 'https://gate', username: '${A}'}", "username and password go together"),
        ("pushgateway: {grouping: {job: x}}", "'job' is no label of its own"),
        ("pushgateway: {grouping: {a-b: x}}", "'a-b' is no label of its own"),
    ],
)
def test_wrong_settings_are_told_with_their_place(tmp_path: Path, text: str, problem: str) -> None:
    page = tmp_path / "x.yaml"
    page.write_text(f"warehouse: w\noutput: o\nrules: r\ninput: {{}}\ntelling:\n  metrics:\n    {text}\n")
    with pytest.raises(ConfigError) as refused:
        load_settings(Settings, page)
    assert problem in str(refused.value)
    assert "pass-word" not in str(refused.value)
    assert "in-the-open" not in str(refused.value)
