"""One run at a time where the system has no lock: a lease, which is taken, renewed, given back, or expires.

On an object store and in a catalog there is no lock that dies with its process. With `lease.enabled` a run takes the
lease of its warehouse before it looks at a table, renews it while it works, and gives it back at its end. A holder that
died is overtaken when its lease has expired. No commit is made without a lease that is still valid.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from threading import Event, Thread
from typing import Any

import structlog
from pyspark.sql import SparkSession, is_remote

from etl_lib.process.errors import WarehouseBusyError
from etl_lib.run.lease_records import LeaseEntry, LeaseRecord, record_of
from etl_lib.settings.config import Settings
from etl_lib.tables.ledger import RunManifest
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

POLL_S = 5.0
"""How long a run that waits leaves between two looks at the lease."""
RENEWALS = 6
"""How many renewals begin within the life of a lease: three in a row may fail."""
RELIED_ON = 2 / 3
"""For which share of its life the holder relies on a lease: the rest is for clocks that differ."""


@contextmanager
def hold_lease(spark: SparkSession, settings: Settings, manifest: RunManifest) -> Iterator[Callable[[], None]]:
    """Hold the lease while the block runs, where it is on and the warehouse has no lock of the system.

    Gives what is to be asked before each commit: WarehouseBusyError once the lease is lost. WarehouseBusyError, too,
    when another run holds it for longer than `lock_timeout_s`.
    """
    warehouse = Warehouse(spark, settings.warehouse)
    if not settings.lease.enabled or (warehouse.is_locked and not is_remote()):
        yield warehouse.before_commit
        return
    lease = Lease(record_of(warehouse), manifest, settings.lease.expires_s, settings.warehouse)
    lease.take(settings.lock_timeout_s)
    try:
        with lease.renewed():
            yield lease.check
    finally:
        lease.give_back()


@dataclass
class Lease:
    """The lease of one warehouse as one process sees it."""

    record: LeaseRecord[Any]
    manifest: RunManifest
    expires_s: float
    location: str
    mark: Any = None
    """That of this process's own entry, while it is the holder."""
    valid_until: float = 0.0
    """By this process's own clock, counted from before the last renewal: no other takes the lease much earlier."""

    def __post_init__(self) -> None:
        """Name this process."""
        now = datetime.now(UTC)
        run = self.manifest
        self.entry = LeaseEntry(token_hex(8), run.run_id, run.job, socket.gethostname(), os.getpid(), now, now)

    def take(self, timeout_s: float) -> None:
        """Become the holder; WarehouseBusyError names the run that has it when the time is over."""
        deadline = time.monotonic() + timeout_s
        is_told = False
        while not self._try():
            left = deadline - time.monotonic()
            if left <= 0:
                raise WarehouseBusyError(f"{self.location}: another run holds the warehouse: {self._holder()}")
            if not is_told:
                log.info("waiting for the lease of the warehouse", holder=str(self._holder()), at_most_s=round(left))
                is_told = True
            time.sleep(min(POLL_S, left))

    def check(self) -> None:
        """WarehouseBusyError when this process may no longer write: its lease has expired, or another has it."""
        if self.mark is None or time.monotonic() >= self.valid_until:
            raise WarehouseBusyError(
                f"{self.location}: this run has lost the lease of the warehouse, because it could not renew it in time "
                f"(lease.expires_s: {self.expires_s:g}); now it is with {self._holder()}. What this run has staged is "
                "finished by the next one"
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
        if self.mark is not None:
            self._write(self.mark)

    def give_back(self) -> None:
        """Let others take the lease at once; one that cannot be given back expires."""
        if self.mark is None:
            return
        try:
            self.record.swap(replace(self.entry, expires_at=datetime.now(UTC)), self.mark)
        except Exception as error:  # the run is over, and its own error must be told
            log.warning("the lease could not be given back: it expires", error=str(error), after_s=self.expires_s)

    def _try(self) -> bool:
        """Take the lease if nobody has it, or it was given back, or has expired."""
        found = self.record.read()
        if found is not None and found[0].expires_at > datetime.now(UTC):
            return False
        self.entry = replace(self.entry, since=datetime.now(UTC))
        self._write(found and found[1])
        return self.mark is not None

    def _write(self, expected: Any) -> None:
        """Write down that this process has the lease from now on, in the place of what has the mark `expected`.

        What is refused may be its own, the answer to which was lost: that is written again.
        """
        begun, now = time.monotonic(), datetime.now(UTC)
        self.entry = replace(self.entry, expires_at=now + timedelta(seconds=self.expires_s))
        mark = self.record.swap(self.entry, expected)
        if mark is None and (found := self.record.read()) is not None and found[0].holder == self.entry.holder:
            mark = self.record.swap(self.entry, found[1])
        self.mark, self.valid_until = mark, begun + self.expires_s * RELIED_ON

    def _keep_renewing(self, done: Event) -> None:
        while self.mark is not None and not done.wait(self.expires_s / RENEWALS):
            try:
                self.renew()
            except Exception as error:  # the next renewal may do; `check` knows when it is too late
                log.warning("the lease could not be renewed, trying again", error=str(error))

    def _holder(self) -> LeaseEntry | str:
        found = self.record.read()
        return found[0] if found is not None else "nobody"
