"""The ledger: runs, files and rule results, each written once, replaced when asked, and found again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib import RELEASE
from etl_lib.deciding.counts import Batch, DatasetCounts, count_batch
from etl_lib.deciding.outcomes import OUTCOMES
from etl_lib.deciding.results import all_rule_results, order_metrics
from etl_lib.deciding.stage import NO_RECORDS, Stage, stage_columns
from etl_lib.reading.datasets import DATASETS
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.settings.config import Inputs, Settings
from etl_lib.settings.rules import Rule, RuleBook
from etl_lib.tables.history import known_versions, set_aside_files
from etl_lib.tables.ledger import (
    Ledger,
    LoadedFile,
    RuleResult,
    RunEntry,
    RunManifest,
    SetAside,
    TableLeft,
    consistent_versions,
    read_ledger,
    rows_after,
    rows_at,
    write_run,
)
from etl_lib.tables.open_runs import WaitingRun, waiting_run
from etl_lib.tables.schemas import (
    DIM_ORDER,
    DIM_USER,
    DQ_RESULTS,
    ETL_FILES,
    ETL_RUNS,
    ETL_STAGE,
    FACT_SALES,
    SCHEMAS,
)
from etl_lib.tables.warehouse import Warehouse
from tests.frames import assert_same, frame, rows_of

AT = datetime(2024, 5, 1, tzinfo=UTC)
MICROS = 1_714_521_600_000_000
SETTINGS = Settings(warehouse="w", output="o", rules="none", input=Inputs())


@pytest.fixture(scope="module")
def empty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Warehouse(spark, str(folder)).create([ETL_STAGE, ETL_RUNS])
    return folder


@pytest.fixture
def warehouse(spark: SparkSession, empty: Path, tmp_path: Path) -> Warehouse:
    """Empty tables of its own."""
    return Warehouse(spark, str(shutil.copytree(empty, tmp_path / "warehouse")))


def entry(run_id: str, status: str = "done", job: str = "orders", **about: Any) -> RunEntry:
    manifest = RunManifest(run_id, job, ("--full", "x"), "2024-05-01T00:00:00.123+00:00", is_plan=False)
    return RunEntry(manifest, status, **{"metrics": Metrics(), "versions_before": {}, "versions_after": {}, **about})


def test_a_run_is_one_row_that_is_replaced_when_it_is_written_again(warehouse: Warehouse) -> None:
    begun = datetime.now(UTC).replace(tzinfo=None)
    batch = Batch(Stage(warehouse, "first"), {"orders": DatasetCounts(Counter(inserted=2), items=3)})
    metrics = Metrics(batch=order_metrics(batch, {}), message="ä")
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
        "files": [],
        "rules": [],
        "tables_left": {},
        "release": RELEASE,
        "schemas": SCHEMAS,
        "gates": [],
    }
    assert rows == {
        "first": {
            **other,
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
        ("s", "quarantine", "stopped", "2024-05-01", {"fact_sales": 6}, {"fact_sales": 99}),
        ("v", "value_props", "planned", "2024-05-01", {"fact_sales": 6}, {"fact_sales": 99}),
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
    runs = frame(warehouse.spark, columns, *rows).withColumns(times)
    warehouse.append(ETL_RUNS, rows_of(ETL_RUNS, runs, release=RELEASE, schemas=SCHEMAS))

    assert waiting_run(warehouse, "a") == WaitingRun("planned", {"fact_sales": 1}, ())
    assert waiting_run(warehouse, "b") == WaitingRun("planned", {"fact_sales": 2}, ())
    assert waiting_run(warehouse, "s") == WaitingRun("stopped", {"fact_sales": 6}, ())
    for run_id in ("v", "c", "h", "none"):
        assert waiting_run(warehouse, run_id) is None
    found = consistent_versions(warehouse, [FACT_SALES, DIM_ORDER, DIM_USER])
    assert found == {"fact_sales": 5, "dim_order": 1}


def test_files_are_loaded_when_their_run_is_done_and_by_the_earliest(warehouse: Warehouse) -> None:
    file = LoadedFile("orders", "a", 1, MICROS + 1, 3, MICROS, None)
    other = replace(file, path="b", max_version_at=MICROS + 5, min_version_at=None)
    statuses = ("planned", "applying", "failed", "undone")
    for status in statuses:
        write_run(warehouse, entry(f"r-{status}", status, files=[replace(file, path=status)]))
    write_run(warehouse, entry("first", files=[file, replace(file, dataset="users")]))
    write_run(warehouse, entry("later", files=[file, other, replace(file, size=2), replace(file, modified_at=MICROS)]))
    write_run(warehouse, entry("none"))
    times = {name: F.unix_micros(name) for name in ("modified_at", "min_version_at", "max_version_at")}
    expected = {
        ("orders", "a", 1, MICROS + 1, "first", 3, MICROS, None),
        ("users", "a", 1, MICROS + 1, "first", 3, MICROS, None),
        ("orders", "b", 1, MICROS + 1, "later", 3, None, MICROS + 5),
        ("orders", "a", 2, MICROS + 1, "later", 3, MICROS, None),
        ("orders", "a", 1, MICROS, "later", 3, MICROS, None),
    }
    found = [tuple(row) for row in warehouse.read(ETL_FILES).withColumns(times).collect()]
    assert sorted(found, key=str) == sorted(expected, key=str)
    of_orders = {row[:4] for row in expected if row[0] == "orders"}
    assert known_versions(warehouse, ["orders", "products"]) == of_orders
    assert sorted(warehouse.read(ETL_FILES).columns) == sorted([*vars(file), "run_id"])


def test_the_files_of_a_stage_are_those_that_it_marked_with_what_they_held(warehouse: Warehouse) -> None:

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
        row("file", "of the manifest", dataset="run"),
    ]
    columns = """run_id STRING, dataset STRING, outcome STRING, source_file STRING, source_size BIGINT,
        source_modified_at TIMESTAMP, version_at TIMESTAMP"""
    warehouse.append(ETL_STAGE, stage_columns(frame(warehouse.spark, columns, *rows), ETL_STAGE))
    day = 24 * 3600 * 1_000_000
    assert sorted(count_batch(Stage(warehouse, "r"), SETTINGS).files, key=str) == [
        LoadedFile("orders", "a", 7, MICROS + 1, 6, MICROS + day, MICROS + 3 * day),
        LoadedFile("orders", "empty", 0, MICROS + 2, 0, None, None),
        LoadedFile("users", "b", 8, MICROS + 3, 1, MICROS + 4 * day, MICROS + 4 * day),
    ]
    assert set(NO_RECORDS) == {"file", "manifest", "blank", "header"}


def test_the_files_that_wait_are_those_that_done_runs_have_set_aside(warehouse: Warehouse) -> None:
    first, second = (SetAside("orders", path, 1, 2, "it is broken") for path in ("/a.gz", "/b.gz"))
    write_run(warehouse, entry("none", metrics=Metrics(set_aside=[])))
    write_run(warehouse, entry("of a job without files"))
    assert set_aside_files(warehouse) == []
    write_run(warehouse, entry("two", metrics=Metrics(set_aside=[first, second])))
    write_run(warehouse, entry("the same", metrics=Metrics(set_aside=[first, second])))
    write_run(warehouse, entry("failed", "failed", metrics=Metrics(set_aside=[replace(first, path="/c.gz")])))
    assert set_aside_files(warehouse) == [first, second]


def test_a_look_tells_the_tables_as_done_runs_left_them_and_what_is_open(warehouse: Warehouse) -> None:
    assert read_ledger(warehouse) == Ledger()
    write_run(warehouse, entry("first", tables_left={"fact_sales": TableLeft(3, 5), "etl_stage": TableLeft(1, None)}))
    events = {"etl_events": TableLeft(2, None), "etl_stage": TableLeft(1, None)}
    write_run(warehouse, entry("other job", job="value_props", tables_left=events, metrics=Metrics("v")))
    write_run(warehouse, entry("last", tables_left={"fact_sales": TableLeft(4, 7)}, metrics=Metrics("o")))
    for status in ("failed", "planned", "undone"):
        write_run(warehouse, entry(status, status, tables_left={"fact_sales": TableLeft(9, 9)}))
    tables = {
        "fact_sales": TableLeft(4, 7),
        "etl_stage": TableLeft(1, None),
        "etl_events": TableLeft(2, None),
    }
    last = {"value_props": '{"run_id": "v"}', "orders": '{"run_id": "o"}'}
    assert read_ledger(warehouse) == Ledger(tables, False, frozenset({RELEASE}), last)
    write_run(warehouse, entry("restore", "applying", "maintain"))
    assert read_ledger(warehouse).has_open
    # What was left under other declarations says nothing of the tables of now.
    of_other_schemas = warehouse.read(ETL_RUNS).where("run_id = 'last'").withColumn("schemas", F.lit("other"))
    warehouse.overwrite(ETL_RUNS, of_other_schemas.withColumn("release", F.lit("9")), F.col("run_id") == "last")
    found = read_ledger(warehouse)
    assert found.tables == events
    assert found.releases == {RELEASE, "9"}


@pytest.mark.classic
def test_rows_are_those_that_a_run_left_or_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    tables = Warehouse(spark, str(tmp_path))
    tables.create([DIM_ORDER, DIM_USER])  # the others need not be asked
    of_a_user = frame(spark, "user_id STRING, is_inferred BOOLEAN, run_id STRING", ("u", True, "r"), ("v", True, "r"))
    tables.append(DIM_USER, rows_of(DIM_USER, of_a_user))
    left = {name: TableLeft(3, 7) for name in ("fact_sales", "dim_order", "etl_stage")}
    # As the last run left it; changed since then; made and never written; of no run that told.
    versions = {"fact_sales": 3, "dim_order": 4, "daily_sales": 0, "quarantine": 0, "dim_user": 1, "dim_product": 0}
    before = rows_at(tables, versions, left)
    assert before == {
        "fact_sales": 7,
        "dim_order": 0,
        "daily_sales": 0,
        "quarantine": 0,
        "dim_user": 2,
        "dim_product": 0,
    }
    # What Delta's log says is believed: `dim_user` has two rows more than that.
    tables.append(DIM_USER, tables.read(DIM_USER))
    after = {**versions, "dim_user": 2, "dim_order": 6}
    assert rows_after(tables, {**before, "dim_user": 5}, versions, after) == {**before, "dim_user": 7, "dim_order": 0}


RULES = RuleBook(
    orders={
        "small": Rule(severity="warn", check="n < 10", message=""),
        "sane": Rule(severity="fail", check="", message=""),
    }
)


def test_every_rule_of_every_dataset_with_input_has_a_result() -> None:
    orders = DatasetCounts(outcomes=Counter(inserted=3, rejected=2), rules=Counter(small=1, no_key=2))
    batch = Batch(
        cast("Stage", SimpleNamespace()), {"orders": orders, "users": DatasetCounts()}, {("orders", "small"): ["k"]}
    )
    expected = [
        *(("orders", name, "reject", 5, 2 if name == "no_key" else 0, []) for name in DATASETS["orders"].structural),
        *(("orders", "small", "warn", 5, 1, ["k"], "n < 10"), ("orders", "sane", "fail", 5, 0, [], "")),
        *(("users", name, "reject", 0, 0, []) for name in DATASETS["users"].structural),
    ]
    expected += [("orders", "user_ids_alike", "warn", 0, 0, []), ("users", "user_ids_alike", "warn", 0, 0, [])]
    expected += [("orders", "skus_alike", "warn", 0, 0, []), ("orders", "user_known", "warn", 3, 4, [])]
    run = cast("Any", SimpleNamespace(rules=RULES))
    assert all_rule_results(run, batch, {"users": 4}) == [RuleResult(*values) for values in expected]


def test_a_fingerprint_changes_with_what_a_rule_says() -> None:
    rule = RuleResult("orders", "small", "warn", 5, 1, ["k"], "n < 10")
    in_code = replace(rule, check=None)
    same = [replace(rule, dataset="users", checked=0, failed=0, samples=[]), replace(rule, rule="renamed")]
    others = [replace(rule, check="n < 11"), replace(rule, severity="fail"), in_code, replace(in_code, rule="large")]
    assert {found.fingerprint for found in same} == {rule.fingerprint}
    assert len({rule.fingerprint, *(found.fingerprint for found in others)}) == 5


def test_the_results_of_rules_are_those_of_all_runs_that_ended(warehouse: Warehouse) -> None:
    some = RuleResult("orders", "small", "warn", 5, 1, ["k"], "n < 10")
    other = RuleResult("users", "no_key", "reject", 0, 0, [])
    for status in ("planned", "applying"):
        write_run(warehouse, entry(status, status, rules=[some]))
    for status in ("done", "failed", "undone"):
        write_run(warehouse, entry(status, status, rules=[some, other]))
    write_run(warehouse, entry("done", rules=[some]), again=True)
    found = warehouse.read(DQ_RESULTS)
    columns = "run_id STRING, dataset STRING, rule STRING, severity STRING, checked BIGINT, failed BIGINT"
    of_some = ("orders", "small", "warn", 5, 1, ["k"], some.fingerprint)
    of_other = ("users", "no_key", "reject", 0, 0, [], other.fingerprint)
    assert_same(
        found.drop("checked_at"),
        frame(
            warehouse.spark,
            f"{columns}, samples ARRAY<STRING>, fingerprint STRING",
            ("done", *of_some),
            *((run_id, *result) for run_id in ("failed", "undone") for result in (of_some, of_other)),
        ),
    )
    assert found.where("checked_at <= now()").count() == 5
