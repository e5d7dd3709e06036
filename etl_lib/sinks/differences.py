"""What a publish has to bring: all of the tables, or what differs between two sets of their Delta versions.

Both sets are such as complete runs leave them, so at either of them the tables agree with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.process.spark_errors import is_missing_version
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
_BY_NAME = {relation.name: relation for relation in RELATIONS}


class _OtherColumnsError(Exception):
    """A table had other columns before."""


def everything(warehouse: Warehouse, versions: Mapping[str, int]) -> dict[str, Change]:
    """All relations as a whole."""
    return {each.name: Change(each, _snapshot(warehouse, each, versions), None, None) for each in RELATIONS}


def changes_between(
    warehouse: Warehouse, before: Mapping[str, int], now: Mapping[str, int], most_keys: int = MOST_KEYS
) -> dict[str, Change] | None:
    """What differs in each relation; None when a version from before cannot be read (any more) or had other columns.

    Rows are compared with rows: what was changed and changed back is no change, and going back to a version is one.
    """
    compared = [each for each in RELATIONS if each.name != FACT_SALES.name]
    try:
        found = {each.name: _change(warehouse, each, before, now, most_keys) for each in compared}
    except _OtherColumnsError:
        return None
    except Exception as error:
        if is_missing_version(error):
            return None
        raise
    found[FACT_SALES.name] = _lines(warehouse, found[DIM_ORDER.name], before, now)
    return {each.name: found[each.name] for each in RELATIONS}


def _lines(warehouse: Warehouse, headers: Change, before: Mapping[str, int], now: Mapping[str, int]) -> Change:
    """The lines of the orders whose headers differ: never read at two versions."""
    lines = _BY_NAME[FACT_SALES.name]
    snapshot = _snapshot(warehouse, lines, now)
    if before[lines.name] == now[lines.name]:
        return _unchanged(lines, snapshot)
    return replace(headers, relation=lines, snapshot=snapshot)


def _change(
    warehouse: Warehouse, relation: Relation, before: Mapping[str, int], now: Mapping[str, int], most_keys: int
) -> Change:
    snapshot = _snapshot(warehouse, relation, now)
    if before[relation.name] == now[relation.name]:
        return _unchanged(relation, snapshot)
    columns = _OF_AN_ORDER if relation.name == DIM_ORDER.name else relation.column_names
    earlier = warehouse.read(_TABLES[relation.name], before)
    if not set(columns) <= set(earlier.columns):
        raise _OtherColumnsError
    has_days = "order_date" in columns
    wanted = dict.fromkeys([relation.group, *(["order_date"] if has_days else [])])
    differing = _differing_rows(earlier.select(*columns), snapshot.select(*columns)).select(*wanted).distinct()
    found = differing.limit(most_keys + 1).collect()
    if len(found) <= most_keys:
        values = {row[relation.group] for row in found}
        keys, groups = _local(relation, snapshot, values), len(values)
    else:
        keys = differing.select(relation.group).distinct()
        groups = keys.count()
        found = differing.select("order_date").distinct().collect() if has_days else found
    # A relation without days is written as a whole as soon as one row of it differs.
    dates = frozenset(row["order_date"] for row in found) if has_days or not found else None
    return Change(relation, snapshot, keys, dates, groups)


def _snapshot(warehouse: Warehouse, relation: Relation, versions: Mapping[str, int]) -> DataFrame:
    return warehouse.read(_TABLES[relation.name], versions).select(*relation.column_names)


def _unchanged(relation: Relation, snapshot: DataFrame) -> Change:
    return Change(relation, snapshot, _local(relation, snapshot, ()), frozenset(), 0)


def _differing_rows(before: DataFrame, now: DataFrame) -> DataFrame:
    """The rows that only one of two frames has, or one of them more often; NULL equals NULL."""
    both = before.withColumn("times", F.lit(-1)).unionAll(now.withColumn("times", F.lit(1)))
    return both.groupBy(*now.columns).agg(F.sum("times").alias("times")).where("times != 0")


def _local(relation: Relation, snapshot: DataFrame, keys: Collection[object]) -> DataFrame:
    """Keys as a frame that is held in memory and sent to where the rows are."""
    kind = snapshot.schema[relation.group].dataType.simpleString()
    frame = values_frame(snapshot.sparkSession, [(key,) for key in keys], f"{relation.group} {kind}")
    return F.broadcast(frame)
