"""One run of value_props beside its stage and gates: target weeks, and then the plan or the weeks themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial

import structlog

from etl_lib.applying.quarantine import apply_quarantine
from etl_lib.deciding.counts import Batch
from etl_lib.deciding.results import all_rule_results, event_metrics, record_failure
from etl_lib.process.concurrently import concurrently
from etl_lib.process.errors import AccountingError, QualityGateError
from etl_lib.reading.datasets import EVENT_DATASETS
from etl_lib.run.metric_parts import Counts, FeatureMetrics, WindowMetrics
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.arguments import FeatureArguments
from etl_lib.tables.holds import HELD, is_held
from etl_lib.tables.ledger import DONE, PLANNED, RuleResult, RunEntry, tables_left, write_run
from etl_lib.tables.schemas import FEATURE_TABLES, QUARANTINE, VALUE_PROP_FEATURES
from etl_lib.value_props.apply_features import FILES, count_duplicates, publish_file, replace_weeks, written_weeks
from etl_lib.value_props.expectations import is_complete, warnings, week_results
from etl_lib.value_props.weeks import Windows, target_week, week_of, weeks_between

log = structlog.get_logger(__name__)

CHANGED_TABLES = (VALUE_PROP_FEATURES, QUARANTINE)


def windows_of(run: Run, batch: Batch, arguments: FeatureArguments) -> tuple[date, Windows]:
    """The reference date and the target weeks with their windows; QualityGateError when nothing tells the date."""
    settings, covered_to = run.settings, last_print_day(batch)
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


def last_print_day(batch: Batch) -> date | None:
    """The latest day among the valid prints: to here the data covers its weeks."""
    return max(batch.of("prints").days, default=None)


def plan_weeks(run: Run, batch: Batch, windows: Windows, reference: date) -> None:
    """Show what the run would replace and enter it as a plan; no feature and no file changes."""
    run.metrics.status, run.metrics.windows = PLANNED, window_metrics(batch, windows, reference)
    _warn(run, batch, windows)
    prints = batch.of("prints").days
    now = written_weeks(run.warehouse, windows)
    run.metrics.weeks = {
        week.isoformat(): {
            "rows_now": now[week.isoformat()]["rows"],
            "rows": sum(n for day, n in prints.items() if week_of(day) == week),
        }
        for week in windows.weeks
    }
    versions = run.warehouse.versions(CHANGED_TABLES)
    write_run(run.warehouse, RunEntry(run.manifest, PLANNED, run.metrics, versions, versions, gates=run.metrics.gates))


def apply_weeks(run: Run, batch: Batch, windows: Windows, reference: date) -> None:
    """Replace the target weeks in the table, then the files, and the ledger very last.

    Each step replaces or is skipped when it is done, so a run that was cut off is mended by running it again.
    """
    warehouse, metrics, output = run.warehouse, run.metrics, run.settings.output
    with step("quarantine") as counts:
        counts["records"] = sum(of_it.outcomes["rejected"] for of_it in batch.datasets.values())
        # To undo a run: its own table. The quarantine goes back with the orders, whose entries it holds, too.
        before = concurrently(
            versions=lambda: warehouse.versions([VALUE_PROP_FEATURES]),
            entries=lambda: apply_quarantine(batch, run.rules),
        )["versions"]
    with step("features") as counts:
        counts["weeks"] = len(windows.weeks)
        duplicates = concurrently(
            weeks=lambda: replace_weeks(batch.stage, windows), duplicates=lambda: count_duplicates(batch.stage)
        )["duplicates"]
    results = [*all_rule_results(run, batch, {}), *_warn(run, batch, windows)]
    if is_held(metrics.gates):
        metrics.publish, metrics.held_by = HELD, [run.run_id]
    files = () if metrics.publish else FILES
    with step("publish"):
        done = concurrently(
            weeks=lambda: written_weeks(warehouse, windows),
            versions=lambda: warehouse.versions(CHANGED_TABLES),
            **{name: partial(publish_file, warehouse, windows, output, name) for name in files},
        )
    weeks, versions = done["weeks"], done["versions"]
    _check_weeks(batch, weeks)
    with step("ledger"):
        metrics.windows, metrics.weeks = window_metrics(batch, windows, reference), weeks
        metrics.features = feature_metrics(weeks, duplicates, [done[name] for name in files], versions)
        metrics.status = DONE
        entry = RunEntry(
            run.manifest,
            DONE,
            metrics,
            before,
            versions,
            rules=results,
            files=batch.files,
            tables_left=tables_left(warehouse, FEATURE_TABLES, {}),
            gates=metrics.gates,
        )
        write_run(warehouse, entry)


def _check_weeks(batch: Batch, written: Mapping[str, Mapping[str, int]]) -> None:
    """Every valid print of a target week is a row: not when another run has replaced the stage in between."""
    prints = batch.of("prints").days
    wrong = [
        f"{week}: {counts['rows']} rows of {expected} prints"
        for week, counts in written.items()
        if counts["rows"] != (expected := sum(n for day, n in prints.items() if week_of(day).isoformat() == week))
    ]
    if wrong:
        raise AccountingError(
            "the weeks do not have a row for each print, run the job again, alone:\n  " + "\n  ".join(wrong)
        )


def _warn(run: Run, batch: Batch, windows: Windows) -> list[RuleResult]:
    """Judge the weeks and tell what disappoints; gives the results of the rules about weeks."""
    results = week_results(batch.of("prints").days, windows, run.settings.min_week_share)
    of_weeks = warnings(results)
    for warning in of_weeks:
        log.warning(warning)
    run.metrics.tell_input(event_metrics(batch, [*of_weeks, *(ids.message for ids in batch.unlike_ids)]), run.manifest)
    return results


def _refused(run: Run, batch: Batch, reason: str) -> QualityGateError:
    record_failure(run, batch, reason)
    return QualityGateError(reason)


def window_metrics(batch: Batch, windows: Windows, reference: date) -> WindowMetrics:
    """Which weeks the run is about, and how many pays none of its windows holds."""
    pays, covered_to = batch.of("pays").days, last_print_day(batch)
    return WindowMetrics(
        reference_date=reference.isoformat(),
        target_week=windows.weeks[-1].isoformat(),
        target_week_complete=is_complete(windows.weeks[-1], covered_to),
        target_weeks=[week.isoformat() for week in windows.weeks],
        window=windows.kind,
        window_weeks=windows.length,
        window_first_day=windows.first_day.isoformat(),
        window_last_day=windows.last_day.isoformat(),
        pays_before_windows=sum(n for day, n in pays.items() if day < windows.first_day),
        pays_after_windows=sum(n for day, n in pays.items() if day > windows.last_day),
    )


def feature_metrics(
    weeks: Mapping[str, Counts], duplicates: Counts, files: Sequence[str], versions: Counts
) -> FeatureMetrics:
    """What was written; `duplicates` are the exact ones among the valid records of each dataset."""
    return FeatureMetrics(
        rows=sum(week["rows"] for week in weeks.values()),
        clicked_rows=sum(week["clicked_rows"] for week in weeks.values()),
        **{f"duplicate_{name}": duplicates[name] for name in EVENT_DATASETS},
        files=files,
        versions=versions,
    )
