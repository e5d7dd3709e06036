"""The stage: written in one commit, read again with the same result, and asked for the runs that were cut off."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.deciding.outcomes import OUTCOMES
from etl_lib.deciding.stage import NO_RECORDS, Stage, file_rows, stage_columns, staged, write_stage
from etl_lib.process.errors import PlanError
from etl_lib.sources.landing import LandingFile
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.open_runs import all_closed, read_manifest, unfinished
from etl_lib.tables.schemas import ETL_RUNS, ETL_STAGE, PRODUCT_RECORD
from etl_lib.tables.warehouse import Warehouse
from tests.frames import assert_same, frame, rows_of

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)
ENTRY = {"job": "orders", "started_at": AT, "ended_at": AT, "release": "", "schemas": ""}
USER = "key STRING, user_id STRING, email STRING, created_at TIMESTAMP, country STRING"
COMPARED = f"{USER}, outcome STRING, raw STRING, version_at TIMESTAMP, block INT, is_conflict BOOLEAN, more STRING"


def manifest(run_id: str = "r", **about: Any) -> RunManifest:
    return RunManifest(
        **{"run_id": run_id, "job": "orders", "arguments": (), "started_at": "", "is_plan": False, **about}
    )


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Empty tables of the stage and the runs; each test has runs of its own."""
    tables = Warehouse(spark, str(tmp_path_factory.mktemp("stage")))
    tables.create([ETL_STAGE, ETL_RUNS])
    return tables


def test_a_batch_is_staged_with_its_records_and_only_a_rejected_one_keeps_its_text(spark: SparkSession) -> None:
    def user(outcome: str, *, conflict: bool = False) -> tuple[Any, ...]:
        return (outcome, outcome, "u@x", AT, "DE", outcome, "text", AT, 3, conflict, "x")

    outcomes = ("inserted", "superseded", "rejected", "blank")
    batch = frame(spark, COMPARED, *(user(name, conflict=name == "superseded") for name in outcomes))
    found = staged(batch, "users", "r1")
    assert found.schema.names == ETL_STAGE.column_names
    assert [field.dataType for field in found.schema] == [field.dataType for field in ETL_STAGE.schema]
    told = found.select("run_id", "dataset", "outcome", "raw", "is_conflict", "block", "users", "orders", "row")
    record = "STRUCT<user_id: STRING, email: STRING, created_at: TIMESTAMP, country: STRING>"
    columns = f"""run_id STRING, dataset STRING, outcome STRING, raw STRING, is_conflict BOOLEAN, block BIGINT,
        users {record}, row BIGINT"""
    expected = frame(
        spark,
        columns,
        ("r1", "users", "inserted", None, False, 3, ("inserted", "u@x", AT, "DE"), None),
        ("r1", "users", "superseded", None, True, 3, ("superseded", "u@x", AT, "DE"), None),
        ("r1", "users", "rejected", "text", False, 3, None, None),
        ("r1", "users", "blank", None, False, 3, None, None),
    )
    assert_same(told.drop("orders"), expected)
    assert told.where("orders IS NOT NULL").isEmpty()


def test_a_column_that_the_rows_lack_is_null_and_a_row_without_a_conflict_has_none(spark: SparkSession) -> None:
    row = stage_columns(frame(spark, "outcome STRING, block INT", ("x", 1)), ETL_STAGE).collect()[0].asDict()
    assert row == {**dict.fromkeys(ETL_STAGE.column_names), "outcome": "x", "block": 1, "is_conflict": False}


def test_each_file_is_a_row_with_its_time_in_microseconds(spark: SparkSession) -> None:
    files = [LandingFile("a", 7, 1_714_557_600_000_001), LandingFile("b", 0, 0)]
    rows = file_rows(spark, files, "orders", "r1").drop("is_conflict")
    given = [name for name in rows.columns if rows.where(F.col(name).isNotNull()).count()]
    columns = "run_id STRING, dataset STRING, outcome STRING, source_file STRING, source_size BIGINT, micros BIGINT"
    assert given == ["run_id", "dataset", "outcome", "source_file", "source_size", "source_modified_at"]
    assert_same(
        rows.select(*given[:-1], F.unix_micros("source_modified_at").alias("micros")),
        frame(
            spark,
            columns,
            ("r1", "orders", "file", "a", 7, 1_714_557_600_000_001),
            ("r1", "orders", "file", "b", 0, 0),
        ),
    )


def test_a_stage_is_one_commit_and_knows_its_records_from_its_other_rows(
    spark: SparkSession, warehouse: Warehouse
) -> None:
    datasets = ("orders", "products", "users")
    rows = [(run, name, outcome) for run in ("a", "r1", "s") for name in datasets for outcome in OUTCOMES]
    rows += [("r1", "products", outcome) for outcome in NO_RECORDS]
    parts = [stage_columns(frame(spark, "run_id STRING, dataset STRING, outcome STRING", *rows), ETL_STAGE)] * 2
    before = warehouse.version(ETL_STAGE)
    stage = write_stage(warehouse, manifest("r1"), parts)
    assert warehouse.version(ETL_STAGE) == before + 1
    assert stage == Stage(warehouse, "r1")
    assert stage.rows.count() == 2 * (3 * len(OUTCOMES) + len(NO_RECORDS)) + 1
    found = [(row["run_id"], row["dataset"], row["outcome"]) for row in stage.records("products").collect()]
    assert sorted(found) == sorted(("r1", "products", outcome) for outcome in (*OUTCOMES, *OUTCOMES))
    assert stage.records().count() == 6 * len(OUTCOMES)


def test_what_changes_a_table_is_read_as_the_columns_of_its_record(spark: SparkSession, warehouse: Warehouse) -> None:
    about = """version_at TIMESTAMP, content_hash BIGINT, source_file STRING, source_modified_at TIMESTAMP,
        table_date DATE"""
    product, rest = ("Lamp", "home", Decimal("1.5")), (AT, 5, "f", AT, date(2024, 5, 1))
    rows = [
        ("applied", data, name, (f"of {data}", *product), *rest)
        for name in OUTCOMES
        for data in ("orders", "products", "users")
    ]
    columns = f"run_id STRING, dataset STRING, outcome STRING, products {PRODUCT_RECORD}, {about}"
    stage = write_stage(warehouse, manifest("applied"), [stage_columns(frame(spark, columns, *rows), ETL_STAGE)])
    record = "sku STRING, name STRING, category STRING, price DECIMAL(18,4), run_id STRING, outcome STRING"
    expected = [("of products", *product, "applied", name, *rest) for name in ("inserted", "updated")]
    for one in (stage, replace(stage, is_held=True)):
        assert_same(one.applied("products"), frame(spark, f"{record}, {about}", *expected))


def test_a_manifest_comes_back_as_it_was_written(spark: SparkSession, warehouse: Warehouse) -> None:
    written = manifest("back", arguments=("--full", "x"), is_plan=True, started_at="t", versions={"dim_order": 3})
    # Larger files are read first.
    records = [("back", dataset, "rejected", "no JSON" * 99) for dataset in ("orders", "users") for _ in range(99)]
    columns = "run_id STRING, dataset STRING, outcome STRING, raw STRING"
    write_stage(warehouse, written, [stage_columns(frame(spark, columns, *records), ETL_STAGE)])
    assert read_manifest(warehouse, "back") == written
    with pytest.raises(PlanError, match="there is no plan unknown: `--plan` prints the run id that `--apply` takes"):
        read_manifest(warehouse, "unknown")


def test_only_the_stage_of_the_quarantine_job_is_a_replay() -> None:
    assert manifest(**json.loads('{"job": "quarantine"}')).is_replay
    assert not manifest(job="orders").is_replay
    assert not manifest(job="value_props").is_replay


def test_runs_that_were_cut_off_are_found_oldest_first(spark: SparkSession, tmp_path: Path) -> None:
    tables = Warehouse(spark, str(tmp_path))
    tables.create([ETL_STAGE, ETL_RUNS])
    assert all_closed(tables)
    staged_runs = {
        "late": manifest("late", started_at="2024-05-03", versions={"a": 1}),
        "early": manifest("early", started_at="2024-05-01"),
        "z: as early": manifest("z: as early", started_at="2024-05-01"),
        "a plan": manifest("a plan", started_at="2024-05-01", is_plan=True),
        "a plan applied": manifest("a plan applied", started_at="2024-05-02", is_plan=True, versions={"a": 1}),
        "a plan that waits": manifest("a plan that waits", is_plan=True),
        "done": manifest("done"),
        "failed": manifest("failed"),
    }
    heads = [("run", json.dumps(one.__dict__), one.run_id, "manifest") for one in staged_runs.values()]
    rows = [*heads, ("orders", "{}", "early", "rejected"), ("users", "{}", "early", "rejected")]
    stage = frame(spark, "dataset STRING, raw STRING, run_id STRING, outcome STRING", *rows)
    tables.append(ETL_STAGE, stage_columns(stage, ETL_STAGE))
    entries = [
        ("done", "done", {"a": 7}),
        ("failed", "failed", {}),
        ("a plan that waits", "planned", {"a": 7}),
        ("a plan applied", "applying", {"a": 7}),
        ("of another job", "applying", {}),
    ]
    runs = frame(spark, "run_id STRING, status STRING, versions_before MAP<STRING, BIGINT>", *entries)
    tables.append(ETL_RUNS, rows_of(ETL_RUNS, runs, **ENTRY))
    assert not all_closed(tables)
    assert unfinished(tables) == [
        staged_runs["early"],
        staged_runs["z: as early"],
        manifest("a plan applied", started_at="2024-05-02", is_plan=True, versions={"a": 7}, is_admitted=True),
        staged_runs["late"],
    ]


@pytest.fixture(scope="module")
def two_staged(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse with the stages of the runs `a` and `b`; their entries are each test's own."""
    tables = Warehouse(spark, str(tmp_path_factory.mktemp("two")))
    tables.create([ETL_STAGE, ETL_RUNS])
    heads = frame(spark, "run_id STRING", ("a",), ("b",)).withColumns(
        {"dataset": F.lit("run"), "raw": F.lit("{}"), "outcome": F.lit("manifest")}
    )
    tables.append(ETL_STAGE, stage_columns(heads, ETL_STAGE))
    return tables


@pytest.mark.parametrize(
    ("entries", "complete"),
    [
        pytest.param({"a": "done", "b": "failed"}, True, id="ended"),
        pytest.param({"a": "done", "b": "planned", "of another job": "undone"}, True, id="a plan that waits"),
        pytest.param({"a": "done"}, False, id="staged without an entry"),
        pytest.param({"a": "done", "b": "applying"}, False, id="a plan half applied"),
        pytest.param({"a": "done", "b": "done", "a restore": "applying"}, False, id="a restore half done"),
    ],
)
def test_one_query_tells_that_nothing_was_cut_off(
    two_staged: Warehouse, entries: dict[str, str], *, complete: bool
) -> None:
    runs = frame(two_staged.spark, "run_id STRING, status STRING", *entries.items())
    two_staged.overwrite(ETL_RUNS, rows_of(ETL_RUNS, runs, **ENTRY), F.lit(True))
    assert all_closed(two_staged) is complete
