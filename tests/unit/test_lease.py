"""The lease of a warehouse: one process has it, a dead one's is taken over, and nobody writes without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Lock
from typing import Any, cast

import pytest
from moto.s3.responses import S3Response
from pyspark.sql import SparkSession, is_remote

from etl_lib.process.errors import ConfigError, LakehouseError, WarehouseBusyError
from etl_lib.run.lease import Lease
from etl_lib.run.lease_records import DeltaLease, LeaseRecord, S3Lease, record_of
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.schemas import ETL_LEASE
from etl_lib.tables.warehouse import Warehouse
from tests.aws import s3_bucket

Records = Callable[[], LeaseRecord[Any]]
"""Makes the record of one warehouse as another process sees it."""


@pytest.fixture(params=[pytest.param("a table", marks=pytest.mark.slow), "an object on S3"])
def records(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    if request.param == "a table":
        if is_remote():
            pytest.skip("several sessions in one process are classic Spark's")
        spark: SparkSession = request.getfixturevalue("spark")
        location = str(tmp_path / "warehouse")
        Warehouse(spark, location).create([ETL_LEASE])
        yield lambda: DeltaLease(Warehouse(spark.newSession(), location))
    else:
        one_at_a_time, put = Lock(), S3Response.put_object

        def put_object(self: S3Response) -> Any:
            with one_at_a_time:  # a condition and what hangs on it are one act, as on S3
                return put(self)

        monkeypatch.setattr(S3Response, "put_object", put_object)
        with s3_bucket() as bucket:
            yield lambda: S3Lease(bucket.client, bucket.name, "warehouse/_lease.json")


def lease_of(record: LeaseRecord[Any], run_id: str, expires_s: float = 60.0) -> Lease:
    manifest = RunManifest(run_id, "orders", (), "2024-05-01T00:00:00+00:00", is_plan=False)
    return Lease(record, manifest, expires_s, "/warehouse")


def expire(record: LeaseRecord[Any]) -> None:
    """As if the time had gone by in which its holder, now dead, renewed nothing."""
    found = record.read()
    assert found is not None
    assert record.swap(replace(found[0], expires_at=datetime.now(UTC)), found[1]) is not None


def took(wanted: Lease) -> bool:
    try:
        wanted.take(timeout_s=0)
    except WarehouseBusyError:
        return False
    return True


def test_one_has_it_until_it_is_given_back_and_a_look_at_it_changes_nothing(records: Records) -> None:
    first, second = lease_of(records(), "first"), lease_of(records(), "second")
    first.take(timeout_s=0)
    before = records().read()
    with pytest.raises(
        WarehouseBusyError, match=r"/warehouse: another run holds .*: run first of orders, process \d+ on"
    ):
        second.take(timeout_s=0)
    assert records().read() == before
    first.check()
    first.renew()
    first.check()
    first.give_back()
    second.take(timeout_s=0)
    second.check()
    assert second.valid_until > 0


@pytest.mark.parametrize("records", ["a table", "an object on S3"], indirect=True)
def test_of_several_that_want_it_at_once_one_has_it(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """All see that it is free before the first of them writes: the first entry of all, and one that has expired."""
    record = records()
    together, swap = Barrier(3), type(record).swap

    def swap_together(self: Any, entry: Any, expected: Any) -> Any:
        together.wait(timeout=60)
        return swap(self, entry, expected)

    for _ in range(2):
        wanted = [lease_of(records(), name) for name in "abc"]
        with monkeypatch.context() as patched, ThreadPoolExecutor(3) as pool:
            patched.setattr(type(record), "swap", swap_together)
            taken = list(pool.map(took, wanted))
        found = record.read()
        assert sum(taken) == 1
        assert found is not None
        assert found[0].holder == wanted[taken.index(True)].entry.holder
        expire(record)


def test_a_dead_holder_is_overtaken_and_writes_nothing_when_it_comes_back(records: Records) -> None:
    dead, heir = lease_of(records(), "dead"), lease_of(records(), "heir")
    dead.take(timeout_s=0)
    expire(records())
    heir.take(timeout_s=0)
    dead.renew()
    with pytest.raises(WarehouseBusyError, match=r"has lost the lease .* it is with run heir of orders"):
        dead.check()
    dead.give_back()
    heir.renew()
    heir.check()


def test_an_answer_that_was_lost_does_not_lose_the_lease(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is written, and the process hears of an error, and then that it came too late."""
    held = lease_of(records(), "held")
    held.take(timeout_s=0)
    swap = type(held.record).swap

    def swap_unheard(self: Any, entry: Any, expected: Any) -> Any:
        swap(self, entry, expected)
        raise ConnectionError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(type(held.record), "swap", swap_unheard)
        with pytest.raises(ConnectionError):
            held.renew()
    held.renew()
    held.check()


def test_a_lease_that_was_not_renewed_in_time_is_not_relied_on() -> None:
    """Its own clock is enough: nobody need have taken it."""
    with s3_bucket() as bucket:
        late = lease_of(S3Lease(bucket.client, bucket.name, "_lease.json"), "late", expires_s=0)
        late.take(timeout_s=0)
        with pytest.raises(WarehouseBusyError, match="now it is with run late of orders"):
            late.check()


def test_it_is_renewed_while_its_holder_works() -> None:
    with s3_bucket() as bucket:
        held = lease_of(S3Lease(bucket.client, bucket.name, "_lease.json"), "held", expires_s=6)
        held.take(timeout_s=0)
        first_end = held.valid_until
        with held.renewed():
            while held.valid_until < first_end + 1:
                held.check()
                time.sleep(0.01)
        found = held.record.read()
        assert found is not None
        assert found[0].expires_at > found[0].since


def test_a_store_that_ignores_the_condition_of_a_put_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket() as bucket:
        put = bucket.client.put_object
        monkeypatch.setattr(bucket.client, "put_object", lambda IfNoneMatch, **place: put(**place))  # noqa: ARG005, N803
        with pytest.raises(ConfigError, match=r"lease\.enabled: the store of s3://lake overwrites an object"):
            lease_of(S3Lease(bucket.client, bucket.name, "_lease.json"), "first").take(timeout_s=0)


@pytest.mark.parametrize(
    ("location", "key"),
    [
        ("s3a://lake/a/b", "a/b/_lease.json"),
        ("s3://lake/a/", "a/_lease.json"),
        ("s3a://lake/", "_lease.json"),
        ("s3a://lake", "_lease.json"),
    ],
)
def test_wherever_on_s3_the_tables_are_the_lease_is_an_object_beside_them(
    location: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a table: Delta's commit does not decide there."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    record = record_of(Warehouse(cast("SparkSession", None), location))
    assert isinstance(record, S3Lease)
    assert (record.bucket, record.key) == ("lake", key)


def test_a_store_that_refuses_is_told_in_one_sentence() -> None:
    with s3_bucket() as bucket:
        elsewhere = lease_of(S3Lease(bucket.client, "nowhere", "_lease.json"), "first")
        with pytest.raises(LakehouseError, match=r"the lease s3://nowhere/_lease\.json cannot .*NoSuchBucket"):
            elsewhere.take(timeout_s=0)


def test_no_commit_is_made_without_it(spark: SparkSession, tmp_path: Path) -> None:
    def refuse() -> None:
        raise WarehouseBusyError("lost")

    free = Warehouse(spark, str(tmp_path))
    free.create([ETL_LEASE])
    guarded = Warehouse(spark, str(tmp_path), before_commit=refuse)
    with pytest.raises(WarehouseBusyError, match="lost"):
        guarded.append(ETL_LEASE, guarded.read(ETL_LEASE))
    assert free.version(ETL_LEASE) == 0
