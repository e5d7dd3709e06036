"""What a batch that does not add up is told to be."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import cast

from etl_lib.deciding.counts import Batch, DatasetCounts
from etl_lib.deciding.gates import accounting_problem
from etl_lib.deciding.stage import Stage


def read(**records: int) -> Batch:
    """A batch of three orders with an outcome, of which so many were read."""
    orders = DatasetCounts(outcomes=Counter(inserted=2, rejected=1))
    return Batch(cast("Stage", SimpleNamespace()), {"orders": orders}, read=records)


def test_records_without_an_outcome_are_told_by_dataset_and_files_without_a_record_are_none() -> None:
    assert accounting_problem(read(orders=3)) is None
    assert accounting_problem(read(orders=3, users=0)) is None  # all of their files were set aside
    assert str(accounting_problem(read(orders=4, users=1))) == (
        "the outcomes do not add up, no table was changed:\n"
        "  orders: 4 records were read, 3 have an outcome\n"
        "  users: 1 records were read, 0 have an outcome"
    )
