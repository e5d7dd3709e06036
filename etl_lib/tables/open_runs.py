"""What is open: runs that were staged, and cut off before they were applied; and the manifest of each."""

from __future__ import annotations

import json
from dataclasses import replace

from pyspark.sql import functions as F

from etl_lib.process.errors import PlanError
from etl_lib.tables.ledger import APPLYING
from etl_lib.tables.run_manifest import RunManifest, SetAside
from etl_lib.tables.schemas import ETL_RUNS, ETL_STAGE
from etl_lib.tables.warehouse import Warehouse


def read_manifest(warehouse: Warehouse, run_id: str) -> RunManifest:
    """The manifest of a staged run; PlanError when nothing is staged under that id."""
    found = (
        warehouse.read(ETL_STAGE)
        .where((F.col("run_id") == run_id) & (F.col("dataset") == "run"))
        .select("raw")
        .collect()
    )
    if not found:
        raise PlanError(f"there is no plan {run_id}: `--plan` prints the run id that `--apply` takes")
    return _manifest(found[0]["raw"])


def all_closed(warehouse: Warehouse) -> bool:
    """Whether every staged run and every restore has an entry that is no longer open.

    One small query; what is not complete is then looked at by `unfinished` and others.
    """
    entries = warehouse.read(ETL_RUNS).select("run_id", "status")
    staged = warehouse.read(ETL_STAGE).where(F.col("dataset") == "run").select("run_id", F.lit(None).cast("string"))
    rows = entries.union(staged).collect()
    closed = {row["run_id"] for row in rows if row["status"] not in (None, APPLYING)}
    return closed == {row["run_id"] for row in rows}


def unfinished(warehouse: Warehouse) -> list[RunManifest]:
    """The staged runs, oldest first, that were cut off while they were to be applied."""
    runs = warehouse.read(ETL_RUNS).select("run_id", "status", "versions_before")
    of_run = warehouse.read(ETL_STAGE).where(F.col("dataset") == "run").select("run_id", "raw")
    # A run has no entry until it is complete; a plan has one that says so while it is applied.
    open_runs = of_run.join(runs, "run_id", "left").where(F.coalesce("status", F.lit(APPLYING)) == APPLYING)
    cut_off = []
    for row in open_runs.collect():
        manifest = _manifest(row["raw"])
        if row["status"] is not None:  # a plan is applied to what is there then
            cut_off.append(replace(manifest, versions=dict(row["versions_before"])))
        elif not manifest.is_plan:
            cut_off.append(manifest)
    return sorted(cut_off, key=lambda manifest: (manifest.started_at, manifest.run_id))


def _manifest(text: str) -> RunManifest:
    fields = json.loads(text)
    set_aside = tuple(SetAside(**file) for file in fields.pop("set_aside", ()))
    return RunManifest(**{**fields, "arguments": tuple(fields["arguments"])}, set_aside=set_aside)
