"""What a staged batch would do, counted from the stage: the numbers of the plan, the report and the gates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import partial, reduce
from itertools import chain
from typing import Protocol

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from etl_lib.deciding.drift import DECLARED, by_kind, changed_types, lost_fields, undeclared, values_given
from etl_lib.deciding.ids_alike import SHARED_IDS, IdCount, UnlikeIds, count_ids, is_point_zero, unlike_ids
from etl_lib.deciding.outcomes import APPLIED, OUTCOMES
from etl_lib.deciding.stage import BLANK, FILE, NO_RECORDS, Stage
from etl_lib.process.concurrently import concurrently
from etl_lib.run.metrics import Drift
from etl_lib.settings.config import Settings
from etl_lib.tables.counting import Sampled, in_buckets, sampled
from etl_lib.tables.ledger import LoadedFile
from etl_lib.tables.schemas import DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES

_SETTLED = (*APPLIED, "unchanged")
"""The outcomes of records that are in the tables as they are."""
_IDS = {
    "user_id": "array(coalesce(orders.user_id, users.user_id))",
    "sku": "coalesce(orders.lines.sku, array(products.sku))",
}
"""The ids in a record of the stage, by name, as SQL."""
_TABLES_WITH = {
    ("orders", "user_id"): DIM_ORDER,
    ("orders", "sku"): FACT_SALES,
    ("users", "user_id"): DIM_USER,
    ("products", "sku"): DIM_PRODUCT,
}
"""Where the ids of the records before this batch are."""


_BY_MARK = ("dataset", "rule")
_CONFLICT = "(conflict)"
"""Among the rules that a record broke; no rule has such a name."""


@dataclass
class DatasetCounts:
    """The records of one dataset by outcome; `rules` has the broken ones."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    changed_types: Counter[str] = field(default_factory=Counter)
    lost_fields: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    """Accepted records with a value, by the members that an accepted record may lack."""
    blank: int = 0
    ids: defaultdict[str, IdCount] = field(default_factory=lambda: defaultdict(IdCount))
    """Valid events, or records that are in the tables as they are, by the name of an id that they have."""

    @property
    def records(self) -> int:
        """All input records: the sum of their outcomes."""
        return sum(self.outcomes.values())


class Counted(Protocol):
    """A staged batch of either job with the counts of its datasets."""

    @property
    def stage(self) -> Stage:
        """Where its records are."""

    @property
    def datasets(self) -> Mapping[str, DatasetCounts]:
        """The counts of each dataset that had input."""

    @property
    def samples(self) -> Mapping[tuple[str, str], list[str]]:
        """Up to `samples` keys by (dataset, rule), no values."""

    @property
    def unlike_ids(self) -> Sequence[UnlikeIds]:
        """Ids that one dataset writes as numbers with .0 and another does not."""

    @property
    def read(self) -> Mapping[str, int]:
        """The records that were read of each dataset, counted while reading; empty for a stage found ready."""


@dataclass
class OrderCounts(DatasetCounts):
    """The records of a dataset whose versions compete."""

    conflicts: int = 0
    conflict_keys: list[str] = field(default_factory=list)
    winners: int = 0
    """Distinct keys that won in the batch."""
    items: int = 0
    """The lines of the winners."""

    @property
    def applied(self) -> int:
        """Records that change a table."""
        return sum(self.outcomes[name] for name in APPLIED)

    @property
    def only_inserts(self) -> bool:
        """Whether nothing that is there would change."""
        return self.outcomes["updated"] == 0


@dataclass
class Batch:
    """A stage and what is in it; `dates` are those that applied orders have now or had in the table."""

    stage: Stage
    datasets: dict[str, OrderCounts] = field(default_factory=dict)
    dates: dict[date, Counter[str]] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Up to `samples` keys by (dataset, rule), no values."""
    read: dict[str, int] = field(default_factory=dict)
    """The records that were read of each dataset, counted while reading; empty for a stage found ready."""
    files: list[LoadedFile] = field(default_factory=list)
    """Those that count as loaded when it is applied."""
    unlike_ids: list[UnlikeIds] = field(default_factory=list)

    def of(self, dataset: str) -> OrderCounts:
        """The counts of one dataset, all zero when it had no input."""
        return self.datasets.get(dataset, OrderCounts())


def count_batch(stage: Stage, settings: Settings) -> Batch:
    """Count a stage: one query for all numbers, and one more each for drift and unlike ids, where there are any."""
    datasets: dict[str, OrderCounts] = {}
    dates: dict[date, Counter[str]] = {}
    groups = ("dataset", "outcome", "is_conflict", "broken_rules", "order_date", "table_date", "has_drift")
    tallied = (
        stage.rows.where(F.col("dataset") != "run")
        .withColumns({"order_date": F.col("orders.order_date"), "has_drift": F.col("unknown_fields").isNotNull()})
        .groupBy(*groups)
        .agg(
            F.count("*").alias("records"),
            F.sum("orders.line_count").alias("lines"),
            *values_given("orders"),
            *chain.from_iterable(count_ids(name, F.expr(ids)) for name, ids in _IDS.items()),
        )
    )
    rows = _collected(
        tally=tallied,
        keys=_marked_keys(stage, settings.samples),
        conflicts=_first_in_conflict(stage, settings.samples),
        files=_files_read(stage),
    )
    drifted = False
    may_lack = DECLARED["orders"].values
    for row in rows["tally"]:
        counts = datasets.setdefault(row["dataset"], OrderCounts())
        outcome, records = row["outcome"], row["records"]
        drifted = drifted or row["has_drift"]
        if outcome == BLANK:
            counts.blank += records
        elif outcome in OUTCOMES:
            counts.outcomes[outcome] += records
            counts.rules.update(dict.fromkeys(row["broken_rules"] or (), records))
            counts.given.update({name: row[name] for name in may_lack})
        if outcome in (*APPLIED, "stale", "unchanged"):
            counts.winners += records
            counts.items += row["lines"] or 0
        if outcome in _SETTLED:
            for name in _IDS:
                counts.ids[name].add(row[f"{name}_given"], row[f"{name}_with_point"])
        if row["dataset"] == "orders" and outcome in APPLIED:
            for day in {row["order_date"], row["table_date"]} - {None}:
                dates.setdefault(day, Counter())[outcome] += records
    keys = sampled(rows["keys"], _BY_MARK, settings.samples)
    for dataset, counts in datasets.items():
        counts.conflicts = keys.pop((dataset, _CONFLICT), Sampled(0, [])).rows
        counts.conflict_keys = sorted(row["key"] for row in rows["conflicts"] if row["dataset"] == dataset)
    found = concurrently(
        unlike=lambda: _unlike_ids(stage, datasets, settings.samples),
        drift=lambda: count_drift(stage, datasets, settings, has_undeclared=drifted),
    )
    return Batch(
        stage,
        datasets,
        dates,
        {(dataset, rule): told.keys for (dataset, rule), told in keys.items()},
        files=[LoadedFile(**{item.name: row[item.name] for item in fields(LoadedFile)}) for row in rows["files"]],
        unlike_ids=found["unlike"],
    )


def _collected(**parts: DataFrame) -> dict[str, list[Row]]:
    """The rows of several frames by their names, in one query."""
    named = [frame.withColumn("part", F.lit(name)) for name, frame in parts.items()]
    found: dict[str, list[Row]] = {name: [] for name in parts}
    for row in reduce(partial(DataFrame.unionByName, allowMissingColumns=True), named).collect():
        found[row["part"]].append(row)
    return found


def _marked_keys(stage: Stage, samples: int) -> DataFrame:
    """Keys of the records that broke a rule, or are in conflict, each key once: for `sampled`."""
    conflict = F.when(F.col("is_conflict"), F.array(F.lit(_CONFLICT))).otherwise(F.array().cast("array<string>"))
    marks = F.concat(F.coalesce("broken_rules", F.array().cast("array<string>")), conflict)
    marked = stage.records().where("key IS NOT NULL").select("dataset", "key", F.explode(marks).alias("rule"))
    return in_buckets(marked.distinct(), _BY_MARK, samples)


def _first_in_conflict(stage: Stage, samples: int) -> DataFrame:
    """The first keys of each dataset that are in conflict: dataset, key. Spark keeps no more of them in any task."""
    keys = stage.records().where("is_conflict").select("dataset", "key").distinct()
    place = F.row_number().over(Window.partitionBy("dataset").orderBy("key"))
    return keys.withColumn("place", place).where(F.col("place") <= samples).drop("place")


def _files_read(stage: Stage) -> DataFrame:
    """The files that this stage read and marked, with what it has of them: the fields of LoadedFile."""
    is_record = ~F.col("outcome").isin(*NO_RECORDS)
    is_valid = is_record & (F.col("outcome") != "rejected")
    is_file = F.col("outcome") == FILE
    return (
        stage.rows.where(F.col("dataset") != "run")
        .groupBy("dataset", F.col("source_file").alias("path"))
        .agg(
            F.max(F.when(is_file, F.col("source_size"))).alias("size"),
            F.unix_micros(F.max(F.when(is_file, F.col("source_modified_at")))).alias("modified_at"),
            F.count_if(is_record).alias("records"),
            F.unix_micros(F.min(F.when(is_valid, F.col("version_at")))).alias("min_version_at"),
            F.unix_micros(F.max(F.when(is_valid, F.col("version_at")))).alias("max_version_at"),
        )
        .where(F.col("size").isNotNull())  # has a row of its own, by which it was marked
    )


def _unlike_ids(stage: Stage, datasets: Mapping[str, DatasetCounts], samples: int) -> list[UnlikeIds]:
    """Where orders name users or products by other ids than their files have; what the batch lacks is in the tables."""
    found = []
    settled = stage.rows.where(F.col("outcome").isin(*_SETTLED))
    for name, ids in _IDS.items():
        here = {dataset: counts.ids[name] for dataset, counts in datasets.items() if counts.ids[name].records}
        if any(count.with_point for count in here.values()):
            of_both = [dataset for dataset in SHARED_IDS[name].datasets if (dataset, name) in _TABLES_WITH]
            counts = {dataset: here.get(dataset) or _ids_before(stage, dataset, name) for dataset in of_both}
            found += unlike_ids(name, counts, settled, F.expr(ids), samples)
    return found


def _ids_before(stage: Stage, dataset: str, name: str) -> IdCount:
    """The ids of a dataset in the tables; a batch without records of it has changed none of them."""
    rows = stage.warehouse.read(_TABLES_WITH[dataset, name])
    rows = rows.where(~F.col("is_inferred")) if "is_inferred" in rows.columns else rows
    given, with_point = rows.agg(F.count(name), F.count_if(is_point_zero(F.col(name)))).collect()[0]
    return IdCount(given, with_point)


def count_drift(
    stage: Stage, datasets: Mapping[str, DatasetCounts], settings: Settings, *, has_undeclared: bool
) -> None:
    """Count by name what differs from the declared members; only what there is to look at is looked at."""
    if has_undeclared:
        for row in undeclared(stage).collect():
            datasets[row["dataset"]].unknown_fields[row["name"]] = row["count"]
    for dataset, counts in datasets.items():
        if counts.rules["wrong_type"]:
            counts.changed_types = changed_types(stage, dataset)
        counts.lost_fields = lost_fields(stage, dataset, counts.outcomes, counts.given, settings.drift)


def drift_of(batch: Counted) -> Drift:
    """The drift of a batch by dataset, kind and name, of the datasets that drifted."""
    found = {
        dataset: by_kind(dataset, counts.unknown_fields, counts.changed_types, counts.lost_fields)
        for dataset, counts in sorted(batch.datasets.items())
    }
    return {dataset: kinds for dataset, kinds in found.items() if kinds}
