"""What a staged batch would do, counted from the stage: the numbers of the plan, the report and the gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Protocol

from pyspark.sql import functions as F

from etl_lib.config import Settings
from etl_lib.drift import DECLARED, Found, by_kind, changed_types, lost_fields, undeclared, values_given
from etl_lib.outcomes import APPLIED, OUTCOMES
from etl_lib.samples import sample
from etl_lib.stage import BLANK, Stage
from etl_lib.together import together


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
    datasets: dict[str, OrderCounts]
    dates: dict[date, Counter[str]]
    samples: dict[tuple[str, str], list[str]]
    """Up to `samples` keys by (dataset, rule), no values."""
    read: dict[str, int] = field(default_factory=dict)
    """The records that were read of each dataset, counted while reading; empty for a stage found ready."""

    def of(self, dataset: str) -> OrderCounts:
        """The counts of one dataset, all zero when it had no input."""
        return self.datasets.get(dataset, OrderCounts())


def count_batch(stage: Stage, settings: Settings) -> Batch:
    """Count a stage: one pass for all numbers, and one more each for conflicts, samples and drift if there are any."""
    datasets: dict[str, OrderCounts] = {}
    dates: dict[date, Counter[str]] = {}
    groups = ("dataset", "outcome", "is_conflict", "broken_rules", "order_date", "table_date", "has_drift")
    tallied = (
        stage.rows.where(F.col("dataset") != "run")
        .withColumns({"order_date": F.col("orders.order_date"), "has_drift": F.col("unknown_fields").isNotNull()})
        .groupBy(*groups)
        .agg(F.count("*").alias("records"), F.sum("orders.line_count").alias("lines"), *values_given("orders"))
    )
    drifted = False
    may_lack = DECLARED["orders"].values
    for row in tallied.collect():
        counts = datasets.setdefault(row["dataset"], OrderCounts())
        outcome, records = row["outcome"], row["records"]
        drifted = drifted or row["has_drift"]
        if outcome == BLANK:
            counts.blank += records
        elif outcome in OUTCOMES:
            counts.outcomes[outcome] += records
            counts.rules.update(dict.fromkeys(row["broken_rules"] or (), records))
            counts.conflicts += records if row["is_conflict"] else 0
            counts.given.update({name: row[name] for name in may_lack})
        if outcome in (*APPLIED, "stale", "unchanged"):
            counts.winners += records
            counts.items += row["lines"] or 0
        if row["dataset"] == "orders" and outcome in APPLIED:
            for day in {row["order_date"], row["table_date"]} - {None}:
                dates.setdefault(day, Counter())[outcome] += records
    any_broken = any(counts.rules for counts in datasets.values())
    samples, *_ = together(
        lambda: sample_keys(stage, settings.samples) if any_broken else {},
        lambda: count_drift(stage, datasets, settings, has_undeclared=drifted),
        *(partial(_count_conflicts, stage, dataset, counts, settings) for dataset, counts in datasets.items()),
    )
    return Batch(stage, datasets, dates, samples)


def _count_conflicts(stage: Stage, dataset: str, counts: OrderCounts, settings: Settings) -> None:
    """From records to keys, and the first of them."""
    if counts.conflicts:
        keys = stage.records(dataset).where("is_conflict").select("key").distinct()
        counts.conflicts = keys.count()
        counts.conflict_keys = [row["key"] for row in keys.orderBy("key").limit(settings.samples).collect()]


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


def drift_of(batch: Counted) -> Found:
    """The drift of a batch by dataset, kind and name, of the datasets that drifted."""
    found = {
        dataset: by_kind(dataset, counts.unknown_fields, counts.changed_types, counts.lost_fields)
        for dataset, counts in sorted(batch.datasets.items())
    }
    return {dataset: kinds for dataset, kinds in found.items() if kinds}


def sample_keys(stage: Stage, samples: int) -> dict[tuple[str, str], list[str]]:
    """Up to so many keys of the records that broke a rule, by (dataset, rule)."""
    broken = stage.records().where("key IS NOT NULL").select("dataset", "key", F.explode("broken_rules").alias("rule"))
    return {
        (dataset, rule): found.keys for (dataset, rule), found in sample(broken, ["dataset", "rule"], samples).items()
    }
