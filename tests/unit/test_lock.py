"""One run at a time on a local warehouse, told apart by the operating system and not by a file that is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl_lib.process.errors import WarehouseBusyError
from etl_lib.process.lock import HOLDER, LOCK, local_folder, warehouse_lock

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
import time
from etl_lib.process.lock import warehouse_lock
with warehouse_lock(sys.argv[1], "run-1", "2024-05-01T10:00:00+00:00", 0):
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(0.5)
"""


@contextmanager
def another_run(location: str) -> Iterator[subprocess.Popen[str]]:
    """A second process that holds the warehouse until half a second after a line is written to it."""
    command = [sys.executable, "-c", HOLD, location]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def take(location: str, run_id: str) -> None:
    """Take the warehouse for a moment, without waiting for it."""
    with warehouse_lock(location, run_id, "now", 0):
        pass


def test_a_second_run_is_refused_and_told_who_holds_the_warehouse(tmp_path: Path) -> None:
    location = str(tmp_path / "ware house")
    with another_run(location) as holder, pytest.raises(WarehouseBusyError) as caught:
        take(location, "run-2")
    assert str(caught.value) == (
        f"{location}: another run holds the warehouse: run run-1, process {holder.pid} on {socket.gethostname()}, "
        "since 2024-05-01T10:00:00+00:00"
    )
    assert caught.value.exit_code == 5


def test_the_refused_run_leaves_the_name_of_the_holder(tmp_path: Path) -> None:
    with another_run(str(tmp_path)):
        for run_id in ("run-2", "run-3"):
            with pytest.raises(WarehouseBusyError, match="run run-1"):
                take(str(tmp_path), run_id)


def test_a_holder_without_a_name_is_told_as_such(tmp_path: Path) -> None:
    with another_run(str(tmp_path)):
        (tmp_path / HOLDER).write_text("{", encoding="utf-8")
        with pytest.raises(WarehouseBusyError, match="did not leave its name"):
            take(str(tmp_path), "run-2")


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with another_run(str(tmp_path)) as holder:
        holder.kill()
        holder.wait()
        assert (tmp_path / HOLDER).exists()
        with warehouse_lock(str(tmp_path), "run-2", "now", 0):
            assert f'"run_id": "run-2", "pid": {os.getpid()}' in (tmp_path / HOLDER).read_text(encoding="utf-8")


def test_a_run_waits_as_long_as_it_was_told(tmp_path: Path) -> None:
    with another_run(str(tmp_path)) as holder:
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        with warehouse_lock(str(tmp_path), "run-2", "now", 30):
            assert (tmp_path / HOLDER).exists()


def test_the_warehouse_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), warehouse_lock(str(tmp_path), "run-1", "now", 0):
        raise ZeroDivisionError
    assert not (tmp_path / HOLDER).exists()
    with warehouse_lock(str(tmp_path), "run-2", "now", 0):
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("location", ["s3a://bucket/warehouse", "hdfs://name/warehouse", "catalog:main.orders"])
def test_an_object_store_or_a_catalog_takes_no_lock(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warehouse_lock(location, "run-1", "now", 0), warehouse_lock(location, "run-2", "now", 0):
        assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        ("/data/ware house", Path("/data/ware house")),
        ("file:/data/warehouse", Path("/data/warehouse")),
        ("file:///data/warehouse", Path("/data/warehouse")),
        ("s3a://data/warehouse", None),
        ("dbfs:/data/warehouse", None),
        ("catalog:main.orders", None),
    ],
)
def test_a_local_folder_is_told_from_an_object_store(location: str, folder: Path | None) -> None:
    assert local_folder(location) == folder
