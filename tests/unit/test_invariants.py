"""What is found of the rows that break an invariant."""

from __future__ import annotations

from pyspark.sql import SparkSession

from etl_lib.applying.invariants import Invariant, Subject, find_violations
from etl_lib.tables.counting import Sampled
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse


def test_broken_rows_are_counted_and_told_by_the_name_of_their_invariant(spark: SparkSession) -> None:
    rows = values_frame(spark, [("a", 1), ("b", 2), ("c", None)], "id STRING, n INT")
    invariants = (
        Invariant("is_one", "NULL counts as broken", "n = 1"),
        Invariant("is_there", "holds", "id IS NOT NULL"),
        Invariant("is_two", "of b alone", "n = 3", of="id = 'b'"),
    )
    subject = Subject((), lambda _: rows, ("id",), invariants)
    found = find_violations(Warehouse(spark, "/nowhere"), [subject], 5)
    assert found == {"is_one": Sampled(2, ["b", "c"]), "is_two": Sampled(1, ["b"])}
