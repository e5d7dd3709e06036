"""What the stage of the value-props job holds, in numbers: records by outcome, rule and day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.counts import DatasetCounts, count_drift
from etl_lib.deciding.drift import DECLARED, values_given
from etl_lib.deciding.ids_alike import UnlikeIds, is_point_zero, unlike_ids
from etl_lib.deciding.stage import BLANK, HEADER, Stage
from etl_lib.reading.event_records import DATASETS
from etl_lib.settings.config import Settings
from etl_lib.tables.counting import sample

VALID = "valid"
EVENT_OUTCOMES = (VALID, "rejected")
SET_ASIDE = "set_aside"
"""The outcome of a line until the second look."""


@dataclass(frozen=True)
class EventStage(Stage):
    """The staged events of one run; a line that was set aside is the row that the second look has made of it."""

    @property
    def rows(self) -> DataFrame:
        """All rows but the lines that were set aside."""
        return self.all_rows.where(F.col("outcome") != SET_ASIDE)

    @property
    def all_rows(self) -> DataFrame:
        """All rows of this run, in the columns of etl_events."""
        return super().rows

    def set_aside(self, datasets: Sequence[str]) -> DataFrame:
        """The lines that the first look left for the second."""
        return self.all_rows.where((F.col("outcome") == SET_ASIDE) & F.col("dataset").isin(list(datasets)))


@dataclass
class EventCounts(DatasetCounts):
    """The records of one dataset of events."""

    days: Counter[date] = field(default_factory=Counter)
    """Valid records by their day."""
    headers: int = 0
    set_aside: int = 0
    """Lines that the first look left for the second."""

    @property
    def no_records(self) -> int:
        """The lines that are no records."""
        return self.headers + self.blank

    @property
    def lines(self) -> int:
        """All lines."""
        return self.records + self.no_records


@dataclass
class FileCounts:
    """The records of one file, and the first and last day of the valid ones."""

    records: int = 0
    first_day: date | None = None
    last_day: date | None = None

    def add(self, records: int, day: date | None) -> None:
        """Count records of one day, or of none."""
        self.records += records
        if day is not None:
            self.first_day = min(self.first_day or day, day)
            self.last_day = max(self.last_day or day, day)


@dataclass
class EventBatch:
    """The staged events of a run with their counts; each dataset has an entry."""

    stage: EventStage
    datasets: dict[str, EventCounts]
    samples: dict[tuple[str, str], list[str]]
    read: dict[str, int] = field(default_factory=dict)
    files: dict[tuple[str, str], FileCounts] = field(default_factory=dict)
    """The records of each (dataset, path)."""
    repeated_headers: int = 0
    unlike_ids: list[UnlikeIds] = field(default_factory=list)

    @property
    def last_print_day(self) -> date | None:
        """The latest day among the valid prints: to here the data covers its weeks."""
        return max(self.datasets["prints"].days, default=None)


def count_events(stage: EventStage, settings: Settings) -> EventBatch:
    """Count a stage of events: one pass for all numbers, and one more each for samples, drift and ids that are unlike,
    if there are any.
    """
    datasets = {dataset: EventCounts() for dataset in DATASETS}
    files: dict[tuple[str, str], FileCounts] = {}
    tallied = (
        stage.all_rows.withColumn("has_drift", F.col("unknown_fields").isNotNull())
        .groupBy("dataset", "source_file", "outcome", "broken_rules", "day", "has_drift")
        .agg(
            F.count("*").alias("records"),
            F.count_if(is_point_zero(F.col("user_id"))).alias("with_point"),
            *values_given("prints"),
        )
    )
    drifted = False
    may_lack = DECLARED["prints"].values
    for row in tallied.collect():
        counts, outcome, records = datasets[row["dataset"]], row["outcome"], row["records"]
        drifted = drifted or row["has_drift"]
        if outcome in EVENT_OUTCOMES:
            counts.outcomes[outcome] += records
            counts.rules.update(dict.fromkeys(row["broken_rules"] or (), records))
            counts.given.update({name: row[name] for name in may_lack})
            of_file = files.setdefault((row["dataset"], row["source_file"]), FileCounts())
            of_file.add(records, row["day"] if outcome == VALID else None)
        if outcome == VALID:
            counts.days[row["day"]] += records
            counts.ids["user_id"].add(records, row["with_point"])
        counts.blank += records if outcome == BLANK else 0
        counts.headers += records if outcome == HEADER else 0
        counts.set_aside += records if outcome == SET_ASIDE else 0
    count_drift(stage, datasets, settings, has_undeclared=drifted)
    any_broken = any(counts.rules for counts in datasets.values())
    samples = _sample_keys(stage, settings.samples) if any_broken else {}
    ids = {dataset: counts.ids["user_id"] for dataset, counts in datasets.items()}
    valid = stage.rows.where(F.col("outcome") == VALID)
    unlike = unlike_ids("user_id", ids, valid, F.array("user_id"), settings.samples)
    return EventBatch(stage, datasets, samples, files=files, unlike_ids=unlike)


def _sample_keys(stage: Stage, samples: int) -> dict[tuple[str, str], list[str]]:
    """Up to so many keys of the records that broke a rule, by (dataset, rule)."""
    broken = stage.records().where("key IS NOT NULL").select("dataset", "key", F.explode("broken_rules").alias("rule"))
    return {
        (dataset, rule): found.keys for (dataset, rule), found in sample(broken, ["dataset", "rule"], samples).items()
    }


def valid_events(stage: Stage) -> DataFrame:
    """The valid events: dataset, day, user_id, value_prop, position, amount."""
    valid = stage.rows.where(F.col("outcome") == VALID)
    return valid.select("dataset", "day", "user_id", "value_prop", "position", "amount")


def count_duplicates(stage: Stage) -> Counter[str]:
    """How many valid records of each dataset repeat the exact text of another one: all but one of each text.

    Texts are told apart by a hash of 64 bits: among a billion the count may be one off, in one of forty runs.
    """
    texts = stage.rows.where(F.col("outcome") == VALID).groupBy("dataset", "content_hash").count()
    surplus = texts.groupBy("dataset").agg(F.sum(F.col("count") - 1).alias("surplus"))
    return Counter({row["dataset"]: row["surplus"] for row in surplus.collect()})
