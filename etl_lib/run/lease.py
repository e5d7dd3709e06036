"""One run at a time where the system has no lock: a row of a small Delta table, whose commits decide who holds it.

On an object store and in a catalog there is no lock that dies with its process. With `lease.enabled` a run takes the
lease of its warehouse before it looks at a table, renews it while it works, and gives it back at its end. A holder that
died is overtaken when its lease expires. No commit is made without a lease that is still valid.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from threading import Event, Thread

import structlog
from pyspark.sql import Row, SparkSession, is_remote
from pyspark.sql import functions as F

from etl_lib.process.errors import WarehouseBusyError
from etl_lib.settings.config import Settings
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.merge import insert_all, merge, update_all
from etl_lib.tables.schemas import ETL_LEASE
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

POLL_S = 5.0
"""How long a run that waits leaves between two looks at the lease."""
RENEWALS = 3
"""How many renewals begin within the life of a lease: two of them may fail."""

PUT_IF_ABSENT = {
    "spark.delta.logStore.s3.impl": "io.delta.storage.GCSLogStore",
    "spark.delta.logStore.s3a.impl": "io.delta.storage.GCSLogStore",
    "spark.hadoop.fs.s3a.performance.flags": "create",
}
"""With these a commit to S3 is a put that S3 refuses where the object is there (from Hadoop 3.4.2 on). Delta's own
store for S3 looks first and puts then, and of two processes both may win. The store has Google's name and does what S3
needs: it creates without overwriting, and takes `412 Precondition Failed` for another writer's commit.
"""

_ONE_LEASE = "warehouse"


def nothing_to_hold() -> None:
    """What a run asks before each commit that needs no lease."""


def settings_of_the_session(settings: Settings) -> dict[str, str]:
    """The Spark settings of a run: those of the configuration; with a lease on S3 also those with which commits decide.

    What the configuration says itself stands.
    """
    on_s3 = settings.warehouse.startswith(("s3://", "s3a://"))
    return {**(PUT_IF_ABSENT if settings.lease.enabled and on_s3 else {}), **settings.spark}


@contextmanager
def hold_lease(spark: SparkSession, settings: Settings, manifest: RunManifest) -> Iterator[Callable[[], None]]:
    """Hold the lease while the block runs, where it is on and the warehouse has no lock of the system.

    Gives what is to be asked before each commit: WarehouseBusyError once the lease is lost. WarehouseBusyError, too,
    when another run holds it for longer than `lock_timeout_s`.
    """
    warehouse = Warehouse(spark, settings.warehouse)
    if not settings.lease.enabled or (warehouse.is_locked and not is_remote()):
        yield nothing_to_hold
        return
    warehouse.create([ETL_LEASE])
    lease = Lease(warehouse, manifest, settings.lease.expires_s)
    lease.take(settings.lock_timeout_s)
    try:
        with lease.renewed():
            yield lease.check
    finally:
        lease.give_back()


@dataclass
class Lease:
    """The lease of one warehouse as one process sees it."""

    warehouse: Warehouse
    manifest: RunManifest
    expires_s: float
    holder: str = field(default_factory=lambda: token_hex(8))
    """Names this process: two of them may apply the same plan, under one run id."""
    valid_until: float = 0.0
    """By this process's own clock, counted from before the commit: no other process takes it earlier."""
    is_lost: bool = False

    def take(self, timeout_s: float) -> None:
        """Become the holder; WarehouseBusyError names the run that has it when the time is over."""
        deadline = time.monotonic() + timeout_s
        is_told = False
        while not self._try():
            left = deadline - time.monotonic()
            if left <= 0:
                raise WarehouseBusyError(f"{self._location}: another run holds the warehouse: {self._identity()}")
            if not is_told:
                log.info("waiting for the lease of the warehouse", holder=self._identity(), at_most_s=round(left))
                is_told = True
            time.sleep(min(POLL_S, left))

    def check(self) -> None:
        """WarehouseBusyError when this process may no longer write: its lease has expired, or another has it."""
        if self.is_lost or time.monotonic() >= self.valid_until:
            raise WarehouseBusyError(
                f"{self._location}: this run has lost the lease of the warehouse, because it could not renew it within "
                f"{self.expires_s:g} s: now {self._identity()}. What this run has staged is finished by the next one"
            )

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease while the block runs, in a thread."""
        done = Event()
        thread = Thread(target=self._keep_renewing, args=(done,), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def renew(self) -> None:
        """Make the lease last `expires_s` from now; it is lost when another process has taken it."""
        begun = time.monotonic()
        if self._set_expiry(f"timestampadd(MILLISECOND, {self._lifetime_ms}, current_timestamp())"):
            self.valid_until = begun + self.expires_s
        else:
            self.is_lost = True

    def give_back(self) -> None:
        """Let others take the lease at once; one that cannot be given back expires."""
        try:
            self._set_expiry("TIMESTAMP'1970-01-01 00:00:00'")
        except Exception as error:  # the run is over, and its own error must be told
            log.warning("the lease could not be given back: it expires", error=str(error), after_s=self.expires_s)

    @property
    def _location(self) -> str:
        return self.warehouse.location

    @property
    def _lifetime_ms(self) -> int:
        return round(self.expires_s * 1000)

    def _try(self) -> bool:
        """Take the lease if it is free, given back or expired, in one commit; gives whether this process has it now."""
        row = self._row()
        if row is not None and not row["is_free"]:
            return False
        begun = time.monotonic()
        now = F.current_timestamp()
        expiry = F.expr(f"timestampadd(MILLISECOND, {self._lifetime_ms}, current_timestamp())")
        names = "name STRING, holder STRING, run_id STRING, job STRING, host STRING, process BIGINT"
        own = (_ONE_LEASE, self.holder, self.manifest.run_id, self.manifest.job, socket.gethostname(), os.getpid())
        source = values_frame(self.warehouse.spark, [own], names).select(
            "*", now.alias("since"), expiry.alias("expires_at")
        )
        clauses = [update_all(ETL_LEASE, "t.expires_at <= current_timestamp()"), insert_all(ETL_LEASE)]
        merge(self.warehouse, ETL_LEASE, source, on="t.name = s.name", clauses=clauses)
        row = self._row()
        self.valid_until = begun + self.expires_s
        return row is not None and row["holder"] == self.holder

    def _set_expiry(self, expression: str) -> bool:
        """Change when the lease of this process expires; gives whether it still was its own."""
        statement = (
            f"UPDATE {self.warehouse.name(ETL_LEASE)} SET expires_at = {expression} WHERE holder = '{self.holder}'"  # noqa: S608
        )
        changed = self.warehouse.commit(ETL_LEASE, lambda: self.warehouse.spark.sql(statement).collect())
        return bool(changed[0]["num_affected_rows"])

    def _keep_renewing(self, done: Event) -> None:
        while not self.is_lost and not done.wait(self.expires_s / RENEWALS):
            try:
                self.renew()
            except Exception as error:  # the next renewal may do; `check` knows when it is too late
                log.warning("the lease could not be renewed, trying again", error=str(error))

    def _row(self) -> Row | None:
        """The lease as it is now, its times as texts in UTC; a look makes no commit, which would disturb the holder."""
        times = [F.date_format(name, "yyyy-MM-dd'T'HH:mm:ss'Z'").alias(name) for name in ("since", "expires_at")]
        is_free = (F.col("expires_at") <= F.current_timestamp()).alias("is_free")
        rows = self.warehouse.read(ETL_LEASE).select("holder", "run_id", "job", "host", "process", *times, is_free)
        return next(iter(rows.collect()), None)

    def _identity(self) -> str:
        row = self._row()
        if row is None:
            return "nobody holds it"
        return (
            f"run {row['run_id']} of {row['job']}, process {row['process']} on {row['host']}, since {row['since']}; "
            f"its lease lasts until {row['expires_at']} if it is not renewed"
        )
