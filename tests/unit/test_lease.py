"""The lease of a warehouse: one process has it, a dead one's is taken over, and nobody writes without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import WarehouseBusyError
from etl_lib.run import lease as lease_module
from etl_lib.run.lease import Lease
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.schemas import ETL_LEASE
from etl_lib.tables.warehouse import Warehouse

EXPIRES_S = 60.0


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path) -> Warehouse:
    place = Warehouse(spark, str(tmp_path / "warehouse"))
    place.create([ETL_LEASE])
    return place


def lease_of(warehouse: Warehouse, name: str, expires_s: float = EXPIRES_S) -> Lease:
    manifest = RunManifest(name, "orders", (), "2024-05-01T00:00:00+00:00", is_plan=False)
    return Lease(warehouse, manifest, expires_s)


def expire(warehouse: Warehouse) -> None:
    """As if the time had gone by in which its holder, now dead, renewed nothing."""
    warehouse.spark.sql(f"UPDATE {warehouse.name(ETL_LEASE)} SET expires_at = current_timestamp()")  # noqa: S608


def test_one_has_it_until_it_is_given_back_and_a_look_at_it_makes_no_commit(warehouse: Warehouse) -> None:
    first, second = lease_of(warehouse, "first"), lease_of(warehouse, "second")
    first.take(timeout_s=0)
    version = warehouse.version(ETL_LEASE)
    with pytest.raises(
        WarehouseBusyError, match=r"another run holds the warehouse: run first of orders, process \d+ on"
    ):
        second.take(timeout_s=0)
    assert warehouse.version(ETL_LEASE) == version
    first.check()
    first.give_back()
    second.take(timeout_s=0)
    second.check()
    assert warehouse.read(ETL_LEASE).select("name", "run_id").collect() == [("warehouse", "second")]


def test_of_many_that_want_it_at_once_one_has_it(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """All see a free lease before the first of them commits: Delta's commit decides, for a new row and an old one."""
    looks, merge = Barrier(3), lease_module.merge

    def merge_together(*arguments: Any, **options: Any) -> int | None:
        looks.wait(timeout=60)
        return merge(*arguments, **options)

    monkeypatch.setattr(lease_module, "merge", merge_together)

    def take(wanted: Lease) -> bool:
        try:
            wanted.take(timeout_s=0)
        except WarehouseBusyError:
            return False
        return True

    for _ in range(2):
        places = [Warehouse(warehouse.spark.newSession(), warehouse.location) for _ in range(3)]
        leases = [lease_of(place, name) for place, name in zip(places, "abc", strict=True)]
        with ThreadPoolExecutor(3) as pool:
            taken = list(pool.map(take, leases))
        assert sum(taken) == 1
        assert warehouse.read(ETL_LEASE).select("holder").collect() == [(leases[taken.index(True)].holder,)]
        expire(warehouse)


def test_a_dead_holder_is_overtaken_and_writes_nothing_if_it_comes_back(warehouse: Warehouse) -> None:
    dead, heir = lease_of(warehouse, "dead"), lease_of(warehouse, "heir")
    dead.take(timeout_s=0)
    expire(warehouse)
    heir.take(timeout_s=0)
    dead.renew()
    with pytest.raises(WarehouseBusyError, match=r"has lost the lease .* now run heir of orders"):
        dead.check()
    dead.give_back()
    heir.check()
    heir.renew()
    assert not heir.is_lost


def test_a_lease_that_could_not_be_renewed_in_time_is_not_relied_on(warehouse: Warehouse) -> None:
    """Its own clock is enough: nobody need have taken it."""
    late = lease_of(warehouse, "late", expires_s=0.001)
    late.take(timeout_s=0)
    with pytest.raises(WarehouseBusyError, match="has lost the lease"):
        late.check()


def test_it_is_renewed_while_its_holder_works(warehouse: Warehouse) -> None:
    held = lease_of(warehouse, "held", expires_s=6)
    held.take(timeout_s=0)
    until = warehouse.read(ETL_LEASE).select("expires_at").first()
    with held.renewed():
        first_end = held.valid_until
        while held.valid_until == first_end:
            held.check()
    assert warehouse.read(ETL_LEASE).where(F.col("expires_at") > F.lit(until[0])).count() == 1


def test_no_commit_is_made_without_it(spark: SparkSession, warehouse: Warehouse) -> None:
    def refuse() -> None:
        raise WarehouseBusyError("lost")

    guarded = Warehouse(spark, warehouse.location, before_commit=refuse)
    with pytest.raises(WarehouseBusyError, match="lost"):
        guarded.append(ETL_LEASE, guarded.read(ETL_LEASE))
    assert warehouse.version(ETL_LEASE) == 0
