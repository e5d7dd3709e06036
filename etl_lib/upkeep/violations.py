"""Which rows of the tables break an invariant: all subjects whose tables are there, asked in one query."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.tables.counting import Sampled, sample
from etl_lib.tables.schemas import Table
from etl_lib.tables.warehouse import Warehouse
from etl_lib.upkeep.invariants import SUBJECTS, Invariant, Subject


def askable(tables: Collection[Table]) -> list[Subject]:
    """The subjects whose tables are all there."""
    return [subject for subject in SUBJECTS if all(table in tables for table in subject.needs)]


def find_violations(warehouse: Warehouse, subjects: Sequence[Subject], samples: int) -> dict[str, Sampled]:
    """The rows that break the invariants of the subjects, by their names; those that hold are left out. One query.

    `samples` is how many keys to tell of each.
    """
    broken = reduce(DataFrame.unionByName, (_broken(warehouse, subject) for subject in subjects))
    return {name: found for (name,), found in sorted(sample(broken, ["name"], samples).items())}


def _broken(warehouse: Warehouse, subject: Subject) -> DataFrame:
    """One row for each row and invariant that it breaks: `name` of the invariant and `key` of the row."""

    def name_if_broken(invariant: Invariant) -> Column:
        holds = F.coalesce(F.expr(invariant.check).cast("boolean"), F.lit(False))
        return F.when(F.coalesce(F.expr(invariant.of), F.lit(False)) & ~holds, F.lit(invariant.name))

    key = F.concat_ws(" / ", *(F.coalesce(F.col(name).cast("string"), F.lit("NULL")) for name in subject.key))
    names = F.array_compact(F.array(*(name_if_broken(invariant) for invariant in subject.invariants)))
    return subject.rows(warehouse).select(key.alias("key"), F.explode(names).alias("name"))
