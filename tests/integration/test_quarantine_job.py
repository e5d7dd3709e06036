"""The quarantine job on a folder: what was rejected is found, replayed the way of every record, or discarded."""

from __future__ import annotations

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, ETL_FILES, ETL_RUNS, ETL_STAGE, FACT_SALES, QUARANTINE
from tests.integration.test_orders_job import lines_of, order, outcomes
from tests.job import Job

Entries = dict[str, dict[str, Any]]


def entries(job: Job) -> Entries:
    """The quarantine by raw text, with the names of the rules alone."""
    rows = job.read(QUARANTINE).withColumn("rules", F.col("reasons.rule")).drop("reasons").collect()
    found = {row["raw"]: row.asDict() for row in rows}
    assert len(found) == len(rows), "a text stands twice"
    return found


def statuses(job: Job) -> dict[str, str]:
    return {raw: entry["status"] for raw, entry in entries(job).items()}


def strict_rules(folder: Path, severity: str = "reject") -> str:
    """The rules of the project but for one: an order without a currency is rejected, or fails the run."""
    rules = Path("conf/rules.yaml").read_text(encoding="utf-8")
    warned = "severity: warn\n    check: coalesce(currency"
    assert rules.count(warned) == 1
    path = folder / f"{severity}.yaml"
    path.write_text(rules.replace(warned, warned.replace("warn", severity)), encoding="utf-8")
    return f"rules={path}"


def arrival(job: Job, order_id: str) -> tuple[str, float]:
    """The file that brought the current version of an order, and when it arrived, in seconds since the epoch."""
    row = job.read(DIM_ORDER).where(F.col("order_id") == order_id).collect()[0]
    return row["source_file"].rpartition("/")[2], row["source_modified_at"].timestamp()


@pytest.mark.slow
def test_after_a_rule_was_corrected_its_entries_are_replayed_once(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = strict_rules(tmp_path)
    first, second, twice = (json.dumps(order(name, currency=None)) for name in ("first", "second", "twice"))
    late = json.dumps(order("late", currency=None, updated_at="2024-05-02"))
    newer = json.dumps(order("twice", currency=None, updated_at="2024-05-09", items=0))
    path = job.land("a.jsonl", first, late, twice)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    job.land("b.jsonl", order("late", updated_at="2024-06-01"), "{broken", newer)
    assert job.run("--set", strict) == 0
    first_run = job.metrics()["run_id"]
    # the same name again: each entry keeps the arrival of the version of the file that it came with
    path.write_text(f"{first}\n{second}\n")
    os.utime(path, (1_710_000_000, 1_710_000_000))
    assert job.run("--set", strict) == 0
    assert statuses(job) == dict.fromkeys([first, second, late, twice, newer, "{broken"], "new")
    files = job.read(ETL_FILES).count()
    capsys.readouterr()

    # listed without any text, by rule, file and run
    assert job.quarantine("list") == 0
    shown = capsys.readouterr().out
    assert "6 of 6 entries" in shown
    assert "currency_given" in shown
    assert '"order_id"' not in shown
    assert job.quarantine("list", "--rule", "currency_given", "--file", "?.jsonl", "--run", first_run, "--json") == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(entry["source_file"]).name, entry["position"]) for entry in listed] == [
        ("a.jsonl", 1),
        ("a.jsonl", 2),
        ("a.jsonl", 3),
        ("b.jsonl", 3),
    ]
    assert job.quarantine("list", "--file", "nowhere*", "--limit", "1") == 0
    assert "No entry" in capsys.readouterr().out

    assert job.quarantine("replay", "--rule", "currency_given") == 0
    summary = capsys.readouterr().out
    assert "Replayed: 5 entries closed, 0 rejected again" in summary
    assert "the table has a better version" in summary
    assert outcomes(job) == {"inserted": 3, "stale": 1, "superseded": 1}
    assert job.metrics()["input_orders"] == sum(job.metrics()["outcomes"].values()) == 5
    assert statuses(job) == dict.fromkeys([first, second, late, twice, newer], "replayed") | {"{broken": "new"}
    assert arrival(job, "first") == ("a.jsonl", 1_700_000_000)
    assert arrival(job, "second") == ("a.jsonl", 1_710_000_000)
    assert job.read(FACT_SALES).where("order_id = 'twice'").isEmpty()
    runs = {row["run_id"]: (row["job"], row["status"]) for row in job.read(ETL_RUNS).collect()}
    assert runs[job.metrics()["run_id"]] == ("quarantine", "done")
    assert job.read(ETL_FILES).count() == files

    # again: nothing is open, nothing is written
    before = job.versions()
    assert job.quarantine("replay", "--rule", "currency_given") == 0
    assert "Nothing to replay" in capsys.readouterr().out
    assert job.quarantine("replay", listed[0]["record_id"][:20]) == 0
    told = capsys.readouterr()
    assert "Nothing to replay" in told.out
    assert "closed already" in told.err
    assert job.versions() == before


@pytest.mark.slow
def test_an_edited_text_takes_the_place_of_a_rejected_one(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = json.dumps(order("dear", amount="12,50"))
    job.land("a.jsonl", raw, order("dear", amount=1))
    (job.landing / "orders" / "cut.json").write_text(f"[{json.dumps(order('kept'))},")
    assert job.run() == 0
    known = entries(job)
    assert {text: entry["rules"] for text, entry in known.items()} == {raw: ["numbers_are_plain"], "": ["broken_array"]}
    dear, cut = known[raw]["record_id"], known[""]["record_id"]

    # what is rejected again stays open: its reasons are those of its own text
    payload = tmp_path / "edited.json"
    payload.write_text(json.dumps(order("dear", amount=12.50, created_at="soon")) + "\n")
    assert job.quarantine("replay", dear[:10], "--payload", str(payload)) == 0
    assert outcomes(job) == {"rejected": 1}
    assert "created_at_is_time" in capsys.readouterr().out
    assert entries(job) == known
    rejected = job.read(ETL_STAGE).where("record_id IS NOT NULL").collect()[0]
    assert (rejected["record_id"], rejected["raw"]) == (dear, payload.read_text().rstrip("\n"))

    # the end that an array lacks is nothing to read, until somebody writes it; where all was rejected before, the
    # rejected share has no limit
    capsys.readouterr()
    assert job.quarantine("replay", "--all", "--json", "--set", "quality.max_rejected_share=0") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["replayed"], printed["input_orders"], outcomes(job)) == (0, 2, {"rejected": 2})
    assert entries(job) == known
    payload.write_text(json.dumps(order("cut"), indent=2), encoding="utf-8-sig")
    assert job.quarantine("replay", cut, "--payload", str(payload)) == 0
    assert outcomes(job) == {"inserted": 1}

    # an edited record arrives now, so it wins against the one of the same version
    payload.write_text(json.dumps(order("dear", amount=12.50)))
    assert job.quarantine("replay", dear, "--payload", str(payload)) == 0
    assert outcomes(job) == {"updated": 1}
    assert job.metrics()["conflict_orders"] == ["dear"]
    row = job.read(DIM_ORDER).where("order_id = 'dear'").collect()[0]
    started = job.read(ETL_RUNS).where(F.col("run_id") == job.metrics()["run_id"]).collect()[0]["started_at"]
    assert (row["amount"], row["source_modified_at"]) == (Decimal("12.5000"), started)
    closed = entries(job)
    assert {text: (entry["status"], entry["payload"]) for text, entry in closed.items()} == {
        raw: ("replayed", payload.read_text()),
        "": ("replayed", json.dumps(order("cut"), indent=2)),
    }

    # the files still hold the old texts: reading them again opens no entry and undoes nothing
    capsys.readouterr()
    assert job.run("--full") == 0
    assert outcomes(job) == {"unchanged": 1, "stale": 1, "rejected": 2}
    assert entries(job) == closed
    assert job.quarantine("show", dear[:6], cut[:6], "--json") == 0
    shown = {entry["raw"]: entry["payload"] for entry in map(json.loads, capsys.readouterr().out.splitlines()[-2:])}
    assert shown == {text: entry["payload"] for text, entry in closed.items()}


@pytest.mark.torture
def test_a_discarded_entry_stays_closed(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (job.landing / "users.csv").write_text("user_id,email,created_at,country\nXX\n")
    hostile = '{"order_id": "\x1b[31m", "amount": "x", "currency": null, "created_at": "2024-05-01"}'
    job.land("a.jsonl", hostile, "{broken")
    job.land("b.jsonl", "{too")
    assert job.run() == 0
    found = {raw: entry["record_id"] for raw, entry in entries(job).items()}
    capsys.readouterr()

    # a text is shown whole, and commands no terminal
    assert job.quarantine("show", found[hostile]) == 0
    shown = capsys.readouterr().out
    assert hostile.replace("\x1b", "\\x1b") in shown
    assert "malformed_json: not exactly one valid JSON value" in shown

    assert job.quarantine("discard", "--file", "orders/a.jsonl") == 0
    assert "Discarded: 2 entries" in capsys.readouterr().out
    assert job.quarantine("discard", found["XX"], "--json") == 0
    assert json.loads(capsys.readouterr().out)["discarded"] == 1
    discarded = dict.fromkeys([hostile, "{broken", "XX"], "discarded")
    assert statuses(job) == discarded | {"{too": "new"}
    runs = job.read(ETL_RUNS).where("job = 'quarantine'").select("status", F.get_json_object("metrics", "$.discarded"))
    assert sorted(map(tuple, runs.collect())) == [("done", "1"), ("done", "2")]

    # repeated, replayed, read again, and rejected for another reason: it stays closed
    before = entries(job)
    versions = job.versions()
    assert job.quarantine("discard", "--file", "a.jsonl") == 0
    assert "Discarded: 0 entries" in capsys.readouterr().out
    assert job.quarantine("replay", found["{broken"]) == 0
    assert job.versions() == versions
    rules = Path(strict_rules(tmp_path).removeprefix("rules="))
    rules.write_text(rules.read_text().replace("amount_is_exact:", "amount_is_right:"))
    assert job.run("--full", "--set", f"rules={rules}") == 0
    assert outcomes(job) == {"rejected": 3}
    assert entries(job) == before
    capsys.readouterr()
    assert job.quarantine("list", "--status", "discarded", "--dataset", "users", "--json") == 0
    assert [json.loads(line)["record_id"] for line in capsys.readouterr().out.splitlines()] == [found["XX"]]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("apply_fact_sales", marks=pytest.mark.torture),
        pytest.param("apply_dim_order", marks=pytest.mark.slow),
        pytest.param("apply_daily_sales", marks=pytest.mark.torture),
        pytest.param("write_run", marks=pytest.mark.torture),
    ],
)
def test_what_was_cut_off_is_finished_from_its_stage_by_the_next_run_of_any_job(
    loaded_job: Job, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of the orders job by a replay, and this replay, which is cut off, too, by a run of the orders job."""
    job = loaded_job
    raw = json.dumps(order("dear", 2, amount="dear"))
    path = job.land("b.jsonl", order("o1a", day=8, items=1, updated_at="2024-06-01"), order("new"), raw, "{broken")

    def cut_off(*_: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(f"etl_lib.applying.steps.{step}", cut_off)
        assert job.run() == 1
    cut_off_run = job.metrics()["run_id"]
    path.unlink()
    payload = tmp_path / "edited.json"
    payload.write_text(json.dumps(order("dear", 2, items=3)))
    with monkeypatch.context() as patched:
        patched.setattr("etl_lib.applying.steps.settle_replays", cut_off)
        assert job.quarantine("replay", entries(job)[raw]["record_id"], "--payload", str(payload)) == 1
    assert job.metrics()["finished_runs"] == [cut_off_run]
    assert lines_of(job, "o1a") == [(date(2024, 5, 8), 1, "S1")]
    assert lines_of(job, "new") == [(date(2024, 5, 1), 1, "S1")]
    assert orders_by_day(job) == {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 8: 1}
    assert statuses(job) == {raw: "new", "{broken": "new"}

    payload.unlink()
    capsys.readouterr()
    assert job.run() == 0
    assert "Finished first" in capsys.readouterr().out
    assert [line_no for _, line_no, _ in lines_of(job, "dear")] == [1, 2, 3]
    assert orders_by_day(job)[2] == 3
    assert statuses(job) == {raw: "replayed", "{broken": "new"}
    assert json.loads(entries(job)[raw]["payload"]) == order("dear", 2, items=3)
    runs = job.read(ETL_RUNS).orderBy("started_at").collect()
    told = [("orders", "done"), ("orders", "done"), ("quarantine", "done")]
    assert [(row["job"], row["status"]) for row in runs] == told
    assert json.loads(runs[2]["metrics"])["replayed"] == 1
    assert job.read(ETL_FILES).count() == 2


def orders_by_day(job: Job) -> dict[int, int]:
    """The orders of each day of May 2024 that has sales."""
    return {row["order_date"].day: row["orders"] for row in job.read(DAILY_SALES).collect()}


@pytest.mark.slow
def test_what_cannot_be_done_is_told(loaded_job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, known = loaded_job, loaded_job.read_keys()
    assert job.quarantine("list", "--set", f"warehouse={job.root / 'empty'}") == 1
    assert "has no table quarantine" in capsys.readouterr().err

    (job.landing / "products.csv").write_text("sku,name,category,price\nS1,One,toys,dear\n")
    raws = [json.dumps(order(f"o{n}", currency=None)) for n in range(17)]
    job.land("a.jsonl", *raws)
    assert job.run("--set", strict_rules(tmp_path)) == 0
    found = {raw: entry["record_id"] for raw, entry in entries(job).items()}
    product = found.pop("S1,One,toys,dear")
    first = [record_id[0] for record_id in found.values()]
    shared = next(letter for letter in first if first.count(letter) > 1)  # of 17 ids two begin alike
    capsys.readouterr()
    before = job.versions()

    assert job.quarantine("discard", shared, "f" * 64) == 2
    error = capsys.readouterr().err
    assert f"entries have ids that begin with {shared}" in error
    assert f"no entry has an id that begins with {'f' * 64}" in error
    assert job.quarantine("replay", product) == 2
    assert "correct the file" in capsys.readouterr().err
    assert job.quarantine("replay", "--file", "products.csv") == 0
    told = capsys.readouterr()
    assert "entries are left out" in told.err
    assert "Nothing to replay" in told.out
    assert job.versions() == before

    # a rule with severity `fail` closes the gate, and the entries stay open
    assert job.quarantine("replay", "--all", "--set", strict_rules(tmp_path, "fail")) == 3
    assert set(statuses(job).values()) == {"new"}
    assert job.read_keys() == known
    capsys.readouterr()
    assert job.quarantine("discard", "--file", "*.jsonl") == 0
    assert "Discarded: 17 entries" in capsys.readouterr().out
    assert [raw for raw, status in statuses(job).items() if status == "new"] == ["S1,One,toys,dear"]
