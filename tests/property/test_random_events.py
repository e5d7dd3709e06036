"""Random worlds of prints, taps and pays through the real job give what the oracle gives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.event_histories import world, write_world
from tests.feature_oracle import Row, features
from tests.feature_tables import (
    assert_features,
    assert_quarantined_lines_stand_where_it_says,
    options_of,
    table_rows,
)
from tests.job import FeatureJob

OTHERS_EACH_TIME = random.SystemRandom().sample(range(1_000_000), 12)


@pytest.mark.parametrize(
    "seeds",
    [
        # Two weeks with a rolling window and most rules broken; the last complete week on a given day.
        pytest.param((99, 119), id="two", marks=pytest.mark.slow),
        # One without dirt and with an open end, and others each time.
        pytest.param((87, *OTHERS_EACH_TIME), id="many", marks=pytest.mark.torture),
    ],
)
def test_worlds_give_what_the_oracle_gives(feature_job: FeatureJob, seeds: Sequence[int]) -> None:
    """One after the other in one warehouse: what an earlier world left in other weeks stays."""
    rows: Counter[Row] = Counter()
    for seed in seeds:
        print(f"seed {seed}")  # noqa: T201 - shown when the test fails
        small = world(seed)
        job = replace(feature_job, folder=f"world-{seed}")
        write_world(job.landing, small)
        today = datetime.now(UTC).date()
        expected = features(small.prints, small.taps, small.pays, today=today, options=small.options)
        assert job.run(*options_of(small.options)) == 0
        assert_features(job, expected, small.options)
        assert_quarantined_lines_stand_where_it_says(job)
        others = {row: n for row, n in rows.items() if row[0] not in expected.target_weeks}
        rows = table_rows(job)
        assert {row: n for row, n in rows.items() if row[0] not in expected.target_weeks} == others
