"""The metrics of a run of value_props."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from etl_lib.deciding.counts import Batch
from etl_lib.reading.datasets import EVENT_DATASETS
from etl_lib.run.metrics import Counts, FeatureMetrics, WindowMetrics
from etl_lib.tables.ledger import RuleResult
from etl_lib.value_props.expectations import is_complete
from etl_lib.value_props.weeks import Windows


def window_metrics(batch: Batch, windows: Windows, reference: date) -> WindowMetrics:
    """Which weeks the run is about, and how many pays none of its windows holds."""
    pays, covered_to = batch.of("pays").days, max(batch.of("prints").days, default=None)
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


def warnings(results: Sequence[RuleResult], meanings: Mapping[str, str]) -> list[str]:
    """The rules about weeks that are broken, each as a sentence."""
    return [f"{meanings[result.rule]}: {', '.join(result.samples)}" for result in results if result.failed]
