"""The quarantine: just the bad records, with their raw text, the reasons, and where each stood in its file."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch
from etl_lib.deciding.stage import Stage
from etl_lib.settings.quarantine_arguments import DISCARDED, NEW, REPLAYED
from etl_lib.settings.rules import STRUCTURAL, RuleBook
from etl_lib.sources.landing import WHOLE
from etl_lib.tables.merge import insert_all, inserting, merge
from etl_lib.tables.schemas import QUARANTINE

_SETTLED = f"(t.status = '{DISCARDED}' OR t.payload IS NOT NULL)"
"""No retry opens these again: nobody wants the record, or an edited one has taken its place."""


def record_id(source_file: Column, raw: Column) -> Column:
    """The identity of a rejected record: the hash of its file and its text."""
    return F.sha2(F.concat_ws("\x00", source_file, raw), 256)


def rejected_records(batch: Batch, rules: RuleBook) -> DataFrame:
    """The rejected records of a batch with `record_id` and `reasons`."""
    rejected = batch.stage.records().where(F.col("outcome") == "rejected")
    return rejected.withColumns(
        {"record_id": record_id(F.col("source_file"), F.col("raw")), "reasons": reasons(batch.datasets, rules)}
    )


def reasons(datasets: Iterable[str], rules: RuleBook) -> Column:
    """What a staged record was rejected for, as quarantine has it: just the rules that refuse."""
    messages: dict[str, str] = {}
    for dataset in datasets:
        refusing = {name: rule.message for name, rule in rules.of(dataset).items() if rule.is_refusing}
        messages |= {f"{dataset}.{name}": message for name, message in (STRUCTURAL | refusing).items()}
    message_of = F.create_map(*(F.lit(text) for pair in messages.items() for text in pair))

    def reason(rule: Column) -> Column:
        message = F.try_element_at(message_of, F.concat("dataset", F.lit("."), rule))
        return F.struct(rule.alias("rule"), message.alias("message"))

    return F.filter(F.transform("broken_rules", reason), lambda reason: reason["message"].isNotNull())


def with_positions(rejected: DataFrame, stage: Stage) -> DataFrame:
    """Add `position` to rejected records, counted from 1: the line of the file, or the element of the array.

    A large file was read in blocks by several tasks. The stage has a row for every line, so the lines before a block
    are the rows of the blocks before it.
    """
    place = ["dataset", "source_file", "block"]
    files = rejected.select("dataset", "source_file").distinct()
    rows = stage.rows.where(F.col("row").isNotNull()).join(files, ["dataset", "source_file"], "left_semi")
    blocks = rows.groupBy(*place).agg(F.min("row").alias("first_row"), F.count("*").alias("lines"))
    before = Window.partitionBy("dataset", "source_file").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
    counted = blocks.withColumn("lines_before", F.coalesce(F.sum("lines").over(before), F.lit(0)))
    in_lines = F.col("lines_before") + F.col("row") - F.col("first_row") + 1
    position = F.when(F.col("block") == WHOLE, F.col("row")).otherwise(in_lines)
    return rejected.join(counted.drop("lines"), place).withColumn("position", position)


def entries(rejected: DataFrame, run_id: str) -> DataFrame:
    """Rejected records with their positions in the columns of quarantine: one row an entry, `position` of the first."""
    grouped = rejected.groupBy("record_id", "dataset", "raw", "source_file").agg(
        F.min_by("reasons", "position").alias("reasons"),
        F.min("position").alias("position"),
        F.count("*").alias("occurrences"),
    )
    written = {
        "first_run_id": F.lit(run_id),
        "last_run_id": F.lit(run_id),
        "status": F.lit(NEW),
        "payload": F.lit(None).cast("string"),
    }
    return grouped.withColumns(written).select(*QUARANTINE.column_names)


def apply_quarantine(batch: Batch, rules: RuleBook) -> None:
    """Add the entries that are new; reopen or correct those whose reasons or status this run changes.

    A retry finds its entries there and changes nothing: `last_run_id` is the last run that changed the entry.
    An entry that was discarded, or replayed with an edited text, stays as it is.
    """
    if not any(counts.outcomes["rejected"] for counts in batch.datasets.values()):
        return
    warehouse = batch.stage.warehouse
    rejected = rejected_records(batch, rules)
    source = entries(with_positions(rejected, batch.stage), batch.stage.run_id)
    on = "t.record_id = s.record_id"
    if not warehouse.versions_on_disk([QUARANTINE]).get(QUARANTINE.name, 1):  # it was only made
        merge(warehouse, QUARANTINE, source, on=on, clauses=[insert_all(QUARANTINE)])
        return
    as_it_is = f"({_SETTLED} OR t.reasons <=> s.reasons AND t.status <> '{REPLAYED}')"
    there = warehouse.read(QUARANTINE).alias("t")
    met = rejected.alias("s").join(there, F.expr("t.record_id = s.record_id"), "left")
    is_new = F.col("t.record_id").isNull()
    counted = met.agg(F.count_if(is_new).alias("new"), F.count_if(~is_new & ~F.expr(as_it_is)).alias("changed"))
    entry_counts = counted.collect()[0]
    if not entry_counts["new"] and not entry_counts["changed"]:
        return
    clauses = [
        f"WHEN MATCHED AND NOT {as_it_is} THEN UPDATE SET "
        "t.reasons = s.reasons, t.position = s.position, t.occurrences = s.occurrences, "
        "t.last_run_id = s.last_run_id, t.status = s.status",
        insert_all(QUARANTINE),
    ]
    needed = clauses if entry_counts["changed"] else inserting(clauses)
    merge(warehouse, QUARANTINE, source, on=on, clauses=needed)


def settle_replays(batch: Batch, rules: RuleBook) -> None:
    """Close the entries whose replayed record was not rejected; the others stay open, with the reasons of now.

    What an edited text was rejected for is in the stage alone: the reasons of an entry speak of its own text.
    """
    settled = batch.stage.records().select(
        "record_id", "outcome", "payload", "run_id", reasons(batch.datasets, rules).alias("reasons")
    )
    clauses = [
        f"WHEN MATCHED AND s.outcome <> 'rejected' THEN UPDATE SET "
        f"t.status = '{REPLAYED}', t.payload = s.payload, t.last_run_id = s.run_id",
        "WHEN MATCHED AND s.payload IS NULL AND NOT (t.reasons <=> s.reasons) THEN UPDATE SET "
        "t.reasons = s.reasons, t.last_run_id = s.run_id",
    ]
    merge(batch.stage.warehouse, QUARANTINE, settled, on="t.record_id = s.record_id", clauses=clauses)
