"""The whole job on a folder: files in, tables out, run again."""

from __future__ import annotations

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.schemas import (
    DAILY_SALES,
    DIM_ORDER,
    DIM_PRODUCT,
    DIM_USER,
    DQ_RESULTS,
    ETL_FILES,
    ETL_RUNS,
    FACT_SALES,
    QUARANTINE,
)
from tests.job import Job

DATA_TABLES = ("fact_sales", "dim_order", "dim_user", "dim_product", "daily_sales", "quarantine")


def order(order_id: str, day: int = 1, *, items: int = 1, **members: Any) -> dict[str, Any]:
    """An order of `items` lines at 10.00 each, created on a day of May 2024."""
    lines = [{"sku": f"S{at}", "qty": 1, "price": 10.00} for at in range(1, items + 1)]
    created = {"created_at": f"2024-05-{day:02}T12:00:00Z", "items": lines, "metadata": {"source": "web"}}
    return {"order_id": order_id, "user_id": "u1", "amount": 10.00 * items, "currency": "EUR", **created, **members}


def lines_of(job: Job, order_id: str) -> list[tuple[date, int, str]]:
    rows = job.read(FACT_SALES).where(F.col("order_id") == order_id).orderBy("line_no").collect()
    return [(row["order_date"], row["line_no"], row["sku"]) for row in rows]


def data_versions(job: Job) -> dict[str, int]:
    return {name: version for name, version in job.versions().items() if name in DATA_TABLES}


def files_under(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def outcomes(job: Job) -> dict[str, int]:
    return {name: count for name, count in job.metrics()["outcomes"].items() if count}


def test_a_life_of_orders(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """First load, replay, corrections, shrinking, moving, deleting, and what comes late."""
    job.land("a.jsonl", order("shrinks", items=3), order("moves", items=2), order("goes"), order("stays"), "{broken")
    assert job.run() == 0
    assert outcomes(job) == {"inserted": 4, "rejected": 1}
    assert lines_of(job, "shrinks") == [(date(2024, 5, 1), n, f"S{n}") for n in (1, 2, 3)]

    # a default run again: nothing new, not a byte is written to the warehouse
    before, files = job.versions(), files_under(job.root / "warehouse")
    assert job.run() == 0
    assert "Nothing new" in capsys.readouterr().out
    assert job.versions() == before
    assert files_under(job.root / "warehouse") == files

    # the same again by order: no table changes
    data = data_versions(job)
    assert job.run("--full") == 0
    assert outcomes(job) == {"unchanged": 4, "rejected": 1}
    assert data_versions(job) == data

    # one batch of corrections
    later = {"updated_at": "2024-06-01T00:00:00Z"}
    job.land(
        "b.jsonl",
        order("shrinks", items=1, **later),
        order("moves", day=2, items=1, **later),
        order("goes", deleted=True, **later),
        order("stays", updated_at="2024-04-01T00:00:00Z", items=2),
    )
    assert job.run() == 0
    assert outcomes(job) == {"updated": 3, "stale": 1}
    assert lines_of(job, "shrinks") == [(date(2024, 5, 1), 1, "S1")]
    assert lines_of(job, "moves") == [(date(2024, 5, 2), 1, "S1")]
    assert lines_of(job, "goes") == []
    tombstone = job.read(DIM_ORDER).where("order_id = 'goes'").collect()[0]
    assert (tombstone["is_deleted"], tombstone["line_count"]) == (True, 0)

    # the late older version of a deleted order does not bring it back; an emptied order loses its line
    job.land(
        "c.jsonl", order("goes", updated_at="2024-05-20T00:00:00Z"), order("stays", items=0, updated_at="2024-07-01")
    )
    assert job.run() == 0
    assert outcomes(job) == {"stale": 1, "updated": 1}
    assert lines_of(job, "goes") == lines_of(job, "stays") == []
    sales = job.read(DAILY_SALES).select("order_date", "orders", "units", "revenue").orderBy("order_date").collect()
    assert [tuple(row) for row in sales] == [
        (date(2024, 5, 1), 1, 1, Decimal("10.0000")),
        (date(2024, 5, 2), 1, 1, Decimal("10.0000")),
    ]


def test_the_ledger_the_quarantine_and_the_rules_account_for_a_run(job: Job) -> None:
    (job.landing / "users.csv").write_text(
        "country,user_id,email,created_at\nDE,u1,a@example.org,2024-01-01\nXX\nFR,98702.0,,\n"
    )
    (job.landing / "products.csv").write_text("sku,name,category,price\nS1,One,toys,9.99\nS2,Two,games,dear\n")
    tie = order("tie")
    path = job.land("a.jsonl", tie, "{broken", tie | {"amount": 11}, "", order("o2", user_id="u2", note=1), "{broken")
    assert job.run("--json") == 0
    metrics = job.metrics()

    assert metrics["input_orders"] == sum(metrics["outcomes"].values()) == 5
    assert metrics["valid_orders"] == 3
    assert metrics["deduped_orders"] == metrics["items"] == 2
    assert metrics["blank_lines"] == 1
    assert (metrics["conflicts"], metrics["conflict_orders"]) == (1, ["tie"])
    assert metrics["datasets"]["orders"]["unknown_fields"] == {"note": 1}
    assert (metrics["dim_user"], metrics["dim_product"]) == (3, 1)
    assert job.read(DIM_ORDER).where("order_id = 'tie'").collect()[0]["amount"] == Decimal("11.0000")

    members = job.read(DIM_USER).select("user_id", "country", "is_inferred").orderBy("user_id").collect()
    assert [tuple(row) for row in members] == [("98702.0", "FR", False), ("u1", "DE", False), ("u2", None, True)]

    entries = job.read(QUARANTINE).orderBy("dataset", "position").collect()
    told = [
        (e["dataset"], e["raw"], [r["rule"] for r in e["reasons"]], e["position"], e["occurrences"]) for e in entries
    ]
    assert told == [
        ("orders", "{broken", ["malformed_json"], 2, 2),
        ("products", "S2,Two,games,dear", ["price_is_exact"], 3, 1),
        ("users", "XX", ["wrong_column_count"], 3, 1),
    ]
    assert {e["source_file"] for e in entries if e["dataset"] == "orders"} == {f"file:{path}"}

    results = {
        (r["dataset"], r["rule"]): (r["checked"], r["failed"], r["samples"]) for r in job.read(DQ_RESULTS).collect()
    }
    assert results["orders", "malformed_json"] == (5, 2, [])
    assert results["orders", "amount_matches_items"] == (5, 1, ["tie"])
    assert results["orders", "item_sku_given"] == (5, 0, [])
    assert results["orders", "user_known"] == (2, 1, [])
    assert results["users", "user_ids_alike"] == (2, 1, ["98702.0"])
    assert results["orders", "user_ids_alike"] == results["orders", "skus_alike"] == (2, 0, [])
    assert results["products", "skus_alike"] == (1, 0, [])
    assert [told.partition(" (")[0] for told in metrics["warnings"]] == [
        "users: 1 of 2 records have a user_id that is a number with .0"
    ]

    run = job.read(ETL_RUNS).collect()[0]
    assert (run["status"], run["outcomes"]["inserted"]) == ("done", 2)
    assert run["versions_before"]["fact_sales"] == 0 < run["versions_after"]["fact_sales"]
    files = {row["dataset"]: row["records"] for row in job.read(ETL_FILES).collect()}
    assert files == {"orders": 5, "users": 3, "products": 2}


def test_users_and_products_are_completed_and_the_sales_of_their_days_follow(job: Job) -> None:
    job.land("a.jsonl", order("o1"))
    assert job.run() == 0
    assert job.read(DAILY_SALES).collect()[0]["country"] == "unknown"

    users = job.landing / "users.csv"
    users.write_text("user_id,email,created_at,country\nu1,old@example.org,2024-01-01,FR\nu1,new@example.org,,NL\n")
    (job.landing / "products.csv").write_text("price,category,name,sku\n1,toys,One,S1\n")
    assert job.run() == 0
    assert job.metrics()["datasets"]["users"]["outcomes"]["superseded"] == 1
    member = job.read(DIM_USER).collect()[0]
    assert (member["email"], member["country"], member["is_inferred"]) == ("new@example.org", "NL", False)
    assert job.read(DIM_PRODUCT).collect()[0]["category"] == "toys"
    sales = job.read(DAILY_SALES).collect()
    assert [(row["country"], row["category"]) for row in sales] == [("NL", "toys")]

    # touching the file without changing it loads it again and changes no table
    data = data_versions(job)
    os.utime(users, (2_000_000_000, 2_000_000_000))
    assert job.run() == 0
    assert data_versions(job) == data


def test_a_plan_is_shown_applied_once_and_refused_when_tables_have_moved(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job.land("a.jsonl", order("old", items=2))
    assert job.run() == 0
    job.land("b.jsonl", order("new"), order("old", updated_at="2024-06-01"), "{broken")
    before = data_versions(job)
    capsys.readouterr()

    assert job.run("--plan") == 0
    shown = capsys.readouterr().out
    assert data_versions(job) == before
    assert "1 to insert, 1 to update" in shown
    assert "~ old: amount 20.0000 -> 10.0000, line_count 2 -> 1" in shown
    assert "fact_sales: 1 of 1 files" in shown
    first, second = job.metrics()["run_id"], None
    assert first in shown

    assert job.run("--plan") == 0
    second = job.metrics()["run_id"]
    assert job.run("--apply", second) == 0
    assert (job.metrics()["run_id"], job.metrics()["status"], outcomes(job)["updated"]) == (second, "done", 1)
    assert lines_of(job, "old") == [(date(2024, 5, 1), 1, "S1")]
    assert [row["status"] for row in job.read(ETL_RUNS).where(F.col("run_id") == second).collect()] == ["done"]

    capsys.readouterr()
    assert job.run("--apply", second) == 1
    assert "applied already" in capsys.readouterr().err
    assert job.run("--apply", first) == 1
    assert "no longer holds" in capsys.readouterr().err
    assert job.run("--apply", "20200101T000000Z-000000") == 1
    assert job.run() == 0
    assert job.metrics()["input_orders"] == 0


def test_a_window_looks_at_all_files_and_marks_none(job: Job) -> None:
    job.land("a.jsonl", order("may", 1), order("late", 20))
    job.land("b.jsonl", order("may", 2, updated_at="2024-05-10"))
    assert job.run("--since", "2024-05-10", "--until", "2024-05-20T12:00:00Z") == 0
    assert outcomes(job) == {"inserted": 1, "out_of_window": 2}
    assert job.read(ETL_FILES).isEmpty()
    assert job.run() == 0
    assert outcomes(job) == {"unchanged": 1, "superseded": 1, "inserted": 1}
    # what the ledger knows to be older is not read again
    assert job.run("--since", "2024-05-15") == 0
    assert job.metrics()["input_orders"] == 2


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("apply_fact_sales", marks=pytest.mark.torture),
        "apply_dim_order",
        pytest.param("apply_daily_sales", marks=pytest.mark.torture),
        pytest.param("write_files", marks=pytest.mark.torture),
    ],
)
def test_a_run_that_was_cut_off_is_finished_from_its_stage(
    job: Job, step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job.land("a.jsonl", order("o1", items=3))
    assert job.run() == 0
    path = job.land("b.jsonl", order("o1", day=2, items=1, updated_at="2024-06-01"), order("o2"))

    def cut_off(*_: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(f"etl_lib.applying.{step}", cut_off)
        assert job.run() == 1
    path.unlink()
    capsys.readouterr()
    assert job.run() == 0
    assert "Finished first" in capsys.readouterr().out
    assert lines_of(job, "o1") == [(date(2024, 5, 2), 1, "S1")]
    assert lines_of(job, "o2") == [(date(2024, 5, 1), 1, "S1")]
    sales = job.read(DAILY_SALES).select("order_date", "orders").orderBy("order_date").collect()
    assert [tuple(row) for row in sales] == [(date(2024, 5, 1), 1), (date(2024, 5, 2), 1)]
    assert [row["status"] for row in job.read(ETL_RUNS).collect()] == ["done", "done"]
    assert job.read(ETL_FILES).count() == 2


def test_a_rule_that_fails_closes_the_gate_and_changes_nothing(job: Job, tmp_path: Path) -> None:
    rules = Path("conf/rules.yaml").read_text(encoding="utf-8")
    strict = tmp_path / "rules.yaml"
    strict.write_text(
        rules.replace("severity: warn\n    check: coalesce(currency", "severity: fail\n    check: coalesce(currency")
    )
    job.land("a.jsonl", order("o1"), order("o2", currency=None), "{broken")
    before = data_versions(job) if (job.root / "warehouse").exists() else None
    assert job.run("--set", f"rules={strict}") == 3
    assert job.run("--set", "quality.max_rejected_share=0.2") == 3
    assert before is None
    assert job.read(FACT_SALES).isEmpty()
    assert job.read(QUARANTINE).isEmpty()
    failed = job.read(ETL_RUNS).selectExpr("status", "size(files) AS files", "exists(rules, r -> r.failed > 0) AS told")
    assert [tuple(row) for row in failed.collect()] == [("failed", 0, True)] * 2
    # what failed is not finished later: the next run reads the files again
    assert job.run() == 0
    assert outcomes(job) == {"inserted": 2, "rejected": 1}


def test_wrong_input_is_told_and_not_traced(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(job.root / "nowhere")
    assert job.run("--set", f"input.orders={missing}") == 2
    error = capsys.readouterr().err
    assert f"input.orders: there is no file or folder {missing}" in error
    assert "Traceback" not in error
    assert job.run("--set", "input.colour=red", "--set", "samples=none") == 2
    error = capsys.readouterr().err
    assert "input.colour: unknown key" in error
    assert "samples: " in error
    assert job.run("--since", "yesterday") == 2
    assert job.run() == 0
    (job.landing / "users.csv").write_text("user_id,mail\nu1,x\n")
    job.land("a.jsonl", order("o1"))
    capsys.readouterr()
    assert job.run() == 1
    error = capsys.readouterr().err
    assert all(f"column {name} is missing" in error for name in ("email", "created_at", "country"))
    assert json.loads((job.root / "output" / "metrics.json").read_text())["status"] == "failed"
