"""A rule that was too strict, corrected and replayed, leaves the tables that it would have left from the beginning."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, FACT_SALES, QUARANTINE
from tests.frames import assert_same
from tests.integration.test_orders_job import outcomes
from tests.integration.test_quarantine_job import strict_rules
from tests.job import Job
from tests.tables import UNCOMPARED

ORDERS, FILES, RUNS = 30, 12, 3


def records(draw: random.Random) -> Iterator[dict[str, Any]]:
    """A file of versions of some orders, one of each at most; a third has no currency, and few times make many ties."""
    for number in draw.sample(range(ORDERS), draw.randint(5, ORDERS)):
        skus = draw.sample(["S1", "S2", "S3", "S4"], draw.randint(0, 4))
        yield {
            "order_id": f"o{number}",
            "created_at": f"2024-05-0{draw.randint(1, 3)}T00:00:00Z",
            "updated_at": f"2024-06-0{draw.randint(1, 4)}T00:00:00Z",
            "deleted": draw.random() < 0.1,
            "currency": draw.choice([None, "EUR", "USD"]),
            "items": [{"sku": sku, "qty": draw.randint(1, 3), "price": "1.10"} for sku in skus],
        }


@pytest.mark.torture
def test_entries_replayed_after_a_rule_was_corrected_leave_the_tables_of_the_corrected_rule(
    job: Job, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    draw = random.Random(seed)  # noqa: S311 - no secret
    ages = draw.sample(range(1_700_000_000, 1_700_000_100), FILES)
    strict = strict_rules(tmp_path)
    rejected = 0
    for run in range(RUNS):
        for number in range(run, FILES, RUNS):
            file = job.land(f"{number}.jsonl", *map(json.dumps, records(draw)))
            os.utime(file, (ages[number], ages[number]))
        assert job.run("--set", strict) == 0
        rejected += outcomes(job)["rejected"]
    assert job.quarantine("replay", "--all") == 0
    replayed = outcomes(job)
    assert sum(replayed.values()) == rejected
    assert {"inserted", "updated", "stale", "superseded"} & replayed.keys()
    assert {row["status"] for row in job.read(QUARANTINE).collect()} == {"replayed"}

    straight = Job(job.spark, job.root, name="straight")
    assert straight.run() == 0
    for table in (FACT_SALES, DIM_ORDER, DAILY_SALES):
        assert_same(job.read(table).drop(*UNCOMPARED), straight.read(table).drop(*UNCOMPARED))
