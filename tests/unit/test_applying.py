"""Applying a stage: what a run leaves in the tables and in the ledger, and when it is refused or finished later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from etl_lib.applying import steps as applying
from etl_lib.applying.steps import apply_batch, apply_plan, finish_interrupted
from etl_lib.deciding.counts import Batch, count_batch
from etl_lib.deciding.ids_alike import IdCount, UnlikeIds
from etl_lib.deciding.results import MOVED_TABLES
from etl_lib.deciding.stage import Stage, stage_columns, write_stage
from etl_lib.process.errors import ConflictError, PlanError
from etl_lib.run.metric_parts import TableMetrics
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.run.run import Run
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Inputs, Quality, Settings
from etl_lib.settings.rules import RuleBook
from etl_lib.tables.ledger import PLANNED, Ledger, RunEntry, RunManifest, write_run
from etl_lib.tables.open_runs import unfinished
from etl_lib.tables.schemas import (
    DIM_ORDER,
    DIM_PRODUCT,
    ETL_FILES,
    ETL_RUNS,
    ETL_STAGE,
    FACT_SALES,
    ORDER_RECORD,
    ORDER_TABLES,
    PUBLISHED_TABLES,
    QUARANTINE,
    USER_RECORD,
)
from etl_lib.tables.warehouse import Warehouse
from etl_lib.telling.metrics_files import MetricsFiles
from tests.frames import frame, rows_of

ORDER_DDL, USER_DDL = (" ".join(record.split()) for record in (ORDER_RECORD, USER_RECORD))
AT = datetime(2024, 5, 1, 10, tzinfo=UTC)
RAW = "{broken"
COLUMNS = f"""run_id STRING, dataset STRING, outcome STRING, key STRING, content_hash BIGINT, version_at TIMESTAMP,
    source_file STRING, source_size BIGINT, source_modified_at TIMESTAMP, raw STRING, broken_rules ARRAY<STRING>,
    block BIGINT, row BIGINT, record_id STRING, orders {ORDER_RECORD}"""
RULES = RuleBook()
PUBLISHED = [table.name for table in PUBLISHED_TABLES]


@pytest.fixture(scope="module")
def empty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("applying")
    Warehouse(spark, str(folder)).create(ORDER_TABLES)
    return folder


def run_in(spark: SparkSession, location: str, output: Path, **quality: float) -> Run:
    settings = Settings(
        warehouse=location, output=str(output), rules="none", input=Inputs(), quality=Quality(**quality)
    )
    arguments = Arguments(Path(), (), plan=False, as_json=True, given=())
    tell = MetricsFiles(str(output)).tell
    return Run(settings, arguments, RULES, spark, Warehouse(spark, location), manifest("now"), Ledger(), tell)


def run_over(spark: SparkSession, tables: Path, folder: Path) -> Run:
    """A run over a copy of these tables, whose gate is closed when more than half of the orders are rejected."""
    shutil.copytree(tables, folder / "warehouse")
    return run_in(spark, str(folder / "warehouse"), folder / "output", max_rejected_share=0.5)


@pytest.fixture
def run(spark: SparkSession, empty: Path, tmp_path: Path) -> Run:
    """A run over empty tables of its own."""
    return run_over(spark, empty, tmp_path)


def manifest(run_id: str, **about: Any) -> RunManifest:
    versions = dict.fromkeys(PUBLISHED, 0)
    given = {"job": "orders", "arguments": (), "started_at": "2024-05-01T10:00:00+00:00", "is_plan": False}
    return RunManifest(run_id, **{**given, "versions": versions, **about})


def stage(run: Run, of: RunManifest, *outcomes: str, first_id: str = "e1") -> Batch:
    """A stage of one file with an order of one line for each outcome, the first under an id as record that is given."""
    item = [("sku", 2, Decimal("1.5"))]
    rows = [(of.run_id, "orders", "file", *[None] * 3, "f", 9, AT, *[None] * 6)]
    for at, outcome in enumerate(outcomes, 1):
        order = (f"o{at}", date(2024, 5, 1), AT, "u", None, "EUR", None, None, 1, False, item)
        place = ("f", None, AT, RAW if outcome == "rejected" else None, ["no_key"] if outcome == "rejected" else [])
        record = None if outcome == "rejected" else order
        record_id = first_id if at == 1 else f"e{at}"
        rows.append((of.run_id, "orders", outcome, f"o{at}", at, AT, *place, 0, at, record_id, record))
    written = write_stage(run.warehouse, of, [stage_columns(frame(run.spark, COLUMNS, *rows), ETL_STAGE)])
    return count_batch(written, run.settings)


def stage_ids(run: Run, records: Mapping[str, Sequence[tuple[str, str, str, str]]]) -> None:
    """Stages of runs: orders, each with the outcome, user and sku given, and users, whose sku does not count."""
    order = "struct(user_id, array(named_struct('sku', sku, 'qty', 1, 'unit_price', NULL)) AS lines)"
    rows = [(run_id, *record) for run_id, some in records.items() for record in some]
    columns = "run_id STRING, dataset STRING, outcome STRING, user_id STRING, sku STRING"
    given = frame(run.spark, columns, *rows).selectExpr(
        "run_id",
        "dataset",
        "outcome",
        f"IF(dataset = 'orders', from_json(to_json({order}), '{ORDER_DDL}'), NULL) AS orders",
        f"IF(dataset = 'users', from_json(to_json(struct(user_id)), '{USER_DDL}'), NULL) AS users",
    )
    run.warehouse.append(ETL_STAGE, stage_columns(given, ETL_STAGE))


def unlike_ids(run: Run, run_id: str) -> list[UnlikeIds]:
    return count_batch(Stage(run.warehouse, run_id), run.settings).unlike_ids


def statuses(run: Run) -> list[tuple[str, str, str | None]]:
    rows = run.warehouse.read(ETL_RUNS).select("run_id", "status", "message").orderBy("run_id", "status").collect()
    return [(row["run_id"], row["status"], row["message"]) for row in rows]


@dataclass(frozen=True)
class Applied:
    """Tables into which a run, `r1`, has brought an order of its own, a rejected and a stale one, and what it told."""

    run: Run
    tables: Path
    metrics: Metrics


@pytest.fixture(scope="module")
def applied(spark: SparkSession, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Applied:
    folder = tmp_path_factory.mktemp("applied")
    run = run_over(spark, empty, folder)
    # Under a lock nobody else can have moved a table: the versions are not asked for.
    of = manifest("r1", versions=dict.fromkeys(PUBLISHED, 7))
    batch = stage(run, of, "inserted", "rejected", "stale")
    batch.read = {"orders": 3}
    metrics = Metrics("r1")
    apply_batch(run, of, batch, metrics)
    return Applied(run, folder / "warehouse", metrics)


def test_a_batch_goes_into_every_table_and_the_ledger_says_so(applied: Applied) -> None:
    warehouse, metrics = applied.run.warehouse, applied.metrics
    assert warehouse.rows(PUBLISHED_TABLES) == dict.fromkeys(PUBLISHED, 1)
    assert (metrics.status, metrics.inferred) == ("done", {"users": 1, "products": 1})
    changed = TableMetrics(rows_before=0, rows_after=1, version_before=7, version_after=1)
    assert metrics.tables == dict.fromkeys(PUBLISHED, changed)
    told = json.loads(as_json(metrics))
    assert told["outcomes"]["inserted"] == told["outcomes"]["stale"] == told["outcomes"]["rejected"] == 1
    assert metrics.replayed is None
    assert "replayed" not in told
    entry = warehouse.read(ETL_RUNS).collect()[0]
    assert entry["versions_before"] == dict.fromkeys(PUBLISHED, 7)
    assert entry["versions_after"] == dict.fromkeys(PUBLISHED, 1)
    assert json.loads(entry["metrics"]) == told
    assert [(row["path"], row["records"]) for row in warehouse.read(ETL_FILES).collect()] == [("f", 3)]


def test_ids_of_orders_are_held_against_those_of_users_and_products_here_or_in_the_tables(run: Run) -> None:
    of_orders = [
        ("orders", "inserted", "1.0", "7.0"),
        ("orders", "unchanged", "2", "8.0"),
        ("orders", "stale", "3.0", "9"),
    ]
    of_users = [("users", "updated", "1.0", ""), ("users", "inserted", "5", "")]
    both = [*of_orders, ("users", "inserted", "1", ""), ("users", "superseded", "4.0", "")]
    stage_ids(run, {"both": both, "orders": of_orders, "users": of_users})
    batch = count_batch(Stage(run.warehouse, "both"), run.settings)
    assert batch.of("orders").ids == {"user_id": IdCount(2, 1), "sku": IdCount(2, 2)}
    assert batch.of("users").ids == {"user_id": IdCount(1, 0), "sku": IdCount(0, 0)}
    assert batch.unlike_ids == [UnlikeIds("orders", "user_id", IdCount(2, 1), ["users"], ["1.0"])]

    # An inferred product has the id that the orders gave it.
    members = "sku STRING, is_inferred BOOLEAN, run_id STRING"
    inferred, known = (frame(run.spark, members, (sku, sku == "7.0", "r0")) for sku in ("7.0", "8"))
    run.warehouse.append(DIM_PRODUCT, stage_columns(inferred, DIM_PRODUCT))
    assert unlike_ids(run, "orders") == []
    run.warehouse.append(DIM_PRODUCT, stage_columns(known, DIM_PRODUCT))
    skus = UnlikeIds("orders", "sku", IdCount(2, 2), ["products"], ["7.0", "8.0"])
    assert unlike_ids(run, "orders") == [skus]

    # The other direction: the same stage, before and after there is an order.
    assert unlike_ids(run, "users") == []
    order = frame(run.spark, "order_id STRING, order_date DATE, user_id STRING", ("o", AT.date(), "u"))
    about = {"created_at": AT, "version_at": AT, "line_count": 0, "is_deleted": False, "content_hash": 1}
    arrival = {"source_file": "f", "source_modified_at": AT, "run_id": "r0"}
    run.warehouse.append(DIM_ORDER, rows_of(DIM_ORDER, order, **about, **arrival))
    assert unlike_ids(run, "users") == [UnlikeIds("users", "user_id", IdCount(2, 1), ["orders"], ["1.0"])]


def test_a_replay_closes_its_entries_and_adds_none(spark: SparkSession, applied: Applied, tmp_path: Path) -> None:
    run = run_over(spark, applied.tables, tmp_path)
    of = manifest("r2", job="quarantine")
    entry = run.warehouse.read(QUARANTINE).collect()[0]
    outcomes = ("unchanged", "unchanged", "unchanged", "rejected", "rejected")
    metrics = Metrics()
    apply_batch(run, of, stage(run, of, *outcomes, first_id=entry["record_id"]), metrics)
    assert metrics.replayed == 3
    closed = run.warehouse.read(QUARANTINE).collect()
    assert [row.asDict() for row in closed] == [{**entry.asDict(), "status": "replayed", "last_run_id": "r2"}]


def cut_off(*_: object, **__: object) -> None:
    raise OSError("the power went")


@pytest.mark.slow
def test_runs_that_were_cut_off_are_finished_in_order_and_a_closed_gate_stays_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, begun = manifest("r1"), manifest("r2")
    stage(run, closed, "rejected", "rejected", "inserted")
    batch = stage(run, begun, "inserted", "rejected")
    with monkeypatch.context() as patched:
        patched.setattr(applying, "apply_fact_sales", cut_off)
        with pytest.raises(OSError, match="the power went"):
            apply_batch(run, begun, batch, Metrics())
    clock = iter([100.0, 200.0, 502.34567])
    monkeypatch.setattr(applying, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    next_process = replace(run, warehouse=Warehouse(run.spark, run.warehouse.location))
    finish_interrupted(next_process)
    gate = "the quality gate is closed, no table was changed:\n  orders: 66.7% rejected, above "
    assert statuses(run) == [
        ("r1", "stopped", f"{gate}quality.max_rejected_share 50.0%"),
        ("r2", "done", None),
    ]
    assert run.metrics == Metrics(finished_runs=["r2"])
    written = json.loads((Path(run.settings.output) / "metrics.json").read_text())
    assert (written["run_id"], written["status"], written["duration_s"]) == ("r2", "done", 302.346)
    left = {name: (table["version_after"], table["rows_after"]) for name, table in written["tables"].items()}
    versions, rows = run.warehouse.versions(PUBLISHED_TABLES), run.warehouse.rows(PUBLISHED_TABLES)
    assert left == {name: (versions[name], rows[name]) for name in versions}
    assert versions["dim_user"] == 1, "written by the run that was cut off, and not again"
    assert [row["order_id"] for row in run.warehouse.read(FACT_SALES).collect()] == ["o1"]
    before = run.warehouse.versions(ORDER_TABLES)
    finish_interrupted(next_process)
    assert run.warehouse.versions(ORDER_TABLES) == before


@pytest.fixture(scope="module")
def planned(spark: SparkSession, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with two plans that wait: `p1` was made when they were at version 0, `p2` with fact_sales at 3."""
    folder = tmp_path_factory.mktemp("planned")
    run = run_over(spark, empty, folder)
    for run_id, moved in (("p1", {}), ("p2", {"fact_sales": 3})):
        of = manifest(run_id, is_plan=True)
        stage(run, of, "inserted")
        versions = {table.name: 0 for table in MOVED_TABLES} | moved
        write_run(run.warehouse, RunEntry(of, PLANNED, Metrics(), versions, versions))
    return folder / "warehouse"


def test_a_plan_is_applied_once_and_not_when_a_table_has_moved(
    spark: SparkSession, planned: Path, tmp_path: Path
) -> None:
    run = run_over(spark, planned, tmp_path)
    with pytest.raises(PlanError, match="unknown is no plan that waits to be applied: it is unknown, applied already"):
        apply_plan(run, "unknown")
    apply_plan(run, "p1")
    assert run.metrics.batch is not None
    assert (run.metrics.status, run.metrics.batch.outcomes["inserted"]) == ("done", 1)
    assert statuses(run) == [("p1", "done", None), ("p2", "planned", None)]
    with pytest.raises(PlanError, match="p1 is no plan that waits to be applied"):
        apply_plan(run, "p1")
    moved = [
        "fact_sales from version 3 to 1",
        *(f"dim_{name} from version 0 to 1" for name in ("order", "user", "product")),
    ]
    told = f"plan p2 no longer holds, make a new one: {', '.join(moved)}"
    with pytest.raises(PlanError, match=f"^{told}$"):
        apply_plan(run, "p2")


def test_a_plan_that_was_cut_off_is_to_be_finished_before_another_is_applied(
    spark: SparkSession, planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_over(spark, planned, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(applying, "apply_batch", cut_off)
        with pytest.raises(OSError, match="the power went"):
            apply_plan(run, "p1")
    assert statuses(run) == [("p1", "applying", None), ("p2", "planned", None)]
    with pytest.raises(PlanError, match="run p1 was cut off: run the job once without --apply to finish it first"):
        apply_plan(run, "p2")
    assert [left.run_id for left in unfinished(run.warehouse)] == ["p1"]


@pytest.fixture
def unlocked(spark: SparkSession, tmp_path: Path) -> Iterator[Run]:
    """A run over tables in a catalog, where no lock keeps others away."""
    schema = f"unlocked_{token_hex(4)}"
    spark.sql(f"CREATE SCHEMA {schema}")
    found = run_in(spark, f"catalog:spark_catalog.{schema}", tmp_path)
    found.warehouse.create(ORDER_TABLES)
    yield found
    spark.sql(f"DROP SCHEMA {schema} CASCADE")


@pytest.mark.slow
def test_without_a_lock_a_run_that_another_overtook_is_refused(unlocked: Run) -> None:
    behind = manifest("r1", versions={**dict.fromkeys(PUBLISHED, 0), "dim_order": 4})
    batch = stage(unlocked, behind, "inserted")
    batch.read = {"orders": 1}
    told = "since this run compared its records with them: dim_order from version 4 to 0. No table was changed"
    with pytest.raises(ConflictError, match=told):
        apply_batch(unlocked, behind, batch, Metrics())
    assert [(run_id, status) for run_id, status, _ in statuses(unlocked)] == [("r1", "failed")]
    assert unlocked.warehouse.read(DIM_ORDER).isEmpty()

    alone = manifest("r2")
    batch = stage(unlocked, alone, "inserted")
    batch.read = {"orders": 1}
    apply_batch(unlocked, alone, batch, Metrics())
    assert [(run_id, status) for run_id, status, _ in statuses(unlocked)] == [("r1", "failed"), ("r2", "done")]
    with pytest.raises(ConflictError, match="another run took this one for one that was cut off, and finished it"):
        apply_batch(unlocked, alone, batch, Metrics())
