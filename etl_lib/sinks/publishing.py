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
from etl_lib.process.errors import ConfigError, LakehouseError, QualityGateError
from etl_lib.process.redaction import redacted
from etl_lib.process.secrets import reveal
from etl_lib.run.metric_parts import ChangeMetrics, PublishMetrics
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.config import Settings
from etl_lib.settings.sink_settings import SinkName, SinkSettings
from etl_lib.sinks.differences import changes_between, everything
from etl_lib.sinks.reconciliation import Books
from etl_lib.sinks.sink import Change, Changes, Shown, Sink, SinkError
from etl_lib.tables.holds import HELD, Hold, open_holds, release
from etl_lib.tables.ledger import FAILED, consistent_versions
from etl_lib.tables.publishes import COMPLETE, DIFFERS, Publish, publish_of
from etl_lib.tables.schemas import ETL_PUBLISHES, ETL_RUNS, SALES_TABLES, Table
from etl_lib.tables.values_frame import values_frame
from etl_lib.tables.warehouse import Warehouse

log = structlog.get_logger(__name__)

PLANNED, NOTHING_NEW = "planned", "nothing new"
LISTED_DIFFERENCES = 5
"""How many differences between a sink and the tables a message lists."""

_AGAIN = "not everything was published; the tables are as they should be, and jobs/publish.py tries again"


class ReconciliationError(SinkError):
    """A sink does not show what the tables say; its next publish brings everything."""


def chosen_sinks(settings: Settings, names: Sequence[str]) -> list[SinkName]:
    """The configured sinks, or those of them that are named; ConfigError for another name, or when there are none."""
    configured = settings.sinks
    if not configured:
        raise ConfigError("sinks: none is configured; name some of parquet, postgres and redshift")
    if unknown := [name for name in names if name not in configured]:
        raise ConfigError(f"--sink {unknown[0]}: not among the configured sinks ({', '.join(configured)})")
    return [name for name in configured if not names or name in names]


def open_sinks(settings: Settings, names: Sequence[SinkName]) -> list[Sink]:
    """These sinks; nothing is asked of them yet. ConfigError, or SecretError, for what can be told before that."""
    return [_open(settings.publish, name) for name in names]


def _open(settings: SinkSettings, name: SinkName) -> Sink:
    """A sink; its module is imported only here, as each has needs of its own."""
    if name == "parquet" and settings.parquet:
        from etl_lib.sinks.parquet.sink import ParquetSink  # noqa: PLC0415

        return ParquetSink(settings.parquet)
    if name == "postgres" and settings.postgres:
        from etl_lib.sinks.sql.postgres import PostgresSink  # noqa: PLC0415

        return PostgresSink(settings.postgres, reveal)
    if name == "redshift" and settings.redshift:
        from etl_lib.sinks.sql.redshift import RedshiftSink  # noqa: PLC0415

        return RedshiftSink(settings.redshift)
    raise ConfigError(f"publish.{name}: missing")


def publish_tables(run: Run, sinks: Sequence[Sink], *, is_full: bool = False) -> list[Hold]:
    """Publish the tables, as the last complete run left them, to each sink; with --plan only tell what would go there.

    While a gate holds a run, it is the last run before that one; gives what holds. A sink that fails does not keep the
    others waiting. SinkError names all that failed, at the end.
    """
    if not run.warehouse.present([ETL_RUNS]):
        raise LakehouseError(f"{run.warehouse.location} has no table {ETL_RUNS.name}: is `warehouse` the right place?")
    holds = open_holds(run.warehouse)
    if holds:
        run.metrics.publish, run.metrics.held_by = HELD, list(dict.fromkeys(hold.run_id for hold in holds))
        log.warning("the publish is held", by=holds[0].run_id, gate=holds[0].gate, reason=holds[0].message)
    versions = consistent_versions(run.warehouse, SALES_TABLES, holds[0].ended_at if holds else None)
    if not versions:
        log.info("nothing to publish: no run has been completed yet, or none before the one that is held")
        return holds
    if not run.arguments.plan:
        run.warehouse.create([ETL_PUBLISHES])
    books = Books(run.warehouse, versions)
    failed = {}
    for sink in sinks:
        run.metrics.publishes[sink.name] = metrics = PublishMetrics(sink.address)
        now = datetime.now(UTC)
        publish = Publish(f"{now:%Y%m%dT%H%M%S}Z-{token_hex(3)}", None, versions, now)
        try:
            _Publishing(run, sink, publish, books, metrics).carry_out(is_full=is_full)
        except Exception as error:
            is_expected = isinstance(error, LakehouseError)
            metrics.message = redacted(str(error) if is_expected else f"{type(error).__name__}: {error}")
            failed[sink.name] = error
            log.warning("a sink failed", sink=sink.name, reason=metrics.message)
    if failed:
        raise _all_of(failed, run)
    return holds


def lift_hold(run: Run, run_id: str) -> None:
    """Release a run that a gate holds; ConfigError when none holds it."""
    holding = [hold.run_id for hold in open_holds(run.warehouse)] if run.warehouse.present([ETL_RUNS]) else []
    if run_id not in holding:
        others = f"; these are: {', '.join(holding)}" if holding else ", nor is any other run"
        raise ConfigError(f"--release {run_id}: no gate holds this run{others}")
    release(run.warehouse, run_id, f"released by {run.run_id}")
    log.info("released", released_run_id=run_id)


def held_error(holds: Sequence[Hold]) -> QualityGateError:
    """Why not everything was published, and how to go on."""
    listed = "\n  ".join(f"{hold.run_id}, {hold.gate}: {hold.message}" for hold in holds)
    return QualityGateError(
        f"the publish is held, the sinks show the tables from before these runs:\n  {listed}\n"
        "Look at their reports. A later run that passes the same gate lifts a hold, so does undoing the run "
        f"(jobs/maintain.py restore --run), and so does jobs/publish.py --release {holds[0].run_id}"
    )


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
    """One publish to one sink, which fills in its metrics."""

    run: Run
    sink: Sink
    publish: Publish
    books: Books
    metrics: PublishMetrics

    def carry_out(self, *, is_full: bool) -> None:
        """Find out what the sink lacks and bring it there; a publish, also one that failed, is entered.

        Nothing is entered where nothing is to be done or only planned. ReconciliationError when the sink does not show
        what the tables say.
        """
        metrics, is_planned, message = self.metrics, self.run.arguments.plan, None
        metrics.status = FAILED  # until it has come to another end
        try:
            changes = self._changes(is_full=is_full)
            if changes is None:
                metrics.status, metrics.publish_id = NOTHING_NEW, self.publish.previous
            elif is_planned:
                metrics.rows = {name: change.rows.count() for name, change in changes.relations.items()}
                metrics.status = PLANNED
            else:
                self._bring(changes)
                metrics.status = COMPLETE
        except Exception as error:
            if isinstance(error, ReconciliationError):
                metrics.status = DIFFERS
            message = redacted(str(error))
            raise
        finally:
            if metrics.status != NOTHING_NEW and not is_planned:
                self._enter(message)

    def _bring(self, changes: Changes) -> None:
        self.metrics.publish_id = self.publish.publish_id
        with step(f"publish_{self.sink.name}") as counts:
            self.metrics.rows = dict(self.sink.publish(changes))
            counts["rows"] = sum(self.metrics.rows.values())
        with step(f"reconcile_{self.sink.name}") as counts:
            differences = self.books.differences(self.sink)
            counts["differences"] = len(differences)
        if differences:
            more = len(differences) - LISTED_DIFFERENCES
            listed = "; ".join(differences[:LISTED_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
            raise ReconciliationError(
                f"what it shows differs from the tables; its next publish brings everything: {listed}"
            )

    def _changes(self, *, is_full: bool) -> Changes | None:
        """What the sink lacks; None when it shows these very versions."""
        warehouse, shown = self.run.warehouse, self.sink.shows()
        previous = None if shown is None else shown.publish_id
        self.publish = replace(self.publish, previous=previous)
        reason = "it was asked for" if is_full else why_everything(warehouse, self.sink, shown)
        relations: Mapping[str, Change] | None = None
        if shown is not None and reason is None:
            if dict(shown.versions) == dict(self.publish.versions):
                return None
            with step(f"compare_{self.sink.name}"):
                relations = changes_between(warehouse, shown.versions, self.publish.versions)
            reason = None if relations else "the versions that it shows can no longer be read"
        if reason is not None:
            log.info("publishing everything", sink=self.sink.name, reason=reason)
        self.publish = replace(self.publish, is_full=relations is None)
        changes = Changes(self.publish, relations or everything(warehouse, self.publish.versions))
        self.metrics.changes = ChangeMetrics(
            is_full=self.publish.is_full,
            reason=reason,
            previous=previous,
            versions=dict(self.publish.versions),
            groups={name: each.groups for name, each in changes.relations.items() if each.groups is not None},
            dates={name: len(each.dates) for name, each in changes.relations.items() if each.dates is not None},
        )
        return changes

    def _enter(self, message: str | None) -> None:
        publish = self.publish
        row = (
            publish.publish_id,
            self.run.run_id,
            self.sink.name,
            self.sink.address,
            self.metrics.status,
            publish.is_full,
            publish.previous,
            dict(publish.versions),
            dict(self.metrics.changes.groups if self.metrics.changes else {}),
            dict(self.metrics.rows or {}),
            message,
            publish.published_at,
            datetime.now(UTC),
        )
        self.run.warehouse.append(ETL_PUBLISHES, values_frame(self.run.spark, [row], ETL_PUBLISHES.columns))


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

    moments = concurrently(**{table.name: partial(made, table) for table in SALES_TABLES})
    return [name for name, at in moments.items() if at > micros]
