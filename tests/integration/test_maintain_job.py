"""The maintain job on real tables: invariants that hold and that are broken by hand, runs undone, files joined."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.applying.invariants import SUBJECTS
from etl_lib.tables.schemas import (
    DAILY_SALES,
    DIM_ORDER,
    DIM_PRODUCT,
    DIM_USER,
    ETL_FILES,
    ETL_RUNS,
    ETL_STAGE,
    FACT_SALES,
    LINE_AMOUNT,
    PUBLISHED_TABLES,
    QUARANTINE,
    VALUE_PROP_FEATURES,
    Table,
)
from tests.integration.conftest import FeatureSample
from tests.integration.test_orders_job import lines_of, order
from tests.job import FeatureJob, Job, Workplace

LATER = {"updated_at": "2024-06-01T00:00:00Z"}


def contents(job: Workplace, *without: str) -> dict[str, Counter[str]]:
    """All rows of the published tables, without some columns."""
    return {table.name: Counter(map(repr, job.read(table).drop(*without).collect())) for table in PUBLISHED_TABLES}


def status_of(job: Workplace) -> dict[str, str]:
    return {row["run_id"]: row["status"] for row in job.read(ETL_RUNS).collect()}


def cut_off(*_: object, **__: object) -> None:
    raise OSError("the machine went down")


def put(job: Workplace, table: Table, rows: DataFrame) -> None:
    """Other rows for a table, which are made of its own."""
    job.tables.overwrite(table, rows, F.lit(True))


def break_by_hand(job: Job) -> None:
    """Break each invariant of the orders, most of them in an order that nothing else is wrong with."""

    def of(order_id: str) -> Column:
        return F.col("order_id") == order_id

    def instead(name: str, where: Column, value: Column) -> dict[str, Column]:
        return {name: F.when(where, value).otherwise(F.col(name))}

    lines, headers, runs = (job.read(table) for table in (FACT_SALES, DIM_ORDER, ETL_RUNS))
    an_hour, the_least = F.expr("INTERVAL 1 HOUR"), F.lit(Decimal("0.0001"))
    wrong_lines = {
        **instead("order_date", of("o2") & (F.col("line_no") == 2), F.lit(date(2024, 5, 30))),
        **instead("version_at", of("o3"), F.col("version_at") + an_hour),
        **instead("run_id", of("o4"), F.lit("another")),
        **instead("line_amount", of("o6"), (F.col("line_amount") + the_least).cast(LINE_AMOUNT)),
    }
    first_of_o0, last_of_o7 = of("o0") & (F.col("line_no") == 1), of("o7") & (F.col("line_no") == 2)
    put(job, FACT_SALES, lines.where(~first_of_o0).withColumns(wrong_lines).unionAll(lines.where(last_of_o7)))
    wrong_headers = {
        **instead("is_deleted", of("o5"), F.lit(True)),
        **instead("created_at", of("o9"), F.col("created_at") + F.expr("INTERVAL 1 DAY")),
    }
    put(job, DIM_ORDER, headers.where(~of("o1")).withColumns(wrong_headers).unionAll(headers.where(of("o8"))))
    put(job, DIM_USER, job.read(DIM_USER).where("user_id <> 'u2'"))
    put(job, DIM_PRODUCT, job.read(DIM_PRODUCT).where("sku <> 'S2'"))
    one_more = instead("orders", F.col("order_date") == F.lit(date(2024, 5, 3)), F.col("orders") + 1)
    put(job, DAILY_SALES, job.read(DAILY_SALES).withColumns(one_more))
    updated = F.col("outcomes")["updated"]
    wrong_runs = {
        "files": F.transform("files", lambda file: file.withField("records", F.lit(99).cast("bigint"))),
        **instead("outcomes", updated == 3, F.create_map(F.lit("inserted"), F.lit(9).cast("bigint"))),
        **instead("status", updated == 0, F.lit("applying")),
    }
    put(job, ETL_RUNS, runs.withColumns(wrong_runs))


@pytest.mark.slow
def test_invariants_hold_after_corrections_and_each_one_that_is_broken_by_hand_is_named(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    (job.landing / "users.csv").write_text("user_id,email,created_at,country\nu1,a@example.org,2024-01-01,DE\n")
    job.land("a.jsonl", order("shrinks", items=3), order("moves", items=2), order("goes"), order("stays", 3), "{broken")
    assert job.run() == 0
    first = job.metrics()["run_id"]
    changed = (order("shrinks", items=1, **LATER), order("moves", day=2, **LATER), order("goes", deleted=True, **LATER))
    added = (order("empty", 4, items=0), order("new", 4, user_id="u2"), "{broken too")
    job.land("b.jsonl", *changed, *added, *(order(f"o{n}", 10 + n, items=2) for n in range(10)))
    assert job.run() == 0
    second = job.metrics()["run_id"]
    versions = job.versions()

    capsys.readouterr()
    assert job.maintain("check") == 0
    assert "lines_are_complete" in capsys.readouterr().out
    metrics = job.metrics()
    assert set(metrics["invariants"].values()) == {0}
    asked = [invariant.name for subject in SUBJECTS for invariant in subject.invariants]
    assert sorted([*metrics["invariants"], *metrics["not_checked"]]) == sorted(asked)
    absent = [f"{name}_key_is_unique" for name in ("etl_events", "etl_pulls", "etl_publishes", "etl_lease")]
    absent += ["weeks_are_mondays", "features_are_in_range"]
    assert metrics["not_checked"] == absent
    assert job.versions() == versions

    break_by_hand(job)
    capsys.readouterr()
    assert job.maintain("check") == 1
    printed = capsys.readouterr()
    metrics = job.metrics()
    broken = {name: metrics["samples"][name] for name, rows in metrics["invariants"].items() if rows}
    sales = broken.pop("daily_sales_reconciles")
    assert broken == {
        "lines_have_their_order": ["o1"],
        "lines_are_complete": ["o0", "o7"],
        "deleted_orders_have_no_lines": ["o5"],
        "order_dates_agree": ["o2"],
        "versions_agree": ["o3"],
        "runs_agree": ["o4"],
        "orders_are_under_their_day": ["o9"],
        "line_amounts_reconcile": ["o6"],
        "users_are_known": ["u2"],
        "products_are_known": ["S2"],
        "fact_sales_key_is_unique": ["o7 / 2"],
        "dim_order_key_is_unique": ["o8"],
        "outcomes_add_up": [second],
        "files_have_their_run": [f"{first} / orders", f"{first} / users"],
        "files_hold_what_was_read": [f"{second} / orders"],
        "no_run_is_unfinished": [first],
    }
    assert "2024-05-03 / EUR / DE / unknown / web" in sales
    assert all(name in printed.out for name in broken)
    message = json.loads(printed.err.splitlines()[-1])["event"]
    assert message.startswith("17 of ")
    assert "runs_agree: 1 (run_id is the same in an order and in all of its lines)\n" in message


@pytest.mark.slow
def test_a_restore_that_was_cut_off_is_finished_first_and_undoes_a_run_that_was_cut_off_too(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job.land("a.jsonl", order("o1", items=3), "{broken")
    assert job.run() == 0
    first, before = job.metrics()["run_id"], contents(job)
    job.land("b.jsonl", order("o1", day=2, **LATER), "{broken too")
    assert job.run() == 0
    second = job.metrics()["run_id"]
    job.land("c.jsonl", order("o2"))
    with monkeypatch.context() as patched:
        patched.setattr("etl_lib.applying.steps.apply_dim_order", cut_off)
        assert job.run() == 1
    third = job.metrics()["run_id"]

    # no upkeep while a run is unfinished
    capsys.readouterr()
    assert job.maintain("compact") == 1
    assert f"run {third} was cut off" in capsys.readouterr().err

    versions = job.versions()
    assert job.maintain("restore", "--run", second, "--plan") == 0
    shown = capsys.readouterr().out
    assert f"oldest first: {second}, {third}" in shown
    assert "1 landing files would count as new again" in shown
    assert job.versions() == versions

    # tables are back, the ledger is not; the same command goes on from there, as any run would
    with monkeypatch.context() as patched:
        patched.setattr("etl_lib.run.restore._mark_undone", cut_off)
        assert job.maintain("restore", "--run", second) == 1
    assert status_of(job)[second] == "done"
    assert job.run("--apply", second) == 1
    assert "to finish it first" in capsys.readouterr().err
    assert job.maintain("restore", "--run", second) == 0
    assert f"undoing: {second}" in capsys.readouterr().out
    assert contents(job) == before
    entry = job.read(ETL_RUNS).where("job = 'maintain'").collect()[0]
    undone = (
        job.read(ETL_RUNS).where("status = 'undone'").selectExpr("run_id", "size(files) AS n", "size(rules) > 0 AS r")
    )
    assert sorted(tuple(row) for row in undone.collect()) == sorted([(second, 0, True), (third, 0, False)])
    assert status_of(job) == {first: "done", second: "undone", third: "undone", entry["run_id"]: "done"}
    assert entry["versions_before"] == {table.name: versions[table.name] for table in PUBLISHED_TABLES}
    assert entry["versions_after"] == {table.name: job.versions()[table.name] for table in PUBLISHED_TABLES}
    assert [row["path"].rpartition("/")[2] for row in job.read(ETL_FILES).collect()] == ["a.jsonl"]

    for run_id, reason in (
        (second, "is undone already"),
        (entry["run_id"], "loaded nothing"),
        ("20240101T000000Z-abcdef", "there is no run 20240101T000000Z-abcdef"),
    ):
        assert job.maintain("restore", "--run", run_id) == 1
        assert reason in capsys.readouterr().err

    # both files are new again, and the tables are those of their records
    assert job.run() == 0
    assert job.metrics()["input_orders"] == 3
    assert [str(day) for day, _, _ in lines_of(job, "o1")] == ["2024-05-02"]
    assert job.read_keys() == {"o1", "o2"}
    assert job.read(QUARANTINE).count() == 2
    assert job.maintain("check") == 0


@pytest.mark.torture
def test_undoing_runs_one_by_one_goes_back_to_the_empty_tables(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.land("a.jsonl", order("shrinks", items=3), order("moves", items=2))
    assert job.run() == 0
    first, before = job.metrics()["run_id"], contents(job)
    job.land("b.jsonl", order("shrinks", items=1, **LATER), order("moves", day=2, **LATER))
    assert job.run() == 0
    second, written = job.metrics()["run_id"], ("run_id", "first_run_id", "last_run_id")
    after = contents(job, *written)

    with monkeypatch.context() as patched:
        patched.setattr("etl_lib.run.restore._mark_undone", cut_off)
        assert job.maintain("restore", "--run", second) == 1
    # any run finishes the restore, and reads the file that is new again
    assert job.run() == 0
    assert job.metrics()["finished_restores"] == [second]
    assert job.metrics()["input_orders"] == 2
    assert contents(job, *written) == after
    third = job.metrics()["run_id"]

    assert job.maintain("restore", "--run", third) == 0
    assert contents(job) == before
    assert job.maintain("restore", "--run", first) == 0
    assert all(job.read(table).isEmpty() for table in (*PUBLISHED_TABLES, ETL_FILES))
    assert status_of(job)[first] == "undone"
    assert job.maintain("check") == 0


@pytest.mark.slow
def test_upkeep_leaves_the_contents_and_what_is_still_needed(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.land("a.jsonl", order("o1", items=3), order("stays"), "{broken")
    assert job.run() == 0
    first = job.metrics()["run_id"]
    job.land("b.jsonl", order("o1", items=2, **LATER), order("o2"), "{broken too")
    assert job.run() == 0
    second = job.metrics()["run_id"]
    job.land("c.jsonl", order("o3"))
    assert job.run("--plan") == 0
    plan = job.metrics()["run_id"]
    assert job.run("--set", "quality.min_records={orders: 99}") == 3
    stopped = job.metrics()["run_id"]
    assert job.maintain("restore", "--run", stopped) == 1
    assert "was stopped at a gate and changed nothing" in capsys.readouterr().err
    entry = job.read(QUARANTINE).where("raw = '{broken'").collect()[0]["record_id"]
    assert job.quarantine("discard", entry) == 0
    before = contents(job)

    assert job.maintain("compact") == 0
    files = job.metrics()["tables"]
    assert files["fact_sales"]["files_before"] > files["fact_sales"]["files_after"] == 1
    assert contents(job) == before
    assert job.read(ETL_RUNS).where("job = 'maintain'").count() == 1
    versions = job.tables.versions(PUBLISHED_TABLES)
    assert job.maintain("compact") == 0
    assert job.tables.versions(PUBLISHED_TABLES) == versions
    assert job.read(ETL_RUNS).where("job = 'maintain'").count() == 1

    # everything is old, but a plan that waits and an entry that is open are kept
    old = "maintenance.keep_days=0"
    assert job.maintain("purge") == 0
    assert job.maintain("purge", "--set", old, "--plan") == 0
    assert job.metrics()["tables"] == {
        "etl_stage": {"runs": 3, "rows_removed": 13},
        "quarantine": {"runs": 1, "rows_removed": 1},
    }
    assert job.tables.versions(PUBLISHED_TABLES) == versions
    assert job.maintain("purge", "--set", old) == 0
    assert {row["run_id"] for row in job.read(ETL_STAGE).select("run_id").distinct().collect()} == {plan}
    assert [row["raw"] for row in job.read(QUARANTINE).collect()] == ["{broken too"]
    assert set(status_of(job)) >= {first, second, plan}

    capsys.readouterr()
    assert job.maintain("vacuum", "--set", "maintenance.retention_hours=167") == 2
    assert "maintenance.retention_hours: 167 is less than 168" in capsys.readouterr().err
    assert job.maintain("restore", "--run", "yesterday") == 2
    assert job.maintain("compact", "--force") == 2
    assert job.versions()["fact_sales"] == versions["fact_sales"]
    assert job.maintain("check") == 0


@pytest.mark.torture
def test_after_a_forced_vacuum_a_run_cannot_be_undone_and_nothing_has_changed(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job.land("a.jsonl", order("o1", items=3))
    assert job.run() == 0
    job.land("b.jsonl", order("o1", items=2, **LATER))
    assert job.run() == 0
    second = job.metrics()["run_id"]
    assert job.maintain("compact") == 0
    assert job.maintain("vacuum", "--set", "maintenance.retention_hours=0", "--force") == 0
    assert job.metrics()["tables"]["fact_sales"]["files_deleted"] >= 2
    assert job.spark.conf.get("spark.databricks.delta.retentionDurationCheck.enabled", "true") == "true"
    before, versions = contents(job), job.versions()
    capsys.readouterr()
    assert job.maintain("restore", "--run", second) == 1
    told = capsys.readouterr().err
    assert "a VACUUM has deleted files of it" in told
    assert "fact_sales at version 1" in told
    assert (contents(job), job.versions()) == (before, versions)
    assert job.maintain("vacuum") == 0
    assert job.maintain("check") == 0


@pytest.mark.torture
def test_a_run_of_value_props_is_undone_and_its_features_are_checked(
    feature_sample: FeatureSample, feature_job: FeatureJob
) -> None:
    job = feature_sample.copy(feature_job.root)
    before = Counter(map(repr, job.read(VALUE_PROP_FEATURES).collect()))
    assert job.run("--from", "2020-11-09", "--to", "2020-11-15") == 0
    run_id = job.metrics()["run_id"]
    assert job.maintain("check") == 0
    assert "lines_are_complete" in job.metrics()["not_checked"]
    assert job.maintain("restore", "--run", run_id) == 0
    assert Counter(map(repr, job.read(VALUE_PROP_FEATURES).collect())) == before
    assert status_of(job)[run_id] == "undone"
    broken_by_hand = "UPDATE {} SET week = date_add(week, 1), clicked = 2 WHERE user_id = '101'"
    job.spark.sql(broken_by_hand.format(job.tables.name(VALUE_PROP_FEATURES))).collect()
    assert job.maintain("check") == 1
    broken = {name for name, rows in job.metrics()["invariants"].items() if rows}
    assert broken == {"weeks_are_mondays", "features_are_in_range"}


@pytest.mark.by_path
def test_a_warehouse_without_tables_is_an_error_and_gets_none(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.maintain("check") == 1
    assert "is `warehouse` the right place?" in capsys.readouterr().err
    assert [path.name for path in (job.root / "warehouse").iterdir()] == [".lock"]
