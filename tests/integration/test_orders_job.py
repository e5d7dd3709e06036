"""The whole job on a folder: files in, tables out, run again."""

from __future__ import annotations

import json
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import (
    DAILY_SALES,
    DIM_ORDER,
    DIM_USER,
    DQ_RESULTS,
    ETL_FILES,
    ETL_RUNS,
    FACT_SALES,
    QUARANTINE,
)
from tests.job import Job
from tests.terminal import terminal

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


def test_orders_shrink_move_go_and_stay_as_their_best_version_says(loaded_job: Job) -> None:
    """Corrections, shrinking, moving, deleting, and what comes late."""
    job = loaded_job
    assert lines_of(job, "o1a") == [(date(2024, 5, 1), n, f"S{n}") for n in (1, 2)]
    later = {"updated_at": "2024-06-01T00:00:00Z"}
    job.land(
        "b.jsonl",
        order("o1a", items=1, **later),
        order("o1b", day=7, items=1, **later),
        order("o2a", day=2, deleted=True, **later),
        order("o3a", day=3, updated_at="2024-04-01T00:00:00Z", items=3),
    )
    assert job.run() == 0
    assert outcomes(job) == {"updated": 3, "stale": 1}
    assert lines_of(job, "o1a") == [(date(2024, 5, 1), 1, "S1")]
    assert lines_of(job, "o1b") == [(date(2024, 5, 7), 1, "S1")]
    assert lines_of(job, "o2a") == []
    tombstone = job.read(DIM_ORDER).where("order_id = 'o2a'").collect()[0]
    assert (tombstone["is_deleted"], tombstone["line_count"]) == (True, 0)

    # the late older version of a deleted order does not bring it back; an emptied order loses its lines
    job.land(
        "c.jsonl",
        order("o2a", day=2, updated_at="2024-05-20T00:00:00Z"),
        order("o3a", day=3, items=0, updated_at="2024-07-01"),
    )
    assert job.run() == 0
    assert outcomes(job) == {"stale": 1, "updated": 1}
    assert lines_of(job, "o2a") == lines_of(job, "o3a") == []
    sales = job.read(DAILY_SALES).select("order_date", "orders", "units", "revenue").orderBy("order_date").collect()
    both, one = (2, 4, Decimal("40.0000")), (1, 2, Decimal("20.0000"))
    least = (1, 1, Decimal("10.0000"))
    assert [tuple(row) for row in sales] == [
        (date(2024, 5, day), *of_day) for day, of_day in enumerate([least, one, one, both, both, both, least], 1)
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


def test_a_window_looks_at_all_files_that_may_have_a_record_in_it_and_marks_none(
    twelve_orders: Job, loaded_job: Job
) -> None:
    """What the ledger knows to be older is not read again."""
    folders = [str(job.landing).removeprefix("/") for job in (twelve_orders, loaded_job)]
    loaded_job.land("a.jsonl", order("may", 1), order("late", 20))
    loaded_job.land("b.jsonl", order("may", 2, updated_at="2024-05-10"))
    window = ("--since", "2024-05-10", "--until", "2024-05-20T12:00:00Z")
    assert loaded_job.run(*window, "--set", f"input.orders=/{{{','.join(folders)}}}/orders") == 0
    assert outcomes(loaded_job) == {"inserted": 1, "out_of_window": 2}
    assert [Path(row["path"]).name for row in loaded_job.read(ETL_FILES).collect()] == ["first.jsonl"]


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


def test_on_a_terminal_steps_are_shown_and_make_room_for_the_summary(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal(columns=160) as (stream, screen):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        assert job.run() == 0
    assert any("  tables " in line for frame in screen.frames for line in frame)
    assert all("[info " in line for line in screen.seen[:3])
    assert "Nothing new" in " ".join(screen.seen[3:])
