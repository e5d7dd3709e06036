"""Where a lease is written down: in a Delta table, or in an object on S3.

Of several processes that write it down at once, one succeeds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from pyspark.sql import functions as F

from etl_lib.process.errors import ConfigError, LakehouseError
from etl_lib.tables.merge import insert_all, merge, update_all
from etl_lib.tables.schemas import ETL_LEASE
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

_NAME = "warehouse"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_S3 = re.compile(r"s3[an]?://(?P<bucket>[^/]+)(/(?P<folder>.*?))?/*")
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}

Mark = TypeVar("Mark")


@dataclass(frozen=True)
class LeaseEntry:
    """Who has the lease, and until when."""

    holder: str
    """A random name of the process: two of them may apply the same plan, under one run id."""
    run_id: str
    job: str
    host: str
    process: int
    since: datetime
    expires_at: datetime

    def __str__(self) -> str:
        """For the people who wait."""
        return (
            f"run {self.run_id} of {self.job}, process {self.process} on {self.host}, since "
            f"{self.since:%Y-%m-%dT%H:%M:%SZ}; its lease lasts until {self.expires_at:%Y-%m-%dT%H:%M:%SZ} if it is not "
            "renewed"
        )


class LeaseRecord(Protocol[Mark]):
    """The one entry of a warehouse."""

    def read(self) -> tuple[LeaseEntry, Mark] | None:
        """The entry as it is now, with a mark that every change changes; None before the first one. Changes nothing."""

    def swap(self, entry: LeaseEntry, expected: Mark | None) -> Mark | None:
        """Write an entry in the place of that with the mark `expected` (None: of none).

        Gives its mark; None when another process came first, and nothing is written.
        """


@dataclass(frozen=True)
class DeltaLease(LeaseRecord[int]):
    """A row of a small Delta table; a commit that collides is refused by Delta, and looks again."""

    warehouse: Warehouse

    def read(self) -> tuple[LeaseEntry, int] | None:
        """Read the row, if there is one; without a commit, which would disturb the holder."""
        times = [F.unix_micros(name).alias(name) for name in ("since", "expires_at")]
        plain = self.warehouse.read(ETL_LEASE).select("turn", "holder", "run_id", "job", "host", "process", *times)
        for row in plain.collect():
            values = row.asDict()
            turn = int(values.pop("turn"))
            moments = {name: _EPOCH + timedelta(microseconds=values[name]) for name in ("since", "expires_at")}
            return LeaseEntry(**{**values, **moments}), turn
        return None

    def swap(self, entry: LeaseEntry, expected: int | None) -> int | None:
        """Change the row in one commit, if it still has the turn `expected`."""
        turn = (expected or 0) + 1
        values = {"name": _NAME, "turn": turn, **asdict(entry)}
        source = values_frame(
            self.warehouse.spark, [[values[name] for name in ETL_LEASE.column_names]], ETL_LEASE.columns
        )
        clause = insert_all(ETL_LEASE) if expected is None else update_all(ETL_LEASE, f"t.turn = {expected:d}")
        merge(self.warehouse, ETL_LEASE, source, on="t.name = s.name", clauses=[clause])
        found = self.read()
        return turn if found is not None and (found[0].holder, found[1]) == (entry.holder, turn) else None


@dataclass(frozen=True)
class S3Lease(LeaseRecord[str]):
    """An object beside the tables; S3 refuses a put whose condition does not hold (If-None-Match, If-Match).

    Delta's own store for S3 looks whether a commit is there, and puts then: of two processes both would get the lease.
    """

    client: Any
    bucket: str
    key: str

    def read(self) -> tuple[LeaseEntry, str] | None:
        """Read the object, if there is one."""
        answer = self._unless_refused(lambda: self.client.get_object(Bucket=self.bucket, Key=self.key), {"NoSuchKey"})
        if answer is None:
            return None
        values = json.loads(answer["Body"].read())
        moments = {name: datetime.fromisoformat(values[name]) for name in ("since", "expires_at")}
        return LeaseEntry(**{**values, **moments}), answer["ETag"]

    def swap(self, entry: LeaseEntry, expected: str | None) -> str | None:
        """Put the object, on the condition that it is still as expected."""
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        moments = {name: getattr(entry, name).isoformat() for name in ("since", "expires_at")}
        body = json.dumps({**asdict(entry), **moments}).encode()
        answer = self._put(body, condition)
        if answer is not None and expected is None and self._put(body, condition) is not None:
            raise ConfigError(
                f"lease.enabled: the store of s3://{self.bucket} overwrites an object although the request forbids it "
                "(If-None-Match): it cannot keep runs apart"
            )
        return answer and str(answer["ETag"])

    def _put(self, body: bytes, condition: dict[str, str]) -> Any:
        place = {"Bucket": self.bucket, "Key": self.key}
        return self._unless_refused(lambda: self.client.put_object(**place, Body=body, **condition), _REFUSED)

    def _unless_refused(self, request: Callable[[], Any], refusals: set[str]) -> Any:
        from botocore.exceptions import (  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415
            BotoCoreError,  # boto3 is there only where AWS is used
            ClientError,
        )

        try:
            return request()
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in refusals:
                return None
            raise LakehouseError(
                f"the lease s3://{self.bucket}/{self.key} cannot be read or written: {error}. It needs s3:GetObject "
                "and s3:PutObject there, and region, credentials and endpoint in AWS's standard chain"
            ) from error


def record_of(warehouse: Warehouse) -> LeaseRecord[Any]:
    """Where the lease of a warehouse is; ConfigError for S3 without boto3.

    In a catalog, on another object store, and on a disk that only Spark's server sees it is a table.
    """
    if place := _S3.fullmatch(warehouse.location):
        folder = f"{place['folder']}/" if place["folder"] else ""
        return S3Lease(_s3_client(), place["bucket"], f"{folder}_lease.json")
    warehouse.create([ETL_LEASE])
    return DeltaLease(warehouse)


def _s3_client() -> Any:
    """A client that finds region, credentials and endpoint in AWS's standard chain."""
    try:
        import boto3  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 - only where AWS is used
    except ModuleNotFoundError as error:
        raise ConfigError("lease.enabled: a lease on S3 needs boto3: pip install 'orders-lakehouse[aws]'") from error
    return boto3.client("s3")
