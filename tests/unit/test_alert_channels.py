"""Alerts arrive at a real hook and a real mail server on loopback: of runs, of jobs/health.py and of jobs/alert.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from etl_lib.run.metric_parts import DatasetMetrics, OrderMetrics
from etl_lib.run.metrics import Metrics
from etl_lib.settings.config import Settings
from etl_lib.settings.strict_model import load_settings
from etl_lib.settings.telling_settings import AlertRoute, Telling
from etl_lib.telling.alerts.alert import Message
from etl_lib.telling.alerts.routes import channel_of, send
from etl_lib.telling.alerts.way import Alerts
from etl_lib.telling.state import Attempt, JobState, State, write_state
from jobs import alert, health
from tests.channels import Hook, a_hook, a_mailbox
from tests.conftest import ROOT
from tests.reports import STARTED
from tests.tls import certificate_for

NOW = datetime(2024, 6, 1, 6, 0, tzinfo=UTC)
CONFIG = ROOT / "conf" / "local.yaml"


def options(folder: Path, *more: str) -> list[str]:
    return [f"warehouse={folder / 'warehouse'}", f"output={folder / 'output'}", *more]


def settings_with(folder: Path, *more: str) -> Settings:
    return load_settings(Settings, CONFIG, options(folder, *more))


def routes(**kinds: str) -> str:
    """The setting with a route for each name, whose URL is the environment variable of that name."""
    listed = [
        f"{{name: {name}, url: '${{{name.upper()}}}'{each and f', kinds: {each}'}}}" for name, each in kinds.items()
    ]
    return f"telling.alerts.routes=[{', '.join(listed)}]"


def run_id(number: int) -> str:
    return f"20240531T0600{number:02}Z-c14f8d"


def end(settings: Settings, number: int = 1, now: datetime = NOW, **how: object) -> None:
    """A run ends: its state and its alerts are told, as every job does it."""
    metrics = Metrics(run_id(number), "failed", "orders", started_at=STARTED, duration_s=1)
    for name, value in how.items():
        setattr(metrics, name, value)
    State(settings.output, "orders").tell(metrics)
    Alerts(settings, "orders", lambda: now).tell(metrics)


def failed(settings: Settings, number: int = 1, now: datetime = NOW) -> None:
    end(settings, number, now, error="SchemaError", message="dim_user differs")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> object:
    with a_hook() as hook:
        monkeypatch.setenv("HOOK", hook.url)
        yield hook


def test_a_channel_that_is_down_stops_no_other_and_gets_the_alert_when_it_is_back(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_hook() as down:
        down.status = 503
        monkeypatch.setenv("DOWN", down.url)
        settings = settings_with(tmp_path, routes(down="", unset="", hook=""), "telling.alerts.retries=1")
        failed(settings)
        expected = ["orders: the run failed (SchemaError)", "orders: the retries are used up"]
        assert (down.titles, down.asked, hook.titles) == ([], 1, expected)
        down.status = 200
        failed(settings, 2)
        assert (down.titles, hook.titles) == (expected, expected)
    kept = (tmp_path / "output" / "telling" / "alerts" / "sent.json").read_text()
    printed = capsys.readouterr()
    assert set(json.loads(kept)) == {"down", "hook"}
    for secret in ("T0KEN", str(down.port)):
        assert secret not in kept + printed.out + printed.err
    assert "UNSET" in printed.out + printed.err


def test_mail_on_failure_goes_over_tls_with_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certificate_for("127.0.0.1", tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with a_mailbox("starttls", certificate) as box:
        monkeypatch.setenv("MAIL", box.url("starttls"))
        failed(settings_with(tmp_path, routes(mail="[run_failed]"), "telling.report_url=https://lake.test/o"))
        (mail,) = box.got
    text = mail.get_payload(decode=True).decode().replace("\r\n", "\n")
    assert (mail["Subject"], mail["To"]) == ("orders: the run failed (SchemaError)", "ops@example.com")
    assert "dim_user differs\nWhere: run 20240531T060001Z-c14f8d of the job orders, warehouse /" in text
    assert "run the same command again.\n    ./spark-submit.sh jobs/orders.py\n" in text
    assert "Report: https://lake.test/o/runs/20240531T060001Z-c14f8d/report.html\nRunbook: docs/how-to/ope" in text


MESSAGE = Message("a title", "a text", "info")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # by a server that is TLS from the start
@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_mail_is_refused_without_the_login_or_a_certificate_that_somebody_vouches_for(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills mail that goes out in the clear, and a reason that shows the password."""
    certificate = certificate_for("127.0.0.1", tmp_path / "tls")
    route = AlertRoute(name="mail", url="${MAIL}")
    with a_mailbox(mode, certificate) as box:
        monkeypatch.setenv("MAIL", box.url(mode))
        assert "CERTIFICATE_VERIFY_FAILED" in str(send(route, MESSAGE))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert send(route, MESSAGE) is None
        monkeypatch.setenv("MAIL", box.url(mode, "wr0ng-w0rd"))
        reason = str(send(route, MESSAGE))
        assert "535" in reason
        assert "wr0ng" not in reason
    assert len(box.got) == 1


def test_a_url_that_no_service_has_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL", "nothing://s3cret-word")
    reason = str(send(AlertRoute(name="mail", url="${MAIL}"), MESSAGE))
    assert "none that Apprise knows" in reason
    assert "s3cret" not in reason


def test_retries_that_are_used_up_are_told_once_and_so_is_the_recovery(tmp_path: Path, hook: Hook) -> None:
    settings = settings_with(tmp_path, routes(hook="[retries_used_up, recovered]"), "telling.alerts.retries=2")
    for number in (1, 2, 3):
        failed(settings, number)
    assert hook.titles == ["orders: the retries are used up"]
    end(settings, 4, status="done")
    end(settings, 5, status="done")
    assert hook.titles[1:] == ["orders: it works again"]
    for number in (6, 7):
        failed(settings, number)
    end(settings, 8, status="done")
    assert hook.titles[2:] == ["orders: the retries are used up", "orders: it works again"]


def test_alerts_beyond_the_most_of_an_hour_are_counted_in_the_next_one(tmp_path: Path, hook: Hook) -> None:
    settings = settings_with(tmp_path, routes(hook="[run_failed]"), "telling.alerts.most_per_hour=1")
    for number, hours in enumerate((0, 0, 0, 1, 2)):
        end(settings, number, NOW + timedelta(hours=hours), error=f"E{number}Error", message="?")
    assert [each["title"][-8:-1] for each in hook.got] == ["E0Error", "E3Error", "E4Error"]
    assert ["Held back" in each["message"] for each in hook.got] == [False, True, False]
    assert hook.got[1]["message"].endswith("most_per_hour says: 2")


def test_a_run_that_was_refused_has_no_report_to_lead_to(tmp_path: Path, hook: Hook) -> None:
    end(settings_with(tmp_path, routes(hook="")), error="InputError", message="no such file", is_refused=True)
    assert f"Report: {tmp_path}/output/index.html\n" in hook.got[0]["message"]


def batch(records: int, rejected: int) -> OrderMetrics:
    datasets = {"orders": DatasetMetrics(records, {"inserted": records - rejected, "rejected": rejected}, {}, {})}
    return OrderMetrics(
        input_orders=records, blank_lines=0, valid_orders=records - rejected, deduped_orders=records, items=0,
        outcomes=datasets["orders"].outcomes, conflicts=0, conflict_orders=[], datasets=datasets if records else {},
        drift={}, warnings=[], dates=[],
    )  # fmt: skip


def test_a_high_share_of_rejected_records_is_told(tmp_path: Path, hook: Hook) -> None:
    settings = settings_with(tmp_path, routes(hook=""), "telling.alerts.rejected_share=0.2")
    end(settings, 1, status="done", batch=batch(10, 2))
    assert hook.titles == []
    end(settings, 2, status="done", batch=batch(10, 3))
    assert hook.titles == ["orders: 30.0% of orders rejected"]
    assert f"quarantine.py list --run {run_id(2)}" in hook.got[0]["message"]


def test_runs_without_new_data_are_told_until_there_is_some(tmp_path: Path, hook: Hook) -> None:
    settings = settings_with(tmp_path, routes(hook=""), "telling.alerts.no_data_hours={orders: 26}")
    last = datetime.now(UTC)
    end(settings, 1, status="done", batch=batch(10, 0), now=last)
    end(settings, 2, status="done", batch=batch(0, 0), now=last + timedelta(hours=25))
    assert hook.titles == []
    end(settings, 3, status="done", batch=batch(0, 0), now=last + timedelta(hours=27))
    end(settings, 4, status="done", batch=batch(0, 0), now=last + timedelta(hours=28))
    assert hook.titles == ["orders: no new data for 27 hours"]


def attempt(hours: float, records: int) -> Attempt:
    ended = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")
    return Attempt(
        run_id=f"r-{hours:g}",
        job="orders",
        status="done",
        started_at=ended,
        ended_at=ended,
        duration_s=1,
        records=records,
    )


def test_health_tells_what_only_silence_shows_once(
    tmp_path: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    state = JobState().after(attempt(70, 7)).after(attempt(50, 7)).after(attempt(30, 0))
    write_state(str(tmp_path / "output"), "orders", state)
    limits = ["health.max_age_hours={orders: 26}", "telling.alerts.no_data_hours={orders: 40}"]
    asked = ["--set", *options(tmp_path, *limits, routes(hook="[silent, no_data]"))]
    assert health.main(asked) == 1
    assert hook.titles == []
    assert [health.main([*asked, "--alert"]) for _ in range(2)] == [1, 1]
    assert hook.titles == ["orders: no success for more than 26 hours", "orders: no new data for 50 hours"]
    assert "alerts did not arrive" not in capsys.readouterr().err
    (tmp_path / "output" / "telling" / "alerts" / "sent.json").unlink()
    hook.status = 500
    assert health.main([*asked, "--alert"]) == 1
    assert "alerts did not arrive by: hook" in capsys.readouterr().err


def test_a_success_after_silence_is_told(tmp_path: Path, hook: Hook) -> None:
    settings = settings_with(tmp_path, routes(hook="[silent, recovered]"))
    asked = ["--set", *options(tmp_path, "health.max_age_hours={orders: 26}", routes(hook="[silent, recovered]"))]
    health.main([*asked, "--alert"])
    end(settings, 1, status="done", batch=batch(1, 0))
    assert hook.titles == ["orders: no success for more than 26 hours", "orders: it works again"]


def test_a_rehearsal_reaches_every_channel_and_starts_no_spark(
    tmp_path: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
    import sys
    from jobs import alert
    code = alert.main(["test", *sys.argv[1:]])
    print(code, "pyspark" in sys.modules)
    """
    asked = [word for option in options(tmp_path, routes(hook="[sink]", unset="")) for word in ("--set", option)]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *asked[:-2], "--set", routes(hook="[sink]")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["hook: arrived", "0 False"]
    assert (hook.titles, "of these kinds: sink" in hook.got[0]["message"]) == (["Rehearsal: nothing is wrong"], True)
    assert alert.main(["test", *asked]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "hook: arrived"
    assert printed.out.splitlines()[1].startswith("unset: failed: ${UNSET}: the environment variable")
    assert "1 of 2 channels failed: unset" in printed.err
    assert not (tmp_path / "output").exists()
    assert alert.main(["test"]) == 2


def test_the_routes_and_urls_of_the_runbook_are_understood() -> None:
    text = (ROOT / "docs" / "how-to" / "operations.md").read_text(encoding="utf-8").partition("\n## Alerts\n")[2]
    given = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    assert len(Telling.model_validate(given["telling"]).alerts.routes) == 3
    urls = re.findall(r"^\| .+ \| `(\w+://.+)` \|$", text, re.MULTILINE)
    assert [url for url in urls if channel_of(url) is None] == []
    assert len(urls) == 5
