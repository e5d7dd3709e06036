"""Random histories of orders through the real job give the tables that the oracle gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import Phase, given, settings

from etl_lib.process import tuning
from tests import oracle
from tests.histories import PRODUCTS, USERS, DroppedFile, History, histories, write_file, write_products, write_users
from tests.job import Job
from tests.tables import assert_tables

MANY = 60
"""Histories in one example: their orders are told apart by a prefix, so that one run of the job serves them all."""


def drawn_histories() -> list[History]:
    """Random histories, others on every run: a failure names the order, and its prefix the history printed with it."""
    drawn: list[History] = []

    @settings(max_examples=MANY, deadline=None, database=None, phases=[Phase.generate])
    @given(histories())
    def draw(history: History) -> None:
        drawn.append(history)

    draw()
    return drawn


@pytest.mark.slow
def test_tables_equal_those_of_the_oracle(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    held_or_not = cycle([tuning.STAGE_ROWS, 0])
    write_users(job.landing / "users.csv")
    write_products(job.landing / "products.csv")
    expected = oracle.Warehouse()
    histories_drawn = drawn_histories()
    for number, history in enumerate(histories_drawn):
        print(f"h{number}: {history}")  # noqa: T201 - shown when the test fails
    for batch in _batches(histories_drawn):
        monkeypatch.setattr(tuning, "STAGE_ROWS", next(held_or_not))
        result = expected.load(_landed(job, batch))
        assert job.run() == 0
        metrics = job.metrics()
        assert metrics["outcomes"] == dict(result.outcomes)
        assert metrics["conflicts"] == len(result.conflicts)
        assert metrics["conflict_orders"] == sorted(result.conflicts)[:20]
        assert_tables(job, expected, USERS, PRODUCTS)


def _batches(many: list[History]) -> Iterator[list[DroppedFile]]:
    """The first batches of all histories together, then the second ones, and so on."""
    for number in range(max(map(len, many))):
        batch = [
            replace(
                file,
                name=f"h{index}_{file.name}",
                records=tuple(text.replace('"order_id": "o', f'"order_id": "h{index}-o') for text in file.records),
            )
            for index, history in enumerate(many)
            if number < len(history)
            for file in history[number]
        ]
        if batch:
            yield batch


def _landed(job: Job, batch: list[DroppedFile]) -> list[oracle.LandedFile]:
    return [file.landed(f"file:{write_file(job.landing / 'orders', file)}") for file in batch]
