"""The quarantine: just the bad records, with their raw text, the reasons, and where each stood in its file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl_lib.batch import Batch
from etl_lib.landing import WHOLE
from etl_lib.merge import insert_all, merge
from etl_lib.rules import STRUCTURAL, Rule
from etl_lib.schemas import QUARANTINE
from etl_lib.stage import Stage

NEW, REPLAYED = "new", "replayed"


def record_id(source_file: Column, raw: Column) -> Column:
    """The identity of a rejected record: the hash of its file and its text."""
    return F.sha2(F.concat_ws("\x00", source_file, raw), 256)


def with_positions(stage: Stage, dataset: str) -> DataFrame:
    """The rejected records of a stage with `position`, counted from 1: the line of the file, or the array's element.

    A large file was read in blocks by several tasks. The stage has a row for every line, so the lines before a block
    are the rows of the blocks before it.
    """
    rows = stage.rows.where((F.col("dataset") == dataset) & F.col("row").isNotNull())
    rejected = rows.where(F.col("outcome") == "rejected")
    files = rejected.select("source_file").distinct()
    blocks = (
        rows.join(files, "source_file", "left_semi")
        .groupBy("source_file", "block")
        .agg(F.min("row").alias("first_row"), F.count("*").alias("lines"))
    )
    before = Window.partitionBy("source_file").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
    counted = blocks.withColumn("lines_before", F.coalesce(F.sum("lines").over(before), F.lit(0)))
    in_lines = F.col("lines_before") + F.col("row") - F.col("first_row") + 1
    position = F.when(F.col("block") == WHOLE, F.col("row")).otherwise(in_lines)
    return rejected.join(counted.drop("lines"), ["source_file", "block"]).withColumn("position", position)


def quarantined(stage: Stage, dataset: str, rules: Mapping[str, Rule]) -> DataFrame:
    """The rejected records of one dataset in the columns of quarantine: one row an entry, `position` of the first."""
    messages = {**STRUCTURAL, **{name: rule.message for name, rule in rules.items()}}
    refusing = [*STRUCTURAL, *(name for name, rule in rules.items() if rule.severity != "warn")]
    told = F.create_map(*(F.lit(text) for pair in messages.items() for text in pair))
    broken = F.array_intersect("broken_rules", F.array(*map(F.lit, refusing)))
    reasons = F.transform(
        broken, lambda rule: F.struct(rule.alias("rule"), F.try_element_at(told, rule).alias("message"))
    )
    rejected = with_positions(stage, dataset).withColumns(
        {"record_id": record_id(F.col("source_file"), F.col("raw")), "reasons": reasons}
    )
    entries = rejected.groupBy("record_id", "dataset", "raw", "source_file").agg(
        F.min_by("reasons", "position").alias("reasons"),
        F.min("position").alias("position"),
        F.count("*").alias("occurrences"),
    )
    run_id = F.lit(stage.run_id)
    return entries.withColumns({"first_run_id": run_id, "last_run_id": run_id, "status": F.lit(NEW)}).select(
        *QUARANTINE.column_names
    )


def apply_quarantine(batch: Batch, rules: Mapping[str, Mapping[str, Rule]]) -> None:
    """Add the entries that are new; reopen or correct those whose reasons or status this run changes.

    A retry finds its entries there and changes nothing: `last_run_id` is the last run that changed the entry.
    """
    rejecting = [dataset for dataset, counts in batch.datasets.items() if counts.outcomes["rejected"]]
    if not rejecting:
        return
    warehouse = batch.stage.warehouse
    entries = reduce(DataFrame.unionByName, (quarantined(batch.stage, name, rules[name]) for name in rejecting))
    there = warehouse.read(QUARANTINE).select("record_id", "status", F.col("reasons").alias("known_reasons"))
    same = F.col("known_reasons").eqNullSafe(F.col("reasons")) & (F.col("status") != REPLAYED)
    changed = (
        entries.drop("status")
        .join(there, "record_id", "left")
        .where(F.col("status").isNull() | ~same)
        .withColumn("status", F.lit(NEW))
        .select(*QUARANTINE.column_names)
    )
    if changed.isEmpty():
        return
    reopen = (
        "WHEN MATCHED THEN UPDATE SET t.reasons = s.reasons, t.position = s.position, t.occurrences = s.occurrences, "
        "t.last_run_id = s.last_run_id, t.status = s.status"
    )
    merge(warehouse, QUARANTINE, changed, on="t.record_id = s.record_id", clauses=[reopen, insert_all(QUARANTINE)])
