"""One run of value_props after its stage: gates, target weeks, and then the plan or the weeks themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial

import structlog

from etl_lib.applying.quarantine import apply_quarantine
from etl_lib.deciding.bookkeeping import id_results, rule_results
from etl_lib.deciding.gates import accounting_problem, quality_problem, warn_of_drift
from etl_lib.process.concurrently import concurrently
from etl_lib.process.errors import AccountingError, LakehouseError, QualityGateError
from etl_lib.reading.event_records import DATASETS
from etl_lib.run.run import Run, step
from etl_lib.settings.arguments import FeatureArguments
from etl_lib.settings.rules import Rule
from etl_lib.sources.intake import not_loaded
from etl_lib.tables.ledger import DONE, FAILED, PLANNED, LoadedFile, RuleResult, RunEntry, tables_left, write_run
from etl_lib.tables.schemas import FEATURE_TABLES, QUARANTINE, VALUE_PROP_FEATURES
from etl_lib.value_props.apply_features import FILES, publish_file, replace_weeks, written_weeks
from etl_lib.value_props.event_batch import EventBatch, FileCounts, count_duplicates
from etl_lib.value_props.event_staging import Files
from etl_lib.value_props.expectations import WEEK_RULES, week_results
from etl_lib.value_props.feature_report import batch_metrics, feature_metrics, print_plan, warnings, window_metrics
from etl_lib.value_props.weeks import Windows, target_week, week_of, weeks_between

log = structlog.get_logger(__name__)

CHANGED_TABLES = (VALUE_PROP_FEATURES, QUARANTINE)


def pass_gates(run: Run, batch: EventBatch) -> None:
    """Let a batch pass that adds up and is good enough; else enter the run as failed and raise why."""
    run.metrics.tell_input(batch_metrics(batch), run.manifest)
    error = accounting_problem(batch) or quality_problem(run, batch, DATASETS)
    if error is not None:
        _record_failure(run, batch, error)
        raise error
    warn_of_drift(run, batch)


def windows_of(run: Run, batch: EventBatch, arguments: FeatureArguments) -> tuple[date, Windows]:
    """The reference date and the target weeks with their windows; QualityGateError when nothing tells the date."""
    settings, covered_to = run.settings, batch.last_print_day
    reference = arguments.as_of or covered_to or arguments.last
    if reference is None:
        raise _refused(
            run, batch, "no print is valid, so there is no reference date: mend input.prints or give --as-of"
        )
    if arguments.first is None:
        weeks = [target_week(reference, covered_to, settings.target_week)]
    else:
        weeks = weeks_between(arguments.first, arguments.last or reference)
    if not weeks:
        raise _refused(
            run, batch, f"--from {arguments.first} is after the reference date {reference}: give --to as well"
        )
    return reference, Windows(tuple(weeks), settings.window, settings.window_weeks)


def plan_weeks(run: Run, batch: EventBatch, windows: Windows, reference: date) -> None:
    """Show what the run would replace and enter it as a plan; no feature and no file changes."""
    run.metrics.status, run.metrics.windows = PLANNED, window_metrics(batch, windows, reference)
    _warn(run, batch, windows)
    prints = batch.datasets["prints"].days
    now = written_weeks(run.warehouse, windows)
    run.metrics.weeks = {
        week.isoformat(): {
            "rows_now": now[week.isoformat()]["rows"],
            "rows": sum(n for day, n in prints.items() if week_of(day) == week),
        }
        for week in windows.weeks
    }
    versions = run.warehouse.versions(CHANGED_TABLES)
    write_run(run.warehouse, RunEntry(run.manifest, PLANNED, run.metrics, versions, versions))
    if not run.arguments.as_json:
        print_plan(run.metrics, sys.stdout)


def apply_weeks(run: Run, files: Files, batch: EventBatch, windows: Windows, reference: date) -> None:
    """Replace the target weeks in the table, then the files, and the ledger very last.

    Each step replaces or is skipped when it is done, so a run that was cut off is mended by running it again.
    """
    warehouse, metrics, output = run.warehouse, run.metrics, run.settings.output
    with step("quarantine") as told:
        told["records"] = sum(counts.outcomes["rejected"] for counts in batch.datasets.values())
        # To undo a run: its own table. The quarantine goes back with the orders, whose entries it holds, too.
        before = concurrently(
            versions=lambda: warehouse.versions([VALUE_PROP_FEATURES]),
            entries=lambda: apply_quarantine(batch, _rules(run)),
        )["versions"]
    with step("features") as told:
        told["weeks"] = len(windows.weeks)
        duplicates = concurrently(
            weeks=lambda: replace_weeks(batch, windows), duplicates=lambda: count_duplicates(batch.stage)
        )["duplicates"]
    results = [*rule_results(batch, _rules(run)), *_warn(run, batch, windows)]
    with step("publish"):
        done = concurrently(
            weeks=lambda: written_weeks(warehouse, windows),
            versions=lambda: warehouse.versions(CHANGED_TABLES),
            loaded=lambda: _new_files(run, files, batch),
            **{name: partial(publish_file, warehouse, windows, output, name) for name in FILES},
        )
    weeks, versions = done["weeks"], done["versions"]
    _check_weeks(batch, weeks)
    with step("ledger"):
        metrics.windows, metrics.weeks = window_metrics(batch, windows, reference), weeks
        metrics.features = feature_metrics(weeks, duplicates, [done[name] for name in FILES], versions)
        metrics.status = DONE
        entry = RunEntry(
            run.manifest,
            DONE,
            metrics,
            before,
            versions,
            rules=results,
            files=done["loaded"],
            tables_left=tables_left(warehouse, FEATURE_TABLES, {}),
        )
        write_run(warehouse, entry)


def _check_weeks(batch: EventBatch, written: Mapping[str, Mapping[str, int]]) -> None:
    """Every valid print of a target week is a row: not when another run has replaced the stage in between."""
    prints = batch.datasets["prints"].days
    wrong = [
        f"{week}: {counts['rows']} rows of {expected} prints"
        for week, counts in written.items()
        if counts["rows"] != (expected := sum(n for day, n in prints.items() if week_of(day).isoformat() == week))
    ]
    if wrong:
        raise AccountingError(
            "the weeks do not have a row for each print, run the job again, alone:\n  " + "\n  ".join(wrong)
        )


def _new_files(run: Run, files: Files, batch: EventBatch) -> list[LoadedFile]:
    """The file versions that no complete run has."""
    new = []
    for dataset, some in not_loaded(run.warehouse, files).items():
        for file in some:
            counts = batch.files.get((dataset, file.path), FileCounts())
            days = _micros(counts.first_day), _micros(counts.last_day)
            new.append(LoadedFile(dataset, file.path, file.size, file.modified_at, counts.records, *days))
    return new


def _micros(day: date | None) -> int | None:
    return None if day is None else (day - date(1970, 1, 1)) // timedelta(microseconds=1)


def _warn(run: Run, batch: EventBatch, windows: Windows) -> list[RuleResult]:
    results = week_results(batch.datasets["prints"].days, windows, run.settings.min_week_share)
    found = [*warnings(results, WEEK_RULES), *(unlike.told() for unlike in batch.unlike_ids)]
    run.metrics.batch = batch_metrics(batch, found)
    for warning in found:
        log.warning(warning)
    return [*results, *id_results(batch)]


def _refused(run: Run, batch: EventBatch, reason: str) -> QualityGateError:
    error = QualityGateError(reason)
    _record_failure(run, batch, error)
    return error


def _record_failure(run: Run, batch: EventBatch, error: LakehouseError) -> None:
    results = rule_results(batch, _rules(run))
    write_run(run.warehouse, RunEntry(run.manifest, FAILED, run.metrics, {}, {}, str(error), results))


def _rules(run: Run) -> dict[str, Mapping[str, Rule]]:
    return {dataset: run.rules.of(dataset) for dataset in DATASETS}
