"""What a publish has to bring: all of the tables, or what differs between two sets of their Delta versions.

Both sets are such as complete runs leave them, so at either of them the tables agree with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.process.errors import is_missing_version
from etl_lib.sinks.relations import RELATIONS, Relation
from etl_lib.sinks.sink import Change
from etl_lib.tables.schemas import DIM_ORDER, FACT_SALES, SALES_TABLES
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

MOST_KEYS = 100_000
"""As many changed keys of a relation are held in memory; more are computed anew whenever they are asked for."""

_OF_AN_ORDER = ("order_id", "order_date", "version_at", "content_hash", "source_modified_at", "run_id")
"""A header is written by the run that wrote its order's lines: where none of these differs, no line does."""
_TABLES = {table.name: table for table in SALES_TABLES}


def everything(warehouse: Warehouse, versions: Mapping[str, int]) -> dict[str, Change]:
    """All relations as a whole."""
    return {each.name: Change(each, _snapshot(warehouse, each, versions), None, None) for each in RELATIONS}


def changes_between(
    warehouse: Warehouse, before: Mapping[str, int], now: Mapping[str, int], most_keys: int = MOST_KEYS
) -> dict[str, Change] | None:
    """What differs in each relation; None when a version from before cannot be read (any more) or had other columns.

    Rows are compared with rows: what was changed and changed back is no change, and going back to a version is one.
    """
    changes: dict[str, Change] = {}
    try:
        for relation in RELATIONS:
            snapshot = _snapshot(warehouse, relation, now)
            if before[relation.name] == now[relation.name]:
                changes[relation.name] = Change(relation, snapshot, _local(relation, snapshot, ()), frozenset(), 0)
            elif relation.name == FACT_SALES.name:
                # The lines of the orders whose headers differ, which come first: never read at two versions.
                changes[relation.name] = replace(changes[DIM_ORDER.name], relation=relation, snapshot=snapshot)
            else:
                earlier = warehouse.read(_TABLES[relation.name], before)
                change = _change(relation, earlier, snapshot, most_keys)
                if change is None:
                    return None
                changes[relation.name] = change
    except Exception as error:
        if is_missing_version(error):
            return None
        raise
    return changes


def _change(relation: Relation, earlier: DataFrame, snapshot: DataFrame, most_keys: int) -> Change | None:
    columns = _OF_AN_ORDER if relation.name == DIM_ORDER.name else relation.column_names
    if not set(columns) <= set(earlier.columns):
        return None
    has_days = "order_date" in columns
    wanted = dict.fromkeys([relation.group, *(["order_date"] if has_days else [])])
    differing = _differing_rows(earlier.select(*columns), snapshot.select(*columns)).select(*wanted).distinct()
    rows = differing.limit(most_keys + 1).collect()
    if len(rows) <= most_keys:
        values = {row[relation.group] for row in rows}
        keys, groups = _local(relation, snapshot, values), len(values)
    else:
        keys = differing.select(relation.group).distinct()
        groups = keys.count()
        rows = differing.select("order_date").distinct().collect() if has_days else rows
    # A relation without days is written as a whole as soon as one row of it differs.
    dates = frozenset(row["order_date"] for row in rows) if has_days or not rows else None
    return Change(relation, snapshot, keys, dates, groups)


def _snapshot(warehouse: Warehouse, relation: Relation, versions: Mapping[str, int]) -> DataFrame:
    return warehouse.read(_TABLES[relation.name], versions).select(*relation.column_names)


def _differing_rows(before: DataFrame, now: DataFrame) -> DataFrame:
    """The rows that only one of two frames has, or one of them more often; NULL equals NULL."""
    both = before.withColumn("times", F.lit(-1)).unionAll(now.withColumn("times", F.lit(1)))
    return both.groupBy(*now.columns).agg(F.sum("times").alias("times")).where("times != 0")


def _local(relation: Relation, snapshot: DataFrame, keys: Collection[object]) -> DataFrame:
    """Keys as a frame that is held in memory and sent to where the rows are."""
    kind = snapshot.schema[relation.group].dataType.simpleString()
    frame = values_frame(snapshot.sparkSession, [(key,) for key in keys], f"{relation.group} {kind}")
    return F.broadcast(frame)
