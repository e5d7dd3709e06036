"""The members that orders name and no dimension has: what applying a batch would infer."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch
from etl_lib.deciding.stage import Stage
from etl_lib.tables.schemas import DIMENSIONS


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
