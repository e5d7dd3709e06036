"""The report of a run: its numbers are those of metrics.json, and what its texts hold does no harm."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from etl_lib.commands.about_runs.report import report
from etl_lib.process.errors import ConfigError
from etl_lib.process.redaction import remember
from etl_lib.run.job import Job
from etl_lib.run.metrics import Metrics
from etl_lib.settings.arguments import parse_maintain_arguments, parse_order_arguments, parse_publish_arguments
from etl_lib.settings.config import Inputs, Settings
from etl_lib.settings.quarantine_arguments import parse_quarantine_arguments
from etl_lib.settings.telling_settings import Telling
from etl_lib.telling.metrics_files import MetricsFiles
from etl_lib.telling.next_steps import next_steps, verdict
from etl_lib.telling.report import Report, draw_index, draw_report, separated
from etl_lib.telling.report_view import history
from etl_lib.telling.state import JobState, State, attempt_of
from etl_lib.telling.ways import ways_on
from tests import reports
from tests.reports import HOSTILE, KINDS, RUN_ID, STARTED, hostile_day, leaves

UNSHOWN = re.compile(
    "/set_aside/[0-9]+/modified_at"  # for the ledger alone
    "|/outcomes/.*"  # in every job the sum, or a part, of those of the datasets
    "|/datasets/[^/]+/unknown_fields/.*"  # as drift
)


class Page(HTMLParser):
    """What a test asks of a page: its numbers by their place, its tags, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: dict[str, set[tuple[str, str]]] = {}
        self.tags: list[tuple[str, list[str]]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._place: tuple[str, str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, sorted(given)))
        self.attributes += attrs
        if tag == "data":
            place = given.get("data-key") or given.get("data-sum") or ""
            self._place = place, given["value"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "data":
            self._place = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._place:
            place, value = self._place
            self.numbers.setdefault(place, set()).add((value, data))


def drawn(values: dict[str, Any], root: str = "") -> Page:
    return Page(draw_report(values, reports.a_life()["orders"].attempts, root))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_number_of_the_metrics_stands_in_the_report(kind: Callable[[], dict[str, Any]]) -> None:
    values = kind()
    page, expected = drawn(values), dict(leaves(values))
    shown = {place: found for place, found in page.numbers.items() if " " not in place}
    assert [place for place in expected if place not in shown and not UNSHOWN.fullmatch(place)] == []
    for place, found in shown.items():
        assert found == {(str(expected[place]), separated(expected[place]))}
    for places, found in ((each, found) for each, found in page.numbers.items() if each not in shown):
        total = sum(expected[place] for place in places.split(" "))
        assert found == {(str(total), separated(total))}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (-1234.5, "-1,234.5"),
        ("1234567.8900", "1,234,567.8900"),
        ("-0.0100", "-0.0100"),
        ("12 of 3", "12 of 3"),
        ("123456789012345678.1234", "123,456,789,012,345,678.1234"),
    ],
)
def test_a_number_keeps_all_its_digits(value: object, text: str) -> None:
    assert separated(value) == text


def test_texts_of_the_input_can_neither_make_markup_nor_hide() -> None:
    hostile, plain = drawn(hostile_day(HOSTILE)), drawn(hostile_day("plain"))
    without_breaks = [[tag for tag in page.tags if tag[0] != "wbr"] for page in (hostile, plain)]
    assert without_breaks[0] == without_breaks[1]
    assert not {"\x1b", "\u202e", "\x00"} & set(hostile.text)
    assert "<script>alert(1)</script>" in hostile.text
    assert r"\x1b[31m\u202etxt.exe\x00" in hostile.text
    said = " ".join(value or "" for _, value in hostile.attributes)
    assert not {"\x1b", "\u202e", "\x00"} & set(said)


def test_a_message_keeps_its_lines() -> None:
    values = reports.failed_run() | {"message": "two problems:\n  one\n  two"}
    assert "two problems:\n  one\n  two" in drawn(values).text


def test_nothing_about_a_person_is_in_a_report() -> None:
    values = reports.rich_day()
    values["warnings"].append(
        "users: write to ana.silva+shop@example.com, not to abfss://box@store.dfs.core.windows.net/x"
    )
    text = drawn(values).text + drawn(reports.checked()).text
    assert [secret for secret in ("98702.0", "U-99999", "U-1044", "ana.silva", "example.com") if secret in text] == []
    assert "301,222" in text  # their number
    assert "abfss://box@store.dfs.core.windows.net/x" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "became"),
        ({"status": "planned", "tables": None}, "would become"),
        ({"status": "failed", "tables": None}, "would become"),
        ({"status": "failed"}, "became"),  # in a sink, after the tables
    ],
)
def test_what_is_in_no_table_is_not_said_to_be_there(changes: dict[str, Any], said: str) -> None:
    text = drawn(reports.rich_day() | changes).text
    assert f"What came in, and what {said} of it" in text
    assert ("would be new or updated" in text) is (said != "became")


def test_a_secret_that_the_run_has_read_is_in_no_report() -> None:
    """Also one that stands in the arguments, which were kept before it was read."""
    remember("c4nary-of-a-report")
    values = reports.failed_run() | {"arguments": ["--set", "x=c4nary-of-a-report"], "message": "c4nary-of-a-report"}
    html = draw_report(values, [], "")
    assert "c4nary" not in html
    assert "x=***" in html


def test_the_cause_of_a_failure_comes_first() -> None:
    text = drawn(reports.failed_run()).text
    assert text.index("a disk is full") < text.index("What to do next")
    assert text.index("No.") < text.index("a disk is full")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "done", "datasets": {}, "outcomes": {}}, "Yes. There was nothing new"),
        (
            {"status": "done", "datasets": {"orders": {"records": 3, "outcomes": {"rejected": 0}}}},
            "Yes. Each of 3 records",
        ),
        (
            {"status": "done", "datasets": {"orders": {"records": 3, "outcomes": {"rejected": 2}}}, "conflicts": 1},
            "Yes, with a look at 2 rejected records and 1 conflict.",
        ),
        ({"status": "done", "gates": [{"state": "passed"}]}, "Yes. The run is done"),
        ({"status": "done", "gates": [{"state": "accepted"}]}, "Yes, with a look at 1 gate that did not pass."),
        ({"status": "done", "invariants": {"a": 0, "b": 0}}, "Yes. All 2 invariants"),
        ({"status": "done", "publishes": {"s": {"status": "complete"}}}, "Yes. The sinks show"),
        (
            {"status": "failed", "publishes": {"s": {"status": "differs"}, "t": {"status": "complete"}}},
            "In the tables, yes. The sink s does not show what they say.",
        ),
        (
            {"status": "failed", "publishes": {"s": {"status": "failed"}, "t": {"status": "failed"}}},
            "In the tables, yes. The sinks s and t do not show",
        ),
        ({"status": "done", "publish": "held", "conflicts": 1}, "In the tables, yes."),
        ({"status": "done", "pulls": {"orders": {}}}, "Yes. All that was asked for has landed"),
        ({"status": "planned"}, "Nothing has changed."),
        ({"status": "failed"}, "No."),
        ({"status": "failed", "error": "QualityGateError"}, "Not today's. A quality gate"),
        ({"status": "failed", "error": "InvariantError"}, "No. The tables contradict"),
        ({"status": "stopped"}, "Not today's. A gate stopped"),
        ({"status": "undone"}, "It no longer counts."),
        ({"status": "applying"}, "Not yet."),
    ],
)
def test_one_sentence_says_whether_the_numbers_can_be_trusted(changes: dict[str, Any], said: str) -> None:
    found = verdict(changes)
    assert f"{found.answer} {found.sentence}".startswith(said)


def test_a_headline_names_few_reasons() -> None:
    assert verdict(reports.rich_day()).sentence == "1,204 rejected records, 2 conflicts and 5 more points."


REPLAY = "When a rule is mended, load the rejected orders again."
CORRECT = "Correct the files of users; the next run reads them again."
AS_PLANNED = "To carry it out, give the same command without --plan."


def rejecting(dataset: str, status: str = "done", job: str = "orders") -> dict[str, Any]:
    return {"status": status, "job": job, "datasets": {dataset: {"records": 9, "outcomes": {"rejected": 3}}}}


PARSERS: dict[str, Callable[[list[str]], object]] = {
    "jobs/orders.py": parse_order_arguments,
    "jobs/quarantine.py": parse_quarantine_arguments,
    "jobs/publish.py": parse_publish_arguments,
    "jobs/maintain.py": parse_maintain_arguments,
}


def test_the_commands_to_type_are_understood_by_their_jobs_at_the_place_of_the_run() -> None:
    values = reports.rich_day() | {"arguments": ["--config", "conf/my own.yaml", "--set", "a=1", "b=x y", "--full"]}
    values["publishes"]["postgres"]["status"] = "differs"
    commands = [step.command for step in next_steps(values) if step.command]
    commands += [step.command for step in next_steps(values | {"status": "planned"}) if step.command]
    commands += [step.command for step in next_steps(reports.checked()) if step.command][1:]
    assert {shlex.split(command)[1] for command in commands} == set(PARSERS)
    for command in commands:
        start, job, *words = shlex.split(command)
        given: Any = PARSERS[job]([RUN_ID if word == "RUN_ID" else word for word in words])
        assert start == "./spark-submit.sh"
        if job != "jobs/maintain.py":
            assert (str(given.config), given.overrides) == ("conf/my own.yaml", ("a=1", "b=x y"))


def test_a_command_is_given_once_and_has_no_word_of_another_job() -> None:
    commands = [step.command for step in next_steps(reports.rich_day()) if step.command]
    assert len(commands) == len({*commands}) == 3
    run = reports.checked() | {"arguments": ["--set", "a=1", "check", "--config=c.yaml"]}
    assert next_steps(run)[1].command == (
        "./spark-submit.sh jobs/maintain.py restore --run RUN_ID --plan --set a=1 --config c.yaml"
    )


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        (rejecting("orders"), ["Look at what was rejected: 3 records of orders.", REPLAY]),
        (rejecting("orders", job="quarantine"), ["Look at what was rejected: 3 records of orders."]),
        (
            rejecting("users"),
            [
                "Look at what was rejected: 3 records of users.",
                "Correct the files of users; the next run reads them again.",
            ],
        ),
        (rejecting("orders", status="planned", job="value_props"), [AS_PLANNED]),
    ],
    ids=["orders", "a replay", "users", "a plan"],
)
def test_rejected_records_are_looked_at_and_loaded_again_where_that_can_be(
    values: dict[str, Any], sentences: list[str]
) -> None:
    assert [step.sentence for step in next_steps(values)] == sentences


@pytest.mark.parametrize(
    ("values", "command"),
    [
        (reports.failed_run() | {"arguments": ["--full"]}, "./spark-submit.sh jobs/orders.py --full"),
        (
            reports.stopped_run(),
            f"./spark-submit.sh jobs/orders.py --apply {RUN_ID} --accept-gate rejected --set output=/lake/o",
        ),
        (
            {"status": "done", "run_id": RUN_ID, "publish": "held"},
            f"./spark-submit.sh jobs/publish.py --release {RUN_ID}",
        ),
        (
            {"status": "stopped", "job": "publish", "run_id": "p", "publish": "held", "held_by": [RUN_ID, "later"]},
            f"./spark-submit.sh jobs/publish.py --release {RUN_ID}",
        ),
        (
            {"status": "stopped", "job": "value_props", "gates": [{"gate": "records", "state": "stopped"}] * 2},
            "./spark-submit.sh jobs/value_props.py --accept-gate records",
        ),
        (
            {"status": "done", "job": "value_props", "publish": "held", "gates": [{"gate": "volume", "state": "held"}]},
            "./spark-submit.sh jobs/value_props.py --accept-gate volume",
        ),
    ],
    ids=["failed", "stopped", "held", "a publish that is held", "features stopped", "features held"],
)
def test_the_most_urgent_step_comes_first(values: dict[str, Any], command: str) -> None:
    assert next_steps(values)[0].command == command


def test_a_publish_that_is_held_does_not_doubt_the_tables() -> None:
    held = {"status": "stopped", "job": "publish", "error": "QualityGateError", "publish": "held"}
    assert verdict(held).answer == "In the tables, yes."
    assert verdict({**held, "job": "orders"}).answer == "Not today's."


def test_a_run_that_nothing_stands_out_of_asks_for_nothing() -> None:
    assert next_steps({"status": "done", "job": "orders", "datasets": {}, "outcomes": {}}) == []


def test_a_run_is_told_in_its_own_report_the_latest_one_and_the_index(tmp_path: Path) -> None:
    output = f"{tmp_path}/"
    told = Metrics(RUN_ID, "done", "orders", started_at=STARTED, duration_s=1.5)
    State(output, "orders").tell(told)
    Report(output).tell(told)
    own, latest = tmp_path / "runs" / RUN_ID / "report.html", tmp_path / "report.html"
    links = {page: re.findall('href="([^"#]+)"', page.read_text()) for page in (own, latest)}
    assert links == {
        own: ["data:,", "../../index.html", "metrics.json"],
        latest: ["data:,", "index.html", f"runs/{RUN_ID}/metrics.json"],
    }
    assert f'href="runs/{RUN_ID}/report.html"' in (tmp_path / "index.html").read_text()


def test_a_refused_run_is_in_the_index_and_leaves_the_reports_as_they_are(tmp_path: Path) -> None:
    refused = Metrics(RUN_ID, "failed", "orders", started_at=STARTED, message="busy", is_refused=True)
    refused.error = "WarehouseBusyError"
    State(str(tmp_path), "orders").tell(refused)
    Report(str(tmp_path)).tell(refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "telling"]
    index = (tmp_path / "index.html").read_text()
    assert RUN_ID in index
    assert f'href="runs/{RUN_ID}' not in index


def test_a_report_shows_the_last_runs_of_its_job_up_to_its_own(tmp_path: Path) -> None:
    """Kills those of another job, those after it, and more than 30."""
    life = reports.a_life()
    attempts = life["orders"].attempts
    for attempt in attempts:
        told = Metrics(attempt.run_id, attempt.status, attempt.job, started_at=attempt.started_at, duration_s=1.25)
        State(str(tmp_path), "orders").tell(told)
    State(str(tmp_path), "pull").tell(Metrics("p", "done", "pull", started_at="2024-01-01T00:00:00", duration_s=9.75))
    one = attempts[35]
    Report(str(tmp_path)).tell(Metrics(one.run_id, "done", "orders", started_at=one.started_at))
    text = (tmp_path / "runs" / one.run_id / "report.html").read_text()
    shown = re.findall(r'<th scope="row">(\d{4}-\d\d-\d\d) 06:00', text)
    assert shown == [attempt.started_at[:10] for attempt in attempts[6:36]]
    assert "9.75" not in text


def test_attempts_that_found_another_run_at_work_have_no_bars() -> None:
    ran, busy = (attempt_of(Metrics(name, "done", "orders", started_at=STARTED)) for name in ("a", "b"))
    assert history([ran, replace(busy, status="busy")]) == []
    assert [len(bars.columns) for bars in history([ran, replace(busy, status="busy"), ran])] == [2]


def test_the_index_has_the_newest_run_first_and_shows_what_failed() -> None:
    failed = attempt_of(
        Metrics("r-9", "failed", "pull", started_at="2024-06-09T01:02:03.000+00:00", message="no <route>")
    )
    page = Page(draw_index(reports.a_life() | {"pull": JobState().after(failed)}))
    assert page.text.index("r-9") < page.text.index(RUN_ID)
    assert "1 of 2 jobs failed" in page.text
    assert "no <route>" in page.text
    assert page.text.count("failed") > 2


def test_an_index_without_runs_says_so() -> None:
    assert "No run yet." in Page(draw_index({})).text


def test_reports_are_drawn_again_from_their_files_without_spark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Metrics(RUN_ID, "done", "orders", started_at=STARTED, duration_s=1.5)
    MetricsFiles(str(tmp_path)).tell(told)
    State(str(tmp_path), "orders").tell(told)
    config = tmp_path / "one.yaml"
    config.write_text(f"warehouse: /nowhere\noutput: {tmp_path}\nrules: /r.yaml\ninput: {{}}\n")
    report([RUN_ID, "--config", str(config)])
    own, index = f"{tmp_path}/runs/{RUN_ID}/report.html", f"{tmp_path}/index.html"
    assert capsys.readouterr().out.splitlines() == [own, index]
    assert json.loads((tmp_path / "metrics.json").read_text())["duration_s"] == 1.5
    assert "took" in Path(own).read_text()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("argv", [["../../etc"], [RUN_ID, "--all"]])
def test_what_is_no_run_is_refused(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"no run id|leave out"):
        report(argv)


@pytest.mark.parametrize("is_on", [True, False])
def test_the_setting_turns_the_report_off(is_on: bool) -> None:
    settings = Settings(warehouse="/w", output="/o", rules="/r", input=Inputs(), telling=Telling(report=is_on))
    names = [type(way).__name__ for way in ways_on(Job("orders", (), {}), settings, parse_order_arguments([]))]
    assert ("Report" in names) is is_on
    if is_on:
        assert names.index("State") < names.index("Report")
