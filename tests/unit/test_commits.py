"""A commit that collides with another writer's is done again, counted, and given up with a clear error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from pyspark.sql import SparkSession

from etl_lib.process.errors import ConflictError, is_collision, is_disk_full
from etl_lib.tables import warehouse as warehouse_module
from etl_lib.tables.schemas import DIM_PRODUCT
from etl_lib.tables.warehouse import Warehouse


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A folder in which a slow write leaves a file when it begins; it ends when there is one with `.go` behind it."""
    folder = tmp_path / "begun"
    folder.mkdir()
    return folder


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path, begun: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """One table with one row, and a function `slowly` for SQL that waits for somebody else in the midst of a write."""
    monkeypatch.setattr(warehouse_module, "LONGEST_WAIT_S", 0.05)

    def slowly(text: str) -> str:
        mark = begun / uuid4().hex
        mark.touch()
        until = time.monotonic() + 60
        while not mark.with_suffix(".go").exists():
            if time.monotonic() > until:
                raise TimeoutError("nobody let this write go on")
            time.sleep(0.02)
        return text

    spark.udf.register("slowly", slowly)
    found = Warehouse(spark, str(tmp_path / "warehouse"))
    found.create([DIM_PRODUCT])
    values = "(sku, name, is_inferred, run_id) VALUES ('a', 'one', false, 'r')"
    spark.sql(f"INSERT INTO {found.name(DIM_PRODUCT)} {values}")
    return found


@pytest.fixture
def others(warehouse: Warehouse, begun: Path) -> Iterator[Others]:
    """Somebody who lets slow writes go on, having written first to as many of them as `others.times` says."""
    others = Others(warehouse)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(others.watch, begun)
        try:
            yield others
        finally:
            others.done.set()
        watching.result()


@dataclass
class Others:
    """Another writer of the same table."""

    warehouse: Warehouse
    times: int = 0
    done: Event = field(default_factory=Event)

    def watch(self, begun: Path) -> None:
        while not self.done.wait(0.02):
            for mark in [path for path in begun.iterdir() if not path.suffix]:
                if mark.with_suffix(".go").exists():
                    continue
                if self.times > 0:
                    self.times -= 1
                    change_price(self.warehouse, 7)
                mark.with_suffix(".go").touch()


def rename_slowly(warehouse: Warehouse) -> Callable[[], object]:
    """A write that begins on one version of the table and commits when it is let go on."""
    table = warehouse.name(DIM_PRODUCT)
    return lambda: warehouse.spark.sql(f"UPDATE {table} SET name = slowly(upper(name))").collect()  # noqa: S608


def change_price(warehouse: Warehouse, price: int) -> None:
    table = warehouse.name(DIM_PRODUCT)
    warehouse.spark.sql(f"UPDATE {table} SET price = {price}").collect()  # noqa: S608


def rows(warehouse: Warehouse) -> set[tuple[str, str, int | None]]:
    found = warehouse.read(DIM_PRODUCT).select("sku", "name", "price").collect()
    return {(row["sku"], row["name"], None if row["price"] is None else int(row["price"])) for row in found}


def test_a_commit_that_collides_is_done_again_on_the_new_state(warehouse: Warehouse, others: Others) -> None:
    others.times = 1
    warehouse.commit(DIM_PRODUCT, rename_slowly(warehouse))
    assert rows(warehouse) == {("a", "ONE", 7)}
    assert warehouse.collisions == {"dim_product": 1}


def test_what_always_collides_is_given_up(
    warehouse: Warehouse, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse_module, "ATTEMPTS", 2)
    others.times = 1_000
    with pytest.raises(ConflictError, match="dim_product: another writer came first 2 times in a row") as caught:
        warehouse.commit(DIM_PRODUCT, rename_slowly(warehouse))
    assert caught.value.exit_code == 1
    assert warehouse.collisions == {"dim_product": 2}
    assert rows(warehouse) == {("a", "one", 7)}


def test_any_other_error_is_passed_on_at_once(warehouse: Warehouse) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise ValueError("no collision")

    with pytest.raises(ValueError, match="no collision"):
        warehouse.commit(DIM_PRODUCT, fail)
    assert tries == [1]
    assert not warehouse.collisions


@pytest.mark.parametrize(
    ("message", "collision", "full"),
    [
        ("[DELTA_CONCURRENT_APPEND] files were added", True, False),
        ("io.delta.exceptions.ConcurrentDeleteReadException: gone", True, False),
        ("[DELTA_METADATA_CHANGED] the schema", True, False),
        ("java.io.IOException: No space left on device", False, True),
        ("Disk quota exceeded", False, True),
        ("[DELTA_TABLE_NOT_FOUND] no table", False, False),
    ],
)
def test_errors_are_told_apart_by_what_they_say(message: str, collision: bool, full: bool) -> None:
    error = RuntimeError("outer")
    error.__cause__ = RuntimeError(message)
    assert is_disk_full(error) == full
    assert is_collision(RuntimeError(message)) == collision
