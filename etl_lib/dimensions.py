"""dim_user and dim_product: what their CSV files say, and inferred members for what only orders name so far."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.batch import Batch
from etl_lib.local_rows import held
from etl_lib.merge import insert_all, inserting, merge, update_all
from etl_lib.schemas import DIM_PRODUCT, DIM_USER
from etl_lib.stage import Stage

DIMENSIONS = {"users": DIM_USER, "products": DIM_PRODUCT}


def apply_dimension(batch: Batch, dataset: str) -> None:
    """MERGE the users or products that are new or changed; an inferred member is completed when it arrives."""
    if not batch.of(dataset).applied:
        return
    table = DIMENSIONS[dataset]
    members = batch.stage.applied(dataset).withColumn("is_inferred", F.lit(False)).select(*table.column_names)
    key = table.key[0]
    on = f"t.`{key}` = s.`{key}`"
    clauses = [update_all(table), insert_all(table)]
    needed = inserting(clauses) if batch.of(dataset).only_inserts else clauses
    merge(batch.stage.warehouse, table, members, on=on, clauses=needed)


def missing_members(stage: Stage, dataset: str) -> DataFrame:
    """The users or products that the applied orders of a stage name and the dimension does not have.

    Columns: the key of the dimension, a row each time that one is named. What the same stage brings in its own files
    is not missing.
    """
    table = DIMENSIONS[dataset]
    key = table.key[0]
    orders = stage.applied("orders")
    named = orders.select(F.explode("lines.sku").alias(key)) if dataset == "products" else orders.select(key)
    have = stage.warehouse.read(table).select(key).unionByName(stage.applied(dataset).select(key))
    return named.where(F.coalesce(F.col(key), F.lit("")) != "").join(have, key, "left_anti")


def missing_counts(batch: Batch) -> dict[str, int]:
    """How many members applying the batch would infer, by dataset."""
    if not batch.of("orders").applied:
        return dict.fromkeys(DIMENSIONS, 0)
    return {dataset: missing_members(batch.stage, dataset).distinct().count() for dataset in DIMENSIONS}


def infer_members(batch: Batch, dataset: str) -> int:
    """Append the missing members with `is_inferred`; gives how many this run has inferred, in an earlier try too."""
    if not batch.of("orders").applied:
        return 0
    table, warehouse, run_id = DIMENSIONS[dataset], batch.stage.warehouse, batch.stage.run_id
    missing = missing_members(batch.stage, dataset)
    if batch.stage.is_held:
        missing = held(missing)
    is_first_try = bool(batch.read)
    if not missing.isEmpty():  # ends at the first one
        absent = {field.name: F.lit(None).cast(field.dataType) for field in table.schema if field.name not in table.key}
        known = {"is_inferred": F.lit(True), "run_id": F.lit(run_id)}
        warehouse.append(table, missing.distinct().withColumns({**absent, **known}).select(*table.column_names))
    elif is_first_try:
        return 0
    return warehouse.read(table).where(F.col("is_inferred") & (F.col("run_id") == run_id)).count()
