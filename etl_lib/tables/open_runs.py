"""Runs that are open: staged, and cut off before they were applied, or waiting to be applied by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from etl_lib.process.errors import PlanError
from etl_lib.tables.ledger import (
    APPLYING,
    ORDERS_JOB,
    PLANNED,
    REPLAY_JOB,
    STOPPED,
    GateResult,
    RunManifest,
    set_aside_from,
)
from etl_lib.tables.schemas import ETL_RUNS, ETL_STAGE
from etl_lib.tables.warehouse import Warehouse


@dataclass(frozen=True)
class WaitingRun:
    """A plan, or a run that gates have stopped: what it compared with, and what the gates said."""

    status: str
    versions: Mapping[str, int]
    gates: Sequence[GateResult]


def waiting_run(warehouse: Warehouse, run_id: str) -> WaitingRun | None:
    """The run that waits to be applied under this id, of a job whose stages are applied; None when there is none."""
    waits = F.col("status").isin(PLANNED, STOPPED) & F.col("job").isin(ORDERS_JOB, REPLAY_JOB)
    runs = warehouse.read(ETL_RUNS).where((F.col("run_id") == run_id) & waits)
    for row in runs.select("status", "versions_before", "gates").collect():
        return WaitingRun(row["status"], dict(row["versions_before"]), gates_from(row["gates"]))
    return None


def admitted_gates(warehouse: Warehouse, run_id: str) -> tuple[GateResult, ...]:
    """What the gates said of a plan, or of a run that was stopped, which is being applied."""
    rows = warehouse.read(ETL_RUNS).where(F.col("run_id") == run_id).select("gates").collect()
    return gates_from(rows[0]["gates"]) if rows else ()


def gates_from(rows: Sequence[Row] | None) -> tuple[GateResult, ...]:
    """The gates of a run as etl_runs has them."""
    return tuple(GateResult(**row.asDict()) for row in rows or ())


def read_manifest(warehouse: Warehouse, run_id: str) -> RunManifest:
    """The manifest of a staged run; PlanError when nothing is staged under that id."""
    rows = _manifests(warehouse).where(F.col("run_id") == run_id).select("raw").collect()
    if not rows:
        raise PlanError(f"there is no plan {run_id}: `--plan` prints the run id that `--apply` takes")
    return _from_json(rows[0]["raw"])


def all_closed(warehouse: Warehouse) -> bool:
    """Whether every staged run and every restore has an entry that is no longer open; one small query."""
    entries = warehouse.read(ETL_RUNS).select("run_id", "status")
    staged = _manifests(warehouse).select("run_id", F.lit(None).cast("string"))
    rows = entries.union(staged).collect()
    closed = {row["run_id"] for row in rows if row["status"] not in (None, APPLYING)}
    return closed == {row["run_id"] for row in rows}


def unfinished(warehouse: Warehouse) -> list[RunManifest]:
    """The staged runs, oldest first, that were cut off while they were to be applied."""
    runs = warehouse.read(ETL_RUNS).select("run_id", "status", "versions_before")
    # A run has no entry until it is complete; a plan has one that says so while it is applied.
    is_open = F.coalesce("status", F.lit(APPLYING)) == APPLYING
    cut_off = []
    for row in _manifests(warehouse).join(runs, "run_id", "left").where(is_open).collect():
        manifest = _from_json(row["raw"])
        if row["status"] is not None:  # a plan is applied to what is there then
            cut_off.append(replace(manifest, versions=dict(row["versions_before"]), is_admitted=True))
        elif not manifest.is_plan:
            cut_off.append(manifest)
    return sorted(cut_off, key=lambda manifest: (manifest.started_at, manifest.run_id))


def _manifests(warehouse: Warehouse) -> DataFrame:
    """The staged runs: `run_id`, and the manifest as JSON in `raw`."""
    return warehouse.read(ETL_STAGE).where(F.col("dataset") == "run").select("run_id", "raw")


def _from_json(text: str) -> RunManifest:
    fields = json.loads(text)
    set_aside = set_aside_from(fields.pop("set_aside", ()))
    return RunManifest(**{**fields, "arguments": tuple(fields["arguments"])}, set_aside=set_aside)
