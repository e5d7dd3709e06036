"""Publishing: what changed in the tables since a sink's last publish goes there, and a row into etl_publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex

import structlog
from pyspark.sql import functions as F

from etl_lib.process.concurrently import concurrently
from etl_lib.process.errors import LakehouseError
from etl_lib.process.redaction import redacted
from etl_lib.run.metrics import ChangeMetrics, PublishMetrics
from etl_lib.run.run import Run, step
from etl_lib.sinks.changes import Change, Changes, Shown, Sink
from etl_lib.sinks.differences import changes_between, everything
from etl_lib.sinks.reconciliation import Books
from etl_lib.sinks.relations import SinkError
from etl_lib.tables.ledger import FAILED, consistent_versions
from etl_lib.tables.publishes import COMPLETE, DIFFERS, Publish, publish_of
from etl_lib.tables.schemas import ETL_PUBLISHES, ETL_RUNS, SALES_TABLES, Table
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

PLANNED, NOTHING_NEW = "planned", "nothing new"
TOLD_DIFFERENCES = 5
"""How many differences between a sink and the tables are told."""

_AGAIN = "not everything was published; the tables are as they should be, and jobs/publish.py tries again"


class ReconciliationError(SinkError):
    """A sink does not show what the tables say; its next publish brings everything."""


def publish_tables(run: Run, sinks: Sequence[Sink], *, is_full: bool = False) -> None:
    """Publish the tables, as the last complete run left them, to each sink; with --plan only tell what would go there.

    A sink that fails does not keep the others waiting. SinkError names all that failed, at the end.
    """
    versions = _versions(run.warehouse)
    if not versions:
        log.info("nothing to publish: no run has been completed yet")
        return
    if not run.arguments.plan:
        run.warehouse.create([ETL_PUBLISHES])
    books = Books(run.warehouse, versions)
    failed = {}
    for sink in sinks:
        run.metrics.publishes[sink.name] = told = PublishMetrics(sink.address)
        try:
            _Publishing(run, sink, _new_publish(versions), books, told).carry_out(is_full=is_full)
        except Exception as error:
            is_expected = isinstance(error, LakehouseError)
            told.message = redacted(str(error) if is_expected else f"{type(error).__name__}: {error}")
            failed[sink.name] = error
            log.warning("a sink failed", sink=sink.name, reason=told.message)
    if failed:
        raise _all_of(failed, run)


def _versions(warehouse: Warehouse) -> dict[str, int]:
    if not warehouse.present([ETL_RUNS]):
        raise LakehouseError(f"{warehouse.location} has no table {ETL_RUNS.name}: is `warehouse` the right place?")
    return consistent_versions(warehouse, SALES_TABLES)


def _new_publish(versions: Mapping[str, int]) -> Publish:
    now = datetime.now(UTC)
    return Publish(f"{now:%Y%m%dT%H%M%S}Z-{token_hex(3)}", None, versions, now)


def _all_of(failed: Mapping[str, Exception], run: Run) -> Exception:
    """One error for all sinks that failed; an unexpected one as it is, so that its trace is not lost."""
    run.metrics.status = FAILED
    for error in failed.values():
        if not isinstance(error, LakehouseError):
            error.add_note(_AGAIN)
            return error
    listed = "\n".join(f"{name}: {error}" for name, error in failed.items())
    kinds = {type(error) for error in failed.values()}
    kind = ReconciliationError if kinds == {ReconciliationError} else SinkError
    return kind(f"{_AGAIN}:\n{listed}")


@dataclass
class _Publishing:
    """One publish to one sink; what it does is put into `told`, for the metrics."""

    run: Run
    sink: Sink
    publish: Publish
    books: Books
    told: PublishMetrics

    def carry_out(self, *, is_full: bool) -> None:
        """Find out what the sink lacks and bring it there; a publish, also one that failed, is entered.

        Nothing is entered where nothing is to be done or only planned.
        """
        status, message = FAILED, None
        try:
            changes = self._changes(is_full=is_full)
            if changes is None or self.run.arguments.plan:
                self._tell_plan(changes)
                return
            self._bring(changes)
            status = COMPLETE
        except Exception as error:
            status = DIFFERS if isinstance(error, ReconciliationError) else FAILED
            message = redacted(str(error))
            raise
        finally:
            if not self.told.status:
                self.told.status = status
                if not self.run.arguments.plan:
                    self._enter(status, message)

    def _tell_plan(self, changes: Changes | None) -> None:
        if changes is None:
            self.told.status, self.told.publish_id = NOTHING_NEW, self.publish.previous
        else:
            self.told.rows = {name: change.rows.count() for name, change in changes.relations.items()}
            self.told.status = PLANNED

    def _bring(self, changes: Changes) -> None:
        self.told.publish_id = self.publish.publish_id
        with step(f"publish_{self.sink.name}") as counts:
            self.told.rows = dict(self.sink.publish(changes))
            counts["rows"] = sum(self.told.rows.values())
        self._reconcile()

    def _reconcile(self) -> None:
        """ReconciliationError when the sink does not show what the tables say."""
        with step(f"reconcile_{self.sink.name}") as told:
            differences = self.books.differences(self.sink)
            told["differences"] = len(differences)
        if differences:
            raise ReconciliationError(_told_differences(differences))

    def _changes(self, *, is_full: bool) -> Changes | None:
        """What the sink lacks; None when it shows these very versions."""
        shown = self.sink.shows()
        previous = None if shown is None else shown.publish_id
        self.publish = replace(self.publish, previous=previous)
        reason = "it was asked for" if is_full else why_everything(self.run.warehouse, self.sink, shown)
        relations: Mapping[str, Change] | None = None
        if shown is not None and reason is None:
            if dict(shown.versions) == dict(self.publish.versions):
                return None
            with step(f"compare_{self.sink.name}"):
                relations = changes_between(self.run.warehouse, shown.versions, self.publish.versions)
            reason = None if relations else "the versions that it shows can no longer be read"
        if reason is not None:
            log.info("publishing everything", sink=self.sink.name, reason=reason)
        self.publish = replace(self.publish, is_full=relations is None)
        changes = Changes(self.publish, relations or everything(self.run.warehouse, self.publish.versions))
        self.told.changes = ChangeMetrics(
            is_full=self.publish.is_full,
            reason=reason,
            previous=previous,
            versions=dict(self.publish.versions),
            groups={name: each.groups for name, each in changes.relations.items() if each.groups is not None},
            dates={name: len(each.dates) for name, each in changes.relations.items() if each.dates is not None},
        )
        return changes

    def _enter(self, status: str, message: str | None) -> None:
        publish = self.publish
        row = (
            publish.publish_id,
            self.run.run_id,
            self.sink.name,
            self.sink.address,
            status,
            publish.is_full,
            publish.previous,
            dict(publish.versions),
            dict(self.told.changes.groups if self.told.changes else {}),
            dict(self.told.rows or {}),
            message,
            publish.published_at,
            datetime.now(UTC),
        )
        self.run.warehouse.append(ETL_PUBLISHES, values_frame(self.run.spark, [row], ETL_PUBLISHES.columns))


def _told_differences(differences: Sequence[str]) -> str:
    more = len(differences) - TOLD_DIFFERENCES
    listed = "; ".join(differences[:TOLD_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
    return f"what it shows differs from the tables; its next publish brings everything: {listed}"


def why_everything(warehouse: Warehouse, sink: Sink, shown: Shown | None) -> str | None:
    """Why everything has to be published; None when what changed since then is enough.

    Only a publish that the ledger of this warehouse knows as a complete one counts: the versions that a sink names may
    be those of another warehouse, or of tables that have been made anew.
    """
    if shown is None:
        return "the sink shows no publish yet"
    is_kept = bool(warehouse.present([ETL_PUBLISHES]))
    entry = publish_of(warehouse, sink.name, sink.address, shown.publish_id) if is_kept else None
    if entry is None or entry["status"] == FAILED or dict(entry["versions"]) != dict(shown.versions):
        return f"the ledger does not know the publish {shown.publish_id}, which the sink shows, as a complete one"
    if entry["status"] == DIFFERS:
        return "the sink differed from the tables after its last publish"
    if shown.versions.keys() != {table.name for table in SALES_TABLES}:
        return "the sink shows other tables"
    if remade := _made_since(warehouse, entry["started_micros"]):
        return f"made anew since its last publish: {', '.join(remade)}"
    return None


def _made_since(warehouse: Warehouse, micros: int) -> list[str]:
    """The tables that were made later than this: their versions are not those that a sink shows."""

    def made(table: Table) -> int:
        detail = warehouse.spark.sql(f"DESCRIBE DETAIL {warehouse.name(table)}")
        return int(detail.select(F.unix_micros("createdAt")).collect()[0][0])

    found = concurrently(**{table.name: partial(made, table) for table in SALES_TABLES})
    return [name for name, at in found.items() if at > micros]
