"""A disk that fills up while a run writes: a clear error, the old tables readable, and the next run converges."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl_lib.tables.ledger import consistent_versions
from etl_lib.tables.schemas import DIM_ORDER, SALES_TABLES
from tests.killing import DyingJob, World, assert_converges, copy_of, disagreeing_orders

SIZES = 10
IN_EVERY_RUN = (7,)
OLD = {"shrinks", "moves", "goes", "empties", "grows", "stays"}

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


def size_of(folder: Path) -> int:
    """What a folder takes on a disk of pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


@contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes in memory, mounted at a folder."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def sizes(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """What the tables take before the run, and after it."""
    job = copy_of(world.base, tmp_path_factory.mktemp("measured"))
    before = size_of(job.root / "warehouse")
    assert job.run() == 0
    return before, size_of(job.root / "warehouse")


@needs_mount
@pytest.mark.slow
@pytest.mark.parametrize("nth", IN_EVERY_RUN)
def test_a_full_disk_is_told_and_the_next_run_converges(
    world: World, sizes: tuple[int, int], tmp_path: Path, nth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_and_converge(world, sizes, tmp_path, nth, capsys)


@needs_mount
@pytest.mark.torture
@pytest.mark.parametrize("nth", [nth for nth in range(1, SIZES + 1) if nth not in IN_EVERY_RUN])
def test_a_full_disk_of_any_size_is_told_and_the_next_run_converges(
    world: World, sizes: tuple[int, int], tmp_path: Path, nth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_and_converge(world, sizes, tmp_path, nth, capsys)


def fill_and_converge(
    world: World, sizes: tuple[int, int], root: Path, nth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run on a disk that has the `nth` of SIZES parts of the room that the run needs."""
    before, after = sizes
    size = before + (after - before) * nth // (SIZES + 1)
    with disk(root / "warehouse", size):
        shutil.copytree(world.base.root / "warehouse", root / "warehouse", dirs_exist_ok=True)
        job = DyingJob(world.base.spark, root, landed=world.base.landing)
        assert job.run() == 1
        told = capsys.readouterr().err
        assert "a disk is full: warehouse" in told
        assert f"{root}/warehouse has 0.0 MB free" in told
        assert disagreeing_orders(job, newest=False) == set()
        versions = consistent_versions(job.tables, SALES_TABLES)
        orders = job.tables.read(DIM_ORDER, versions).select("order_id").collect()
        assert {row["order_id"] for row in orders} >= OLD
        subprocess.run(["mount", "-o", "remount,size=64m", root / "warehouse"], check=True)
        assert_converges(job, world)
