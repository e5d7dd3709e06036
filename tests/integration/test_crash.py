"""A process that dies loses nothing, doubles nothing, leaves nothing half-written: the next run finishes its work."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import QUARANTINE
from tests.integration.test_orders_job import order
from tests.killing import POINTS, World, assert_converges, contents, disagreeing_orders

IN_EVERY_RUN = ("fact_sales.after",)
REPLAY_POINTS = ("stage.after", "dim_order.before", "entries.before", "entries.after", "ledger.after")
RANDOM_MOMENTS = 8
SEED = int(os.environ.get("ORDERS_TEST_SEED", random.randrange(1_000_000)))  # noqa: S311 - no secret


@pytest.mark.slow
@pytest.mark.parametrize("point", IN_EVERY_RUN)
def test_a_run_killed_at_a_step_is_finished_by_the_next(world: World, tmp_path: Path, point: str) -> None:
    die_and_converge(world, tmp_path, point)


@pytest.mark.torture
@pytest.mark.parametrize("point", [point for point in POINTS if point not in IN_EVERY_RUN])
def test_a_run_killed_at_any_step_is_finished_by_the_next(world: World, tmp_path: Path, point: str) -> None:
    die_and_converge(world, tmp_path, point)


def die_and_converge(world: World, root: Path, point: str) -> None:
    job = world.copy(root)
    job.die_at(point)
    assert disagreeing_orders(job, newest=False) == set()
    if point in {"fact_sales.after", "dim_order.before"}:  # what the newest versions would show
        changed = {"shrinks", "moves", "goes", "empties", "grows", "new"}
        assert disagreeing_orders(job, newest=True) == changed
    holder = json.loads((job.root / "warehouse" / ".lock.holder.json").read_text())
    assert holder["pid"] != os.getpid()  # the lock of the dead is taken over
    assert_converges(job, world)


@pytest.mark.torture
@pytest.mark.parametrize("point", REPLAY_POINTS)
def test_a_replay_killed_at_a_step_is_finished_by_the_next_run(world: World, tmp_path: Path, point: str) -> None:
    job = world.copy(tmp_path)
    [broken] = job.read(QUARANTINE).collect()
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(order("mended", 6, items=2)))
    job.die_at(point, "quarantine", "replay", broken["record_id"], "--payload", str(edited), *job.places())
    assert disagreeing_orders(job, newest=False) == set()
    edited.unlink()
    assert job.run() == 0
    entry = job.read(QUARANTINE).where(F.col("record_id") == broken["record_id"]).collect()
    assert [(row["status"], row["raw"]) for row in entry] == [("replayed", "{broken")]
    found = contents(job)
    mended = {name: [row for row in rows if "mended" in row] for name, rows in found.items()}
    assert {name: len(rows) for name, rows in mended.items() if rows} == {"fact_sales": 2, "dim_order": 1}
    for name in ("fact_sales", "dim_order"):
        assert [row for row in found[name] if row not in mended[name]] == world.expected[name]
    versions = job.versions()
    assert job.run() == 0
    assert job.versions() == versions


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_run_killed_at_any_moment_is_finished_by_the_next(world: World, tmp_path: Path) -> None:
    """Killed, and its virtual machine with it, at moments drawn over the length of a run that is left in peace."""
    print(f"ORDERS_TEST_SEED={SEED}")  # noqa: T201 - shown when the test fails
    moments = random.Random(SEED)  # noqa: S311 - no secret
    begun = time.monotonic()
    assert world.copy(tmp_path / "in peace").start().wait() == 0
    length = time.monotonic() - begun
    for number in range(RANDOM_MOMENTS):
        job = world.copy(tmp_path / str(number))
        after = moments.uniform(0, length)
        print(f"run {number}: killed after {after:.2f} s")  # noqa: T201 - shown when the test fails
        job.die_after(after)
        assert disagreeing_orders(job, newest=False) == set()
        assert_converges(job, world)
