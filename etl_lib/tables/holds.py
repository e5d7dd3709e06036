"""Holds: runs after which a gate keeps the sinks as they are, until somebody or a later run lifts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import functions as F

from etl_lib.tables.ledger import DONE, GateResult
from etl_lib.tables.merge import merge
from etl_lib.tables.schemas import ETL_RUNS
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

PASSED, HELD, RELEASED = "passed", "held", "released"
"""What etl_runs has of a gate that is open, of one that is closed and holds, and of one that no longer does."""


@dataclass(frozen=True)
class Hold:
    """A complete run that a gate holds back; `ended_at` in UTC."""

    run_id: str
    ended_at: datetime
    gate: str
    dataset: str
    message: str


def is_held(gates: Sequence[GateResult]) -> bool:
    """Whether any of these gates holds back what its run would publish."""
    return any(gate.state == HELD for gate in gates)


def open_holds(warehouse: Warehouse) -> list[Hold]:
    """The holds that nothing has lifted, the oldest first: no later complete run has passed the same gate.

    A run that was undone is not complete, so undoing the held one lifts its hold.
    """
    done = warehouse.read(ETL_RUNS).where(F.col("status") == DONE)
    rows = done.select("run_id", F.unix_micros("ended_at").alias("ended"), F.explode("gates").alias("gate"))
    said = rows.select("run_id", "ended", "gate.gate", "gate.dataset", "gate.state", "gate.message")
    held = said.where(F.col("state") == HELD).collect()
    if not held:
        return []
    passed = said.where(F.col("state") == PASSED).groupBy("gate", "dataset").agg(F.max("ended").alias("last"))
    last = {(row["gate"], row["dataset"]): row["last"] for row in passed.collect()}
    still = [row for row in held if row["ended"] >= last.get((row["gate"], row["dataset"]), 0)]
    return [
        Hold(row["run_id"], _time(row["ended"]), row["gate"], row["dataset"], row["message"])
        for row in sorted(still, key=lambda row: (row["ended"], row["run_id"]))
    ]


def release(warehouse: Warehouse, run_id: str, message: str) -> None:
    """Lift what holds a run; its row says so and keeps what the gates said."""
    source = values_frame(warehouse.spark, [(run_id, message)], "run_id STRING, message STRING")
    lifted = (
        "named_struct('gate', g.gate, 'dataset', g.dataset, 'effect', g.effect, "
        f"'state', if(g.state = '{HELD}', '{RELEASED}', g.state), 'message', g.message)"
    )
    change = f"WHEN MATCHED THEN UPDATE SET t.gates = transform(t.gates, g -> {lifted}), t.message = s.message"
    merge(warehouse, ETL_RUNS, source, on="t.run_id = s.run_id", clauses=[change])


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
