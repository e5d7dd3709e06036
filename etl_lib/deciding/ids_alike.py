"""Whether datasets write the ids that they share alike: 98702.0, made by a spreadsheet, is another id than 98702."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.reading.datasets import Dataset
from etl_lib.tables.counting import sample

_POINT_ZERO = "^[+-]?[0-9]+[.]0+$"


@dataclass(frozen=True)
class SharedId:
    """An id by which datasets of one job find each other: the rule that it is written alike."""

    rule: str
    message: str


SHARED_IDS = {
    "user_id": SharedId("user_ids_alike", "user_ids are numbers with .0 where those of another dataset are not"),
    "sku": SharedId("skus_alike", "skus are numbers with .0 where those of another dataset are not"),
}


@dataclass
class IdCount:
    """How many records have an id, and of how many of them it is a number with .0."""

    records: int = 0
    with_point: int = 0

    def add(self, records: int, with_point: int) -> None:
        """Count further records."""
        self.records += records
        self.with_point += with_point


@dataclass(frozen=True)
class UnlikeIds:
    """The ids of a dataset that are numbers with .0, and the `others` that have ids, but none like these."""

    dataset: str
    name: str
    count: IdCount
    others: Sequence[str]
    samples: Sequence[str]

    @property
    def rule(self) -> str:
        """The rule that these ids broke."""
        return SHARED_IDS[self.name].rule

    @property
    def message(self) -> str:
        """The sentence for a person, with one of the ids."""
        return self._sentence(f" ({self.samples[0]})")

    @property
    def logged(self) -> str:
        """The same without an id: logs go far, and an id may be a person's."""
        return self._sentence("")

    def _sentence(self, example: str) -> str:
        count = self.count
        return (
            f"{self.dataset}: {count.with_point:,} of {count.records:,} records have a {self.name} that is a number "
            f"with .0{example}, and none of {', '.join(self.others)} has: these are other ids, so the "
            f"records do not find each other; write the {self.name} without .0 where the file is made"
        )


def is_point_zero(text: Column) -> Column:
    """Whether an id is a number with .0; NULL without an id. Of most the last character says it."""
    return text.endswith("0") & text.rlike(_POINT_ZERO)


def count_ids(name: str, entries: Iterable[Dataset]) -> list[Column]:
    """Two aggregates, `<name>_given` and `<name>_with_point`: the records with an id of this name, and those with one
    that is a number with .0.
    """

    def records(is_so: Callable[[Column], Column]) -> Column:
        having = F.lit(False)
        for entry in entries:
            if name in entry.ids:
                ids = F.expr(entry.ids[name].ids)
                of_record = F.exists(ids, is_so) if entry.ids[name].is_array else is_so(ids)
                having = F.when(F.col("dataset") == entry.name, of_record).otherwise(having)
        return F.count_if(having)

    return [records(Column.isNotNull).alias(f"{name}_given"), records(is_point_zero).alias(f"{name}_with_point")]


def ids_of(name: str, entries: Iterable[Dataset]) -> Column:
    """The array of the ids of one name in a staged record; NULL where its dataset has none."""
    ids = F.lit(None).cast("array<string>")
    for entry in entries:
        if name in entry.ids:
            one = F.expr(entry.ids[name].ids)
            of_record = one if entry.ids[name].is_array else F.array(one)
            ids = F.when(F.col("dataset") == entry.name, of_record).otherwise(ids)
    return ids


def others_without(counts: Mapping[str, IdCount]) -> dict[str, list[str]]:
    """For each dataset with ids that are numbers with .0 those that have ids, but none of this kind; if there are any.

    What all datasets write with .0 finds each other, and so does what is written in both ways everywhere.
    """
    without = [dataset for dataset, count in counts.items() if count.records and not count.with_point]
    return {dataset: without for dataset, count in counts.items() if count.with_point and without}


def unlike_ids(name: str, counts: Mapping[str, IdCount], rows: DataFrame, ids: Column, samples: int) -> list[UnlikeIds]:
    """The datasets whose ids are unlike those of another one, with samples.

    `rows` are the counted records with their `dataset`, and `ids` is the array of the ids in each. They are looked at
    only when there is something to tell.
    """
    others = others_without(counts)
    if not others:
        return []
    keys = rows.where(F.col("dataset").isin(list(others))).select("dataset", F.explode(ids).alias("key"))
    samples_of = sample(keys.where(is_point_zero(F.col("key"))), ["dataset"], samples)
    return [
        UnlikeIds(dataset, name, counts[dataset], without, samples_of[dataset,].keys)
        for dataset, without in others.items()
    ]
