"""What gives an alert, what it says and what it does not, and how often it is sent."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl_lib.process.errors import ConfigError
from etl_lib.process.lock import Holder
from etl_lib.process.redaction import remember
from etl_lib.run.job import Job
from etl_lib.run.metrics import Metrics
from etl_lib.settings.arguments import parse_order_arguments
from etl_lib.settings.config import DriftPolicies, Settings
from etl_lib.settings.strict_model import load_settings
from etl_lib.settings.telling_settings import AlertSettings
from etl_lib.sinks.sink import SinkError
from etl_lib.telling.alerts import way
from etl_lib.telling.alerts.alert import Alert, message_of
from etl_lib.telling.alerts.kinds import RunEnd, alerts_of, ended_by
from etl_lib.telling.alerts.limits import Received, SentBook, open_book
from etl_lib.telling.alerts.routes import without_parts
from etl_lib.telling.alerts.silence import alerts_of_silence, hours_without_data
from etl_lib.telling.health import health_of
from etl_lib.telling.state import Attempt, JobState, jobs_kept
from etl_lib.telling.ways import ways_on
from tests import reports
from tests.conftest import ROOT
from tests.reports import HOSTILE, RUN_ID, STARTED

NOW = datetime(2024, 6, 1, 6, 0, tzinfo=UTC)


def settings_with(*options: str) -> Settings:
    return load_settings(Settings, ROOT / "conf" / "local.yaml", ["warehouse=/lake/w", "output=/lake/o", *options])


SETTINGS = settings_with()


def attempt(run_id: str, status: str = "done", records: int = 1) -> Attempt:
    return Attempt(
        run_id=run_id, job="orders", status=status, started_at=STARTED, ended_at=STARTED, duration_s=1, records=records
    )  # fmt: skip


def after(*statuses: str) -> JobState:
    """The state after attempts that ended so; the last one is the run itself."""
    state = JobState()
    for number, status in enumerate(statuses, 1 - len(statuses)):
        state = state.after(attempt(f"before {number}" if number else RUN_ID, status))
    return state


def ended(values: dict[str, Any], state: JobState | None = None, settings: Settings = SETTINGS) -> RunEnd:
    return RunEnd(values, state or after(values["status"]), settings)


def kinds(end: RunEnd, *, was_told: bool = False) -> list[str]:
    return [alert.kind for alert in alerts_of(end, NOW, was_told=was_told)]


def ending(status: str, error: str | None = None, job: str = "orders", **more: Any) -> dict[str, Any]:
    values = {"run_id": RUN_ID, "job": job, "status": status, "arguments": [], **more}
    return values if error is None else values | {"error": error}


BEHIND = {"postgres": {"status": "failed", "message": "no route"}, "parquet": {"status": "complete"}}
NEVER_FORESEEN = ending("failed", "Py4JJavaError", message="Py4JJavaError: cannot cast 'Ana Lima' to a number")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (reports.failed_run(), ["run_failed"]),
        (ending("failed", "ConflictError"), ["run_failed", "retries_used_up"]),
        (ending("failed"), ["run_failed"]),
        (ending("done", "AccountingError"), ["run_failed"]),
        (reports.checked(), ["run_failed"]),
        (reports.stopped_run(), ["gate_stopped"]),
        (ending("failed", "QualityGateError", "value_props"), ["gate_stopped"]),
        (ending("failed", "QualityGateError", "publish", publish="held"), ["gate_held"]),
        (reports.held_run(), ["gate_held", "conflicts", "drift"]),
        (ending("failed", SinkError.__name__, "publish", publishes=BEHIND), ["sink"]),
        (ending("done", SinkError.__name__, publishes=BEHIND), ["sink"]),
        (ending("failed", SinkError.__name__, "publish"), ["run_failed"]),
        (reports.rich_day(), ["conflicts", "drift"]),
        (ending("done", datasets={"users": {"records": 10, "outcomes": {"rejected": 1}}}), []),
        (ending("done", datasets={"users": {"records": 10, "outcomes": {"rejected": 2}}}), ["too_many_rejected"]),
        (reports.pulled(), []),
        (reports.features(), []),
    ],
)
def test_each_end_of_a_run_gives_its_alerts(values: dict[str, Any], expected: list[str]) -> None:
    assert kinds(ended(values)) == expected


@pytest.mark.parametrize(
    ("statuses", "was_told", "expected"),
    [
        (("failed", "busy", "done"), False, ["recovered"]),
        (("stopped", "done"), False, ["recovered"]),
        (("failed", "done", "done"), False, []),
        (("done", "busy", "done"), False, []),
        (("done",), True, ["recovered"]),
        (("failed", "failed"), True, ["run_failed"]),
        (("failed", "failed", "busy", "failed"), True, ["run_failed", "retries_used_up"]),
    ],
)
def test_the_runs_before_decide_on_retries_and_recovery(
    statuses: tuple[str, ...], was_told: bool, expected: list[str]
) -> None:
    assert kinds(ended(ending(statuses[-1]), after(*statuses)), was_told=was_told) == expected


def test_drift_that_is_ignored_gives_no_alert_and_another_field_gives_another() -> None:
    values = reports.rich_day()
    ignoring = SETTINGS.model_copy(update={"drift": DriftPolicies(new_field="ignore")})
    assert kinds(ended(values, settings=ignoring)) == ["conflicts"]
    keys = set()
    for fields in ({"a": 1}, {"a": 2}, {"a": 2, "b": 1}):
        values["drift"] = {"orders": {"new_field": fields}}
        alert = alerts_of(ended(values), NOW, was_told=False)[-1]
        keys.add(alert.key)
    assert len(keys) == 2
    assert alert.text.endswith("by dataset and kind: orders, fields that no table has: 2.")


def alert_of(values: dict[str, Any], settings: Settings = SETTINGS) -> Alert:
    return alerts_of(ended(values, settings=settings), NOW, was_told=False)[0]


def test_an_alert_says_what_where_and_what_to_do() -> None:
    message = message_of(alert_of(reports.stopped_run()), held_back=3)
    assert (message.title, message.tone) == ("orders: a gate stopped the run (rejected)", "failure")
    assert message.body.splitlines() == [
        "No table was changed.",
        f"Where: run {RUN_ID} of the job orders, warehouse /lake/w",
        "Do 1: If the input is right as it is, apply the run by hand. If not, mend the input and run the job again.",
        f"    ./spark-submit.sh jobs/orders.py --apply {RUN_ID} --accept-gate rejected --set output=/lake/o",
        f"Report: /lake/o/runs/{RUN_ID}/report.html",
        "Runbook: docs/how-to/operations.md, entry gate_stopped",
        "Held back since the last message, as telling.alerts.most_per_hour says: 3",
    ]


def test_a_run_is_named_to_be_released_where_its_own_gate_holds_it() -> None:
    own = reports.held_run()
    own["gates"][1]["state"] = "held"
    assert alert_of(own).steps[0][1] == (
        f"./spark-submit.sh jobs/publish.py --release {RUN_ID} --set warehouse=/lake/w --set output=/lake/o"
    )
    for other in (reports.held_run(), ending("failed", "QualityGateError", "publish", publish="held")):
        ((sentence, command),) = alert_of(other).steps
        assert (sentence.partition(" says")[0], command) == ("jobs/publish.py", None)


def test_the_link_leads_to_what_is_there() -> None:
    url = settings_with("telling.report_url=https://lake.test/o/")
    refused = RunEnd(reports.failed_run(), after("failed"), url, has_report=False)
    ends = (ended(reports.failed_run(), settings=url), refused)
    links = [alerts_of(end, NOW, was_told=False)[0].link for end in ends]
    assert links == [f"https://lake.test/o/runs/{RUN_ID}/report.html", "https://lake.test/o/index.html"]
    assert alert_of(reports.failed_run(), settings_with("telling.report=false")).link == ""


@pytest.mark.parametrize(
    ("values", "hidden"),
    [
        (NEVER_FORESEEN, "Ana Lima"),
        (ending("failed", "SchemaError", message="a-s3cret-word is wrong"), "s3cret"),
        (ending("failed", "SchemaError", message="ask ana@example.com"), "ana@example.com"),
        (reports.checked(), "U-1044"),
        (ending("done", drift={"orders": {"new_field": {"ana@example.com, born 1970": 1}}}), "1970"),
        (reports.hostile_day(HOSTILE) | {"status": "failed"}, "\x1b"),
        (ending("failed", "SchemaError", message="x" * 2000), "x" * 800),
    ],
    ids=[
        "an unforeseen error",
        "a secret",
        "an address",
        "sample keys",
        "names of fields",
        "control characters",
        "a long text",
    ],
)
def test_an_alert_has_no_personal_data_and_nothing_that_steers_a_screen(values: dict[str, Any], hidden: str) -> None:
    remember("a-s3cret-word")
    for alert in alerts_of(ended(values), NOW, was_told=False):
        message = message_of(alert)
        assert hidden not in message.title + message.body
    assert alerts_of(ended(values), NOW, was_told=False)


def test_a_reason_has_no_part_of_the_url() -> None:
    url = "slack://bot@T1JJ3T3L2/A1BRTD4JD/TIiajkd?to=%23my%20ops&mode=for"
    said = without_parts("POST /T1JJ3T3L2/A1BRTD4JD/TIiajkd for #my ops: 403 at t1jj3t3l2 \x1b", url)
    assert said == "POST /***/***/*** for ***: 403 at *** \\x1b"


def limits(**more: Any) -> AlertSettings:
    return AlertSettings(repeat_after_hours=2, most_per_hour=2, **more)


def decided(received: Received, key: str, now: datetime, **more: Any) -> str:
    return received.decide("drift", key, limits(**more), now)


def test_the_same_alert_is_sent_again_after_a_time_or_when_it_was_over() -> None:
    received = Received().after_sending("drift orders a", NOW)
    later = NOW + timedelta(hours=2)
    assert decided(received, "drift orders a", later - timedelta(seconds=1)) == "repeated"
    assert decided(received, "drift orders a", later) == "send"
    assert decided(received, "drift orders b", NOW) == "send"
    for over, decision in (("drift orders", "send"), ("drift ord", "repeated"), ("drift orders b", "repeated")):
        assert decided(received.without([over]), "drift orders a", NOW) == decision


def test_no_more_than_so_many_are_sent_within_an_hour() -> None:
    received = Received().after_sending("a", NOW).after_sending("b", NOW + timedelta(minutes=30))
    assert decided(received, "c", NOW + timedelta(minutes=59)) == "too many"
    assert decided(received, "c", NOW + timedelta(minutes=60)) == "send"


def test_what_is_kept_of_a_channel_does_not_grow() -> None:
    received = Received()
    for number in range(600):
        received = received.after_sending(f"drift orders {number}", NOW + timedelta(minutes=number))
    assert (len(received.sent), len(received.times), "drift orders 599" in received.sent) == (500, 60, True)


def test_without_any_record_ever_the_first_run_counts() -> None:
    state = JobState().after(attempt("a", records=0)).after(replace(attempt("b", records=0), started_at="2024-06-01"))
    assert hours_without_data(state, NOW) == pytest.approx(23.9967, abs=1e-4)
    assert hours_without_data(JobState(), NOW) is None


def test_a_kind_is_muted_until_a_time() -> None:
    until = {"drift": "2024-06-01T06:00:00"}
    assert decided(Received(), "a", NOW - timedelta(seconds=1), muted_until=until) == "muted"
    assert decided(Received(), "a", NOW, muted_until=until) == "send"
    assert Received().decide("sink", "a", limits(muted_until=until), NOW - timedelta(hours=1)) == "send"


def test_the_book_is_kept_apart_from_the_states_of_jobs_and_begins_anew_when_it_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "telling" / "alerts" / "sent.json"
    with open_book(str(tmp_path)):
        pass
    assert not path.exists()
    with open_book(str(tmp_path)) as book:
        book.received["ops"] = replace(Received().after_sending("silent orders late", NOW), held_back=3)
    with open_book(str(tmp_path)) as book:
        assert (book.of("ops").held_back, book.is_open("silent orders")) == (3, True)
        assert not book.is_open("silent value_props", "run_failed orders")
    assert jobs_kept(str(tmp_path)) == []
    for broken in ("[]", "{", '{"ops": {"sent": {"a": "now"}, "times": [], "held_back": 0}}', '{"ops": 1}'):
        path.write_text(broken)
        with open_book(str(tmp_path)) as book:
            assert book.received == {}


def test_what_a_run_ends_is_over() -> None:
    held, failed = ended(reports.held_run()), ended(ending("failed", SinkError.__name__, "publish", publishes=BEHIND))
    keys = ["run_failed orders SchemaError", "gate_held sinks", "sink postgres failed", "sink parquet differs"]
    left = {
        name: [key for key in keys if SentBook({"ops": Received({key: STARTED}).without(ended_by(end))}).is_open(key)]
        for name, end in (("good", ended(reports.rich_day())), ("held", held), ("failed", failed))
    }
    assert left == {
        "good": ["sink parquet differs"],
        "held": ["gate_held sinks", "sink parquet differs"],
        "failed": ["run_failed orders SchemaError", "gate_held sinks", "sink postgres failed"],
    }
    nothing_new = ended(ending("done"), JobState().after(attempt(RUN_ID, records=0)))
    assert ("no_data orders" in ended_by(ended(ending("done"))), "no_data orders" in ended_by(nothing_new)) == (1, 0)


def test_a_run_that_was_killed_is_told_by_its_silence(tmp_path: Path) -> None:
    settings = settings_with(f"output={tmp_path}")
    holder = Holder(RUN_ID, 7, "host", STARTED, is_dead=True)
    well = health_of(settings, NOW)
    for is_dead, expected in ((True, [f"run {RUN_ID} was killed"]), (False, [])):
        health = replace(well, lock=replace(holder, is_dead=is_dead))
        assert [alert.title for alert in alerts_of_silence(settings, health, NOW)] == expected


def test_a_run_that_found_the_warehouse_taken_is_no_news(tmp_path: Path) -> None:
    settings = settings_with(f"output={tmp_path}")
    way.Alerts(settings, "orders").tell(Metrics(RUN_ID, "failed", "orders", error="WarehouseBusyError"))
    assert list(tmp_path.iterdir()) == []


ROUTE = "telling.alerts.routes=[{name: ops, url: '${OPS}'}]"


def test_alerts_are_a_way_where_there_is_a_route_and_no_plan() -> None:
    def ways(options: str, *arguments: str) -> list[str]:
        job = Job("orders", (), {})
        return [type(each).__name__ for each in ways_on(job, settings_with(options), parse_order_arguments(arguments))]

    assert ways(ROUTE) == ["MetricsFiles", "State", "Report", "Alerts", "Summary"]
    assert "Alerts" not in ways(ROUTE, "--plan") + ways("telling.alerts.retries=4")


def test_a_route_without_what_sends_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)  # as Python itself marks a module that cannot be imported
    with pytest.raises(ConfigError, match=r"pip install 'orders-lakehouse\[alerts\]'"):
        ways_on(Job("orders", (), {}), settings_with(ROUTE), parse_order_arguments([]))


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("telling.alerts.routes=[{name: ops, url: 'slack://s3cret'}]", "routes.0.url: a secret is given by reference"),
        ("telling.alerts.routes=[{name: a, url: '${A}'}, {name: a, url: '${B}'}]", "two routes have the name a"),
        ("telling.alerts.routes=[{name: a b, url: '${A}'}]", "routes.0.name"),
        ("telling.alerts.routes=[{name: a, url: '${A}', kinds: [fire]}]", "routes.0.kinds.0"),
        ("telling.alerts.routes=[{name: a, url: '${A}', kinds: []}]", "routes.0.kinds"),
        ("telling.report_url=https://ana:s3cret@lake.test", "telling.report_url: the URL has an `@` in it"),
        ("telling.report_url=/lake/o", "telling.report_url"),
        ("telling.alerts.no_data_hours={pull: 1}", "no_data_hours.pull"),
    ],
)
def test_a_wrong_setting_is_told_and_no_secret_is_shown(option: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_with(option)
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_what_is_kept_of_an_alert_has_no_text_of_a_record() -> None:
    """Kills a key of an alert with what a record or a sender says in it."""
    values = reports.hostile_day("ana@example.com") | {"error": None}
    keys = [alert.key for alert in alerts_of(ended(values), NOW, was_told=False)]
    assert keys
    assert "ana" not in json.dumps(keys)
