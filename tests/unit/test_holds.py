"""Holds: which runs a gate holds back, and what lifts that."""

from __future__ import annotations

import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.run.metrics import Metrics
from etl_lib.tables.holds import is_held, open_holds, release
from etl_lib.tables.ledger import GateResult, RunEntry, RunManifest, consistent_versions, write_run
from etl_lib.tables.schemas import DIM_ORDER, ETL_RUNS
from etl_lib.tables.warehouse import Warehouse


def test_a_hold_is_lifted_by_a_later_run_that_passes_the_same_gate_or_by_hand(
    spark: SparkSession, tmp_path: Path
) -> None:
    warehouse = Warehouse(spark, str(tmp_path))
    warehouse.create([ETL_RUNS])

    def enter(run_id: str, *gates: tuple[str, str, str], status: str = "done", version: int = 0) -> None:
        manifest = RunManifest(run_id, "orders", (), "2024-05-01T00:00:00+00:00", is_plan=False)
        said = [GateResult(gate, dataset, "hold_publish", state, "why") for gate, dataset, state in gates]
        after = {DIM_ORDER.name: version}
        write_run(warehouse, RunEntry(manifest, status, Metrics(), {}, after, gates=said))
        time.sleep(0.002)  # rows end one after the other, in milliseconds

    def holding() -> list[tuple[str, str, str]]:
        return [(hold.run_id, hold.gate, hold.dataset) for hold in open_holds(warehouse)]

    enter("a", ("volume", "orders", "passed"), version=1)
    assert open_holds(warehouse) == []
    enter("b", ("volume", "orders", "held"), ("volume", "pays", "held"), ("freshness", "orders", "held"), version=2)
    enter("c", ("volume", "orders", "held"), status="stopped", version=3)
    enter("d", ("volume", "users", "passed"), version=4)
    both = [("b", "volume", "orders"), ("b", "volume", "pays"), ("b", "freshness", "orders")]
    assert holding() == both
    assert (open_holds(warehouse)[0].message, is_held([GateResult("g", "", "", "held")])) == ("why", True)
    assert consistent_versions(warehouse, [DIM_ORDER], open_holds(warehouse)[0].ended_at) == {"dim_order": 1}

    enter("e", ("volume", "orders", "passed"), version=5)
    assert holding() == both[1:]
    release(warehouse, "b", "released by r")
    assert open_holds(warehouse) == []
    row = warehouse.read(ETL_RUNS).where("run_id = 'b'").collect()[0]
    assert ([gate["state"] for gate in row["gates"]], row["message"]) == (["released"] * 3, "released by r")
    assert [gate["state"] for gate in warehouse.read(ETL_RUNS).where("run_id = 'a'").collect()[0]["gates"]] == [
        "passed"
    ]

    enter("f", ("volume", "orders", "held"), version=6)
    assert holding() == [("f", "volume", "orders")]
    undone = warehouse.read(ETL_RUNS).where("run_id = 'f'").withColumn("status", F.lit("undone"))
    warehouse.overwrite(ETL_RUNS, undone, F.col("run_id") == "f")
    assert holding() == [], "undoing the run lifts its hold"
