"""dim_user and dim_product: what their CSV files say, and inferred members for what only orders name so far."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch
from etl_lib.deciding.stage import Stage, missing_members
from etl_lib.tables.merge import insert_all, inserting, merge, update_all
from etl_lib.tables.schemas import DIMENSIONS, Table
from etl_lib.tables.values_frame import held_if_any


def apply_members(batch: Batch, dataset: str, *, is_retry: bool) -> int:
    """MERGE what the files say of users or products, and infer the members that only the applied orders name.

    An inferred member is completed when it arrives. Gives how many this run has inferred, in an earlier try too.
    """
    table, warehouse = DIMENSIONS[dataset], batch.stage.warehouse
    counts = batch.of(dataset)
    members = [_of_files(batch.stage, dataset)] if counts.applied else []
    if batch.of("orders").applied:
        members += _to_infer(batch.stage, dataset, is_asked=not members)
    if not members:
        return _inferred_by(batch.stage, table) if is_retry else 0
    key = table.key[0]
    # A row that another writer has made since then says more than that orders name it.
    clauses = [update_all(table, "NOT s.is_inferred"), insert_all(table)]
    needed = inserting(clauses) if counts.only_inserts else clauses
    source = reduce(DataFrame.unionByName, members)
    inserted = merge(warehouse, table, source, on=f"t.`{key}` = s.`{key}`", clauses=needed)
    if is_retry or inserted is None or warehouse.collisions[table.name]:
        return _inferred_by(batch.stage, table)
    return inserted - counts.outcomes["inserted"]


def _of_files(stage: Stage, dataset: str) -> DataFrame:
    members = stage.applied(dataset).withColumn("is_inferred", F.lit(False))
    return members.select(*DIMENSIONS[dataset].column_names)


def _to_infer(stage: Stage, dataset: str, *, is_asked: bool) -> list[DataFrame]:
    """The members to infer; none when there are none, if that is asked or comes by itself."""
    table = DIMENSIONS[dataset]
    absent = {field.name: F.lit(None).cast(field.dataType) for field in table.schema if field.name not in table.key}
    known = {"is_inferred": F.lit(True), "run_id": F.lit(stage.run_id)}
    missing = missing_members(stage, dataset).distinct().withColumns({**absent, **known}).select(*table.column_names)
    if stage.is_held:
        return held_if_any(missing)
    return [] if is_asked and missing.isEmpty() else [missing]  # ends at the first one


def _inferred_by(stage: Stage, table: Table) -> int:
    return stage.warehouse.read(table).where(F.col("is_inferred") & (F.col("run_id") == stage.run_id)).count()
