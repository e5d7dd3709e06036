"""The ledger: runs, files and rule results, each written once, replaced when asked, and found again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.batch import Batch, OrderCounts
from etl_lib.ledger import (
    RuleResult,
    RunEntry,
    add_files,
    consistent_versions,
    known_versions,
    left_by_last_run,
    planned_versions,
    rows_at,
    rule_results,
    write_files,
    write_rule_results,
    write_run,
)
from etl_lib.metrics import Metrics, TableMetrics, as_json, batch_metrics
from etl_lib.outcomes import OUTCOMES
from etl_lib.rules import STRUCTURAL_OF, Rule
from etl_lib.schemas import (
    DIM_ORDER,
    DIM_USER,
    DQ_RESULTS,
    ETL_FILES,
    ETL_RUNS,
    ETL_STAGE,
    FACT_SALES,
    PUBLISHED_TABLES,
)
from etl_lib.stage import NO_RECORDS, Manifest, Stage, stage_columns
from etl_lib.warehouse import Warehouse
from tests.frames import assert_same, frame

AT = datetime(2024, 5, 1, tzinfo=UTC)
MICROS = 1_714_521_600_000_000


@pytest.fixture(scope="module")
def empty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Warehouse(spark, str(folder)).create([ETL_STAGE, ETL_FILES, ETL_RUNS, DQ_RESULTS])
    return folder


@pytest.fixture
def warehouse(spark: SparkSession, empty: Path, tmp_path: Path) -> Warehouse:
    """Empty tables of its own."""
    return Warehouse(spark, str(shutil.copytree(empty, tmp_path / "warehouse")))


def entry(run_id: str, status: str = "done", job: str = "orders", **about: Any) -> RunEntry:
    manifest = Manifest(run_id, job, ("--full", "x"), "2024-05-01T00:00:00.123+00:00", is_plan=False)
    return RunEntry(manifest, status, **{"metrics": Metrics(), "versions_before": {}, "versions_after": {}, **about})


def test_a_run_is_one_row_that_is_replaced_when_it_is_written_again(warehouse: Warehouse) -> None:
    begun = datetime.now(UTC).replace(tzinfo=None)
    batch = Batch(Stage(warehouse, "first"), {"orders": OrderCounts(Counter(inserted=2), items=3)})
    metrics = Metrics(batch=batch_metrics(batch, {}), message="ä")
    write_run(warehouse, entry("first", "planned", versions_before={"a": 1}))
    write_run(warehouse, entry("second", "failed", message="why"))
    write_run(warehouse, entry("earlier", "failed", message="why"))
    after = {"versions_before": {"a": 1}, "versions_after": {"a": 2}}
    write_run(warehouse, entry("first", metrics=metrics, **after), again=True)
    rows = {row["run_id"]: row.asDict() for row in warehouse.read(ETL_RUNS).collect()}
    assert warehouse.read(ETL_RUNS).count() == 3
    ended = [row.pop("ended_at") for row in rows.values()]
    assert all(begun <= at <= begun + timedelta(minutes=5) for at in ended)
    about = {"job": "orders", "arguments": ["--full", "x"], "started_at": datetime(2024, 5, 1, microsecond=123_000)}
    other = {
        **about,
        "status": "failed",
        "outcomes": {},
        "metrics": "{}",
        "versions_before": {},
        "versions_after": {},
        "message": "why",
    }
    assert rows == {
        "first": {
            **about,
            "run_id": "first",
            "status": "done",
            "outcomes": {**dict.fromkeys(OUTCOMES, 0), "inserted": 2},
            "metrics": json.dumps(json.loads(as_json(metrics))),
            "versions_before": {"a": 1},
            "versions_after": {"a": 2},
            "message": None,
        },
        "second": {**other, "run_id": "second"},
        "earlier": {**other, "run_id": "earlier"},
    }
    write_run(warehouse, entry("first"))  # not again: nothing is looked for, nothing replaced
    assert warehouse.read(ETL_RUNS).where("run_id = 'first'").count() == 2


def test_the_plan_of_a_job_that_waits_and_the_versions_of_the_last_complete_run(warehouse: Warehouse) -> None:
    tables = {"fact_sales": 1, "dim_order": 1, "daily_sales": 1}
    rows = [
        ("bb", "orders", "planned", "2024-05-01", {"fact_sales": 3}, {"fact_sales": 99}),
        ("a", "orders", "planned", "2024-05-01", {"fact_sales": 1}, {}),
        ("b", "orders", "planned", "2024-05-01", {"fact_sales": 2}, {"fact_sales": 99}),
        ("h", "orders", "undone", "2024-05-01", {"fact_sales": 4}, {"fact_sales": 99}),
        ("c", "orders", "done", "2024-05-01", {}, tables),
        ("d", "orders", "done", "2024-05-03", {}, {**tables, "fact_sales": 5}),
        ("e", "value_props", "done", "2024-05-02", {}, {**tables, "fact_sales": 9, "dim_order": 3}),
        ("f", "orders", "failed", "2024-05-04", {}, {"dim_order": 99}),
        ("g", "orders", "applying", "2024-05-04", {}, {"dim_user": 99}),
    ]
    columns = """run_id STRING, job STRING, status STRING, at STRING, versions_before MAP<STRING, BIGINT>,
        versions_after MAP<STRING, BIGINT>"""
    times = {name: F.col("at").cast("timestamp") for name in ("started_at", "ended_at")}
    empty = {"arguments": F.array().cast("array<string>"), "outcomes": F.lit(None).cast("map<string,bigint>")}
    texts = {name: F.lit(None).cast("string") for name in ("metrics", "message")}
    runs = frame(warehouse.spark, columns, *rows).withColumns({**times, **empty, **texts})
    warehouse.append(ETL_RUNS, runs.select(*ETL_RUNS.column_names))

    assert planned_versions(warehouse, "orders", "a") == {"fact_sales": 1}
    assert planned_versions(warehouse, "orders", "b") == {"fact_sales": 2}
    for job, run_id in [("value_props", "a"), ("maintain", "a"), ("orders", "c"), ("orders", "h"), ("orders", "none")]:
        assert planned_versions(warehouse, job, run_id) is None
    found = consistent_versions(warehouse, [FACT_SALES, DIM_ORDER, DIM_USER])
    assert found == {"fact_sales": 5, "dim_order": 1}


def test_the_ledger_knows_the_files_that_were_added(warehouse: Warehouse) -> None:
    before = warehouse.version(ETL_FILES)
    add_files(warehouse, [])
    assert warehouse.version(ETL_FILES) == before
    rows = [
        ("orders", "a", 1, MICROS + 1, "r", 3, MICROS, None),
        ("users", "b", 2, MICROS + 2, "r", 0, None, MICROS),
        ("products", "c", 3, MICROS + 3, "r", 0, None, None),
        ("a", "d", 4, MICROS + 4, "r", 0, None, None),
    ]
    add_files(warehouse, rows)
    found = warehouse.read(ETL_FILES)
    times = ("modified_at", "min_version_at", "max_version_at")
    assert sorted(map(tuple, found.withColumns({name: F.unix_micros(name) for name in times}).collect())) == sorted(
        rows
    )
    assert known_versions(warehouse, ["orders", "users"]) == {
        ("orders", "a", 1, MICROS + 1),
        ("users", "b", 2, MICROS + 2),
    }


def test_the_files_of_a_stage_are_added_once_with_what_they_held(warehouse: Warehouse) -> None:

    def row(outcome: str, file: str, day: int | None = None, dataset: str = "orders", **about: Any) -> tuple[Any, ...]:
        version = None if day is None else AT + timedelta(days=day)
        modified = AT + timedelta(microseconds=about.get("modified", 9))
        return (about.get("run", "r"), dataset, outcome, file, about.get("size", 99), modified, version)

    rows = [
        row("file", "a", size=7, modified=1),
        *(row("inserted", "a", 2), row("stale", "a", 1), row("superseded", "a", 3), row("rejected", "a", 0)),
        *(row("rejected", "a", 5), row("blank", "a", 9), row("header", "a", -9), row("rejected", "a")),
        row("file", "empty", size=0, modified=2),
        row("file", "b", size=8, modified=3, dataset="users"),
        row("inserted", "b", 4, dataset="users"),
        *(
            row("inserted", "not marked", 1),
            row("blank", "not marked, blank"),
            row("inserted", "a", 1, dataset="products"),
        ),
        *(row("file", "of another run", run="other"), row("inserted", "a", 1, run="other")),
        row("file", "known", size=5, modified=4),
        row("file", "of the manifest", dataset="run"),
    ]
    columns = """run_id STRING, dataset STRING, outcome STRING, source_file STRING, source_size BIGINT,
        source_modified_at TIMESTAMP, version_at TIMESTAMP"""
    warehouse.append(ETL_STAGE, stage_columns(frame(warehouse.spark, columns, *rows), ETL_STAGE))
    known = ("orders", "known", 5, MICROS + 4, "before", 1, None, None)
    add_files(warehouse, [known])

    write_files(Stage(warehouse, "r"))
    day = 24 * 3600 * 1_000_000
    times = {name: F.unix_micros(name) for name in ("modified_at", "min_version_at", "max_version_at")}
    expected = {
        known,
        ("orders", "a", 7, MICROS + 1, "r", 6, MICROS + day, MICROS + 3 * day),
        ("orders", "empty", 0, MICROS + 2, "r", 0, None, None),
        ("users", "b", 8, MICROS + 3, "r", 1, MICROS + 4 * day, MICROS + 4 * day),
    }
    assert {tuple(row) for row in warehouse.read(ETL_FILES).withColumns(times).collect()} == expected
    before = warehouse.version(ETL_FILES)
    write_files(Stage(warehouse, "r"))
    assert warehouse.version(ETL_FILES) == before
    assert set(NO_RECORDS) == {"file", "manifest", "blank", "header"}


def test_rows_are_told_by_the_last_complete_run_or_counted(spark: SparkSession, tmp_path: Path) -> None:
    tables = Warehouse(spark, str(tmp_path))
    tables.create([*PUBLISHED_TABLES, ETL_RUNS])
    assert left_by_last_run(tables) == {}
    of_a_user = frame(spark, "user_id STRING, is_inferred BOOLEAN, run_id STRING", ("u", True, "r"), ("v", True, "r"))
    absent = {
        field.name: F.lit(None).cast(field.dataType) for field in DIM_USER.schema if field.name not in of_a_user.columns
    }
    tables.append(DIM_USER, of_a_user.withColumns(absent).select(*DIM_USER.column_names))
    for run_id, status, rows in (("first", "done", 5), ("last", "done", 7), ("failed", "failed", 9)):
        told = dict.fromkeys(("fact_sales", "dim_order", "etl_stage"), TableMetrics(0, rows, 0, 3))
        write_run(tables, entry(run_id, status, metrics=Metrics(tables=told)))
    left = left_by_last_run(tables)
    assert left["fact_sales"] == TableMetrics(rows_before=0, rows_after=7, version_before=0, version_after=3)
    # As the last run left it; changed since then; made and never written; of no run that told.
    versions = {"fact_sales": 3, "dim_order": 4, "daily_sales": 0, "quarantine": 0, "dim_user": 1, "dim_product": 0}
    found = rows_at(tables, versions, left)
    assert found == {
        "fact_sales": 7,
        "dim_order": 0,
        "daily_sales": 0,
        "quarantine": 0,
        "dim_user": 2,
        "dim_product": 0,
    }


RULES = {
    "orders": {
        "small": Rule(severity="warn", check="n < 10", message=""),
        "sane": Rule(severity="fail", check="", message=""),
    },
    "users": {},
}


def test_every_rule_of_every_dataset_with_input_has_a_result() -> None:
    orders = OrderCounts(outcomes=Counter(inserted=3, rejected=2), rules=Counter(small=1, no_key=2))
    batch = Batch(
        cast("Stage", SimpleNamespace()), {"orders": orders, "users": OrderCounts()}, {}, {("orders", "small"): ["k"]}
    )
    expected = [
        *(("orders", name, "reject", 5, 2 if name == "no_key" else 0, []) for name in STRUCTURAL_OF["orders"]),
        *(("orders", "small", "warn", 5, 1, ["k"]), ("orders", "sane", "fail", 5, 0, [])),
        *(("users", name, "reject", 0, 0, []) for name in STRUCTURAL_OF["users"]),
    ]
    assert rule_results(batch, RULES) == [RuleResult(*values) for values in expected]


def test_the_results_of_a_run_are_replaced_when_they_are_written_again(warehouse: Warehouse) -> None:
    some = RuleResult("orders", "small", "warn", 5, 1, ["k"])
    other = RuleResult("users", "no_key", "reject", 0, 0, [])
    write_rule_results(Stage(warehouse, "r1"), [other])
    write_rule_results(Stage(warehouse, "r2"), [other])
    write_rule_results(Stage(warehouse, "r1"), [some], again=True)
    found = warehouse.read(DQ_RESULTS)
    columns = "run_id STRING, dataset STRING, rule STRING, severity STRING, checked BIGINT, failed BIGINT"
    assert_same(
        found.drop("checked_at"),
        frame(
            warehouse.spark,
            f"{columns}, samples ARRAY<STRING>",
            ("r1", "orders", "small", "warn", 5, 1, ["k"]),
            ("r2", "users", "no_key", "reject", 0, 0, []),
        ),
    )
    assert found.where("checked_at <= now()").count() == 2
    write_rule_results(Stage(warehouse, "r1"), [some])  # not again: nothing is looked for, nothing replaced
    assert found.where("run_id = 'r1'").count() == 2
