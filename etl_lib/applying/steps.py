"""Applying a staged batch in steps; every step can be repeated with the same result.

Steps that change different tables are taken at the same time. In order are the lines of orders before their headers,
then what is computed from the tables, and the ledger very last.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from functools import partial

import structlog

from etl_lib.applying.daily_sales import apply_daily_sales, touched_dates
from etl_lib.applying.invariant_gate import invariant_gate
from etl_lib.applying.members import apply_members
from etl_lib.applying.orders import apply_dim_order, apply_fact_sales
from etl_lib.applying.quarantine import apply_quarantine, settle_replays
from etl_lib.applying.sales import tell_sales
from etl_lib.deciding.counts import Batch, count_batch, missing_counts
from etl_lib.deciding.gate_checks import accepted_result, gate_results
from etl_lib.deciding.gates import stop_of, stopping
from etl_lib.deciding.results import MOVED_TABLES, all_rule_results, order_metrics, record_stop
from etl_lib.deciding.stage import Stage
from etl_lib.process.concurrently import concurrently
from etl_lib.process.errors import ConflictError, PlanError
from etl_lib.process.session import temporary_settings
from etl_lib.process.tuning import INTERPRETED, MERGED_FROM_VALUES
from etl_lib.run.metrics import Metrics, metrics_of, table_metrics
from etl_lib.run.restore import finish_restores, unfinished_restores
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.rules import RuleBook
from etl_lib.tables.holds import HELD, is_held
from etl_lib.tables.ledger import (
    APPLYING,
    DONE,
    FAILED,
    STOPPED,
    RunEntry,
    RunManifest,
    rows_after,
    rows_at,
    tables_left,
    write_run,
)
from etl_lib.tables.open_runs import admitted_gates, all_closed, read_manifest, unfinished, waiting_run
from etl_lib.tables.schemas import DIMENSIONS, ETL_STAGE, ORDER_TABLES, PUBLISHED_TABLES

log = structlog.get_logger(__name__)


def nothing_cut_off(run: Run) -> bool:
    """Whether the ledger, as it was at the start, leaves nothing to finish.

    While the stage is as a run left it that had nothing else to finish, there is nothing else in it.
    """
    if run.ledger.has_open:
        return False
    left = run.ledger.tables.get(ETL_STAGE.name)
    version = run.warehouse.versions_on_disk([ETL_STAGE]).get(ETL_STAGE.name)
    only_made = version == 0
    return only_made or (left is not None and version == left.version) or all_closed(run.warehouse)


def finish_interrupted(run: Run) -> None:
    """Finish what an earlier run staged and was cut off from applying, before new input is read.

    A restore comes first: it may undo such a run.
    """
    with temporary_settings(run.spark, INTERPRETED):
        if nothing_cut_off(run):
            return
    open_ones = concurrently(
        restores=partial(unfinished_restores, run.warehouse), runs=partial(unfinished, run.warehouse)
    )
    if open_ones["restores"]:
        finish_restores(run)
    for manifest in unfinished(run.warehouse) if open_ones["restores"] else open_ones["runs"]:
        log.warning("finishing an interrupted run", interrupted_run_id=manifest.run_id, started_at=manifest.started_at)
        begun = time.monotonic()
        metrics = metrics_of(manifest)
        batch = count_batch(Stage(run.warehouse, manifest.run_id), run.settings)
        admitted = admitted_gates(run.warehouse, manifest.run_id) if manifest.is_admitted else None
        metrics.gates = gate_results(run, batch, manifest) if admitted is None else admitted
        if (stop := stop_of(metrics.gates)) is not None:
            # It was cut off at the gate, which stays closed: the files are read again by a later run.
            record_stop(run, manifest, metrics, batch, str(stop))
            continue
        apply_batch(run, manifest, batch, metrics, is_retry=True)
        metrics.duration_s = round(time.monotonic() - begun, 3)
        run.tell(metrics)
        run.metrics.finished_runs.append(manifest.run_id)


def apply_plan(run: Run, run_id: str, accepted: Collection[str] = ()) -> None:
    """Apply exactly the plan, or the run stopped by just the gates `accepted`, that waits under this id.

    PlanError when none does, or when a table has moved since.
    """
    cut_off = [row["run_id"] for row in unfinished_restores(run.warehouse)]
    if left := [*cut_off, *(manifest.run_id for manifest in unfinished(run.warehouse))]:
        raise PlanError(f"run {', '.join(left)} was cut off: run the job once without --apply to finish it first")
    waiting = waiting_run(run.warehouse, run_id)
    if waiting is None:
        raise PlanError(f"{run_id} is no plan that waits to be applied: it is unknown, applied already, or no plan")
    if wrong := _wrongly_accepted(run_id, stopping(waiting.gates), accepted):
        raise PlanError(wrong)
    now = run.warehouse.versions(PUBLISHED_TABLES)
    if moved := _moved(waiting.versions, now):
        raise PlanError(f"plan {run_id} no longer holds, make a new one: {moved}")
    manifest = replace(read_manifest(run.warehouse, run_id), versions=now)
    run.metrics.gates = [accepted_result(gate) if gate.state == STOPPED else gate for gate in waiting.gates]
    # From here on a crash leaves an unfinished run, no longer a plan that waits.
    entry = RunEntry(manifest, APPLYING, Metrics(), now, {}, gates=run.metrics.gates)
    write_run(run.warehouse, entry, again=True)
    batch = count_batch(Stage(run.warehouse, run_id), run.settings)
    apply_batch(run, manifest, batch, run.metrics, is_retry=True)


def _wrongly_accepted(run_id: str, stopped: Collection[str], accepted: Collection[str]) -> str:
    """What is wrong with the gates that were accepted for a run that waits; empty when they are just those it needs."""
    if missing := [name for name in stopped if name not in accepted]:
        needed = " ".join(f"--accept-gate {name}" for name in missing)
        return f"run {run_id} was stopped at a gate: look at its report, then say {needed}"
    others = ", ".join(sorted(set(accepted) - set(stopped)))
    return f"run {run_id} was not stopped at {others}: leave out that --accept-gate" if others else ""


def _refuse_if_overtaken(run: Run, manifest: RunManifest, batch: Batch) -> None:
    """Where no lock keeps others away, end a run that another one has finished, or whose tables it has changed.

    WarehouseBusyError for a run whose lease was lost: that is why another one came.
    """
    run.warehouse.before_commit()
    alone = "let the scheduler start one run at a time"
    if manifest.run_id not in {left.run_id for left in unfinished(run.warehouse)}:
        raise ConflictError(
            f"another run took this one for one that was cut off, and finished it from its stage: {alone}. Its metrics "
            "are with those of that run, and there is nothing left to do"
        )
    now = run.warehouse.versions(MOVED_TABLES)
    if moved := _moved({name: manifest.versions[name] for name in now}, now):
        error = ConflictError(
            f"another writer has changed the tables since this run compared its records with them: {moved}. No table "
            f"was changed by this run; {alone}, and run the job again"
        )
        results = all_rule_results(run, batch, missing_counts(batch))
        write_run(run.warehouse, RunEntry(manifest, FAILED, run.metrics, {}, {}, str(error), results))
        raise error


def _moved(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    """The tables that are no longer at the version `before`, in words; empty when none has moved."""
    names = [table.name for table in PUBLISHED_TABLES if table.name in before]
    moved = [name for name in names if now[name] != before[name]]
    return ", ".join(f"{name} from version {before[name]} to {now[name]}" for name in moved)


def apply_batch(run: Run, manifest: RunManifest, batch: Batch, metrics: Metrics, *, is_retry: bool = False) -> None:
    """Bring a stage into the tables: orders, members, quarantine; then what is computed from them; then the ledger.

    With `is_retry` the stage was there already: an earlier try may have come to any step.
    """
    warehouse = run.warehouse
    orders = batch.of("orders")
    with step("before"):
        if not is_retry and not warehouse.is_locked:
            _refuse_if_overtaken(run, manifest, batch)
        rows_before = rows_at(warehouse, manifest.versions, run.ledger.tables)
    with temporary_settings(run.spark, MERGED_FROM_VALUES if batch.stage.is_held else {}):
        results = concurrently(
            orders=partial(_apply_orders, batch),
            rejected=partial(_settle_entries if manifest.is_replay else _quarantine, batch, run.rules),
            **{dataset: partial(_apply_members, batch, dataset, is_retry=is_retry) for dataset in DIMENSIONS},
        )
    inferred = {dataset: results[dataset] for dataset in DIMENSIONS}
    dates = _apply_aggregates(batch)
    if run.settings.telling.report:
        with step("sales"):
            metrics.sales = tell_sales(batch, dates)
    if run.settings.quality.invariants != "off":
        metrics.gates = [*metrics.gates, invariant_gate(run, dates)]
    with step("ledger"):
        before = manifest.versions
        # Of a run that was cut off nobody knows any more into which tables it wrote.
        written = [table for table in PUBLISHED_TABLES if is_retry or table.name in warehouse.written]
        after = {**before, **warehouse.versions(written)}
        rows = warehouse.rows(PUBLISHED_TABLES) if is_retry else rows_after(warehouse, rows_before, before, after)
        metrics.tell_input(order_metrics(batch, rows), manifest)
        metrics.status, metrics.inferred = DONE, inferred
        if is_held(metrics.gates):
            metrics.publish, metrics.held_by = HELD, [manifest.run_id]
        if manifest.is_replay:
            metrics.replayed = orders.records - orders.outcomes["rejected"]
        changed = [table for table in PUBLISHED_TABLES if after[table.name] != before[table.name]]
        files = {table.name: warehouse.files_changed(table, before[table.name], after[table.name]) for table in changed}
        metrics.tables = table_metrics(rows_before, rows, before, after, files)
        entry = RunEntry(
            manifest,
            DONE,
            metrics,
            before,
            after,
            rules=all_rule_results(run, batch, inferred),
            files=batch.files,
            tables_left={} if is_retry else tables_left(warehouse, ORDER_TABLES, rows),
            gates=metrics.gates,
        )
        write_run(warehouse, entry, again=is_retry)


def _apply_orders(batch: Batch) -> None:
    applied = batch.of("orders").applied
    with step("fact_sales", orders=applied) as counts:
        counts["orders"] = applied
        apply_fact_sales(batch)
    with step("dim_order", orders=applied) as counts:
        counts["orders"] = applied
        apply_dim_order(batch)


def _quarantine(batch: Batch, rules: RuleBook) -> None:
    with step("quarantine") as counts:
        counts["records"] = sum(dataset.outcomes["rejected"] for dataset in batch.datasets.values())
        apply_quarantine(batch, rules)


def _settle_entries(batch: Batch, rules: RuleBook) -> None:
    with step("entries") as counts:
        counts["records"] = batch.of("orders").records
        settle_replays(batch, rules)


def _apply_members(batch: Batch, dataset: str, *, is_retry: bool) -> int:
    """A dimension; gives how many members it inferred."""
    with step(DIMENSIONS[dataset].name) as counts:
        counts["records"] = batch.of(dataset).applied
        counts["inferred"] = inferred = apply_members(batch, dataset, is_retry=is_retry)
    return inferred


def _apply_aggregates(batch: Batch) -> set[date]:
    """Daily sales; gives the dates that the batch has touched."""
    with step("daily_sales", dates=len(batch.dates)) as counts:  # members may add some to them
        dates = touched_dates(batch)
        counts["dates"] = len(dates)
        apply_daily_sales(batch, dates)
    return dates
