"""Large seeded files through the real job, each step held against the oracle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import oracle
from tests.histories import Record, correct, generate_orders, shrink
from tests.job import Job
from tests.tables import assert_tables

SEED = 20_240_501


def landed(path: Path, records: list[Record]) -> oracle.LandedFile:
    return oracle.LandedFile(f"file:{path}", path.stat().st_mtime_ns // 1_000_000, [json.dumps(r) for r in records])


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_files_of_100_000_and_400_orders_are_loaded_replayed_corrected_and_shrunk(job: Job) -> None:
    expected = oracle.Warehouse()
    orders = list(generate_orders(SEED, 100_000))
    few = [order | {"order_id": f"array-{order['order_id']}"} for order in generate_orders(SEED + 1, 400)]
    array = job.landing / "orders" / "few.json"
    array.write_text(json.dumps(few, indent=2))
    batches = [
        [landed(job.land("many.jsonl", *orders), orders), landed(array, few)],
        None,
        *(
            [landed(job.land(f"{change.__name__}.jsonl", *changed), changed)]
            for change in (correct, shrink)
            if (changed := list(change([*orders, *few], SEED)))
        ),
    ]
    # the files of later batches wait outside the landing folder
    waiting = {
        name: (job.landing / "orders" / name).rename(job.landing / name) for name in ("correct.jsonl", "shrink.jsonl")
    }
    replayed = batches[0]
    for number, batch in enumerate(batches):
        if batch is None:  # replay: every record again, and no table moves
            before = {name: v for name, v in job.versions().items() if not name.startswith(("etl_", "dq_"))}
            assert job.run("--full") == 0
            result = expected.load(replayed or [])
            assert {name: v for name, v in job.versions().items() if name in before} == before
        else:
            if number > 1:
                name = ("correct.jsonl", "shrink.jsonl")[number - 2]
                waiting[name].rename(job.landing / "orders" / name)
            result = expected.load(batch)
            assert job.run() == 0
        assert job.metrics()["outcomes"] == dict(result.outcomes)
        assert job.metrics()["conflicts"] == len(result.conflicts)
        assert_tables(job, expected, {}, {})
