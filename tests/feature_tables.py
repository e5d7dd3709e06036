"""What a run of value_props left, exactly as the oracle of the features has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pyspark.sql import functions as F

from etl_lib.reading.datasets import EVENT_DATASETS as DATASETS
from etl_lib.tables.schemas import DQ_RESULTS, QUARANTINE, VALUE_PROP_FEATURES
from tests.feature_oracle import Features, Options, Row, used_days
from tests.job import FeatureJob

ABOUT_WEEKS = ("target_week_complete", "week_has_prints", "week_not_thin")
ABOUT_IDS = "user_ids_alike"
TARGET_WEEK = {"reference": "latest", "last_complete": "last_complete"}


def options_of(options: Options) -> list[str]:
    """The command line that asks for what the oracle is asked for."""
    days = {"--as-of": options.as_of, "--from": options.first, "--to": options.last}
    given = [part for name, day in days.items() if day is not None for part in (name, day.isoformat())]
    target_week = TARGET_WEEK[options.target_week]
    settings = (f"window={options.window}", f"window_weeks={options.window_weeks}", f"target_week={target_week}")
    return ["--set", *settings, *given]


def assert_features(job: FeatureJob, expected: Features, options: Options) -> None:
    """Metrics, rows of the target weeks, final.csv and the results of the rules equal those of the oracle."""
    metrics = job.metrics()
    assert metrics["status"] == "done"
    wanted = _counts(expected) | _windows(expected, options) | _rows(expected)
    assert {name: metrics[name] for name in wanted} == wanted
    kind = (options.window, options.window_weeks)
    in_weeks = job.read(VALUE_PROP_FEATURES).where(F.col("week").isin(*expected.target_weeks))
    assert Counter(map(tuple, in_weeks.collect())) == Counter((*row, *kind) for row in expected.rows)
    assert job.final_csv.decode() == expected.final_csv()
    assert _failed(job, metrics["run_id"]) == {
        (dataset, rule): (getattr(expected, dataset).records, failed)
        for dataset in DATASETS
        for rule, failed in getattr(expected, dataset).broken.items()
    }


def table_rows(job: FeatureJob, *weeks: object) -> Counter[Row]:
    """The rows of some weeks, or of all, each with how often it stands in the table; without the kind of window."""
    found = job.read(VALUE_PROP_FEATURES).drop("window", "window_weeks")
    wanted = found.where(F.col("week").isin(*weeks)) if weeks else found
    return Counter(tuple(row) for row in wanted.collect())


def files_of_week(job: FeatureJob, week: object) -> set[str]:
    """The names of all files that the table ever had of a week."""
    return {path.name for path in (job.root / "warehouse" / VALUE_PROP_FEATURES.name / f"week={week}").iterdir()}


def assert_quarantined_lines_stand_where_it_says(job: FeatureJob) -> None:
    """Each entry has the exact text of the line at its position, and every rejected record has an entry."""
    entries = job.read(QUARANTINE).where(F.col("source_file").startswith(f"file:{job.landing}/"))
    found = entries.withColumn("raw", F.col("raw").cast("binary")).collect()
    for entry in found:
        lines = Path(entry["source_file"].removeprefix("file:")).read_bytes().split(b"\n")
        line = lines[entry["position"] - 1].removesuffix(b"\r")
        assert line == bytes(entry["raw"]), (entry["source_file"], entry["position"])
    occurrences = Counter[str]()
    for entry in found:
        occurrences[entry["dataset"]] += entry["occurrences"]
    metrics = job.metrics()
    assert occurrences == {name: n for name in DATASETS if (n := metrics[f"rejected_{name}"])}


def _counts(expected: Features) -> dict[str, object]:
    found: dict[str, object] = {"blank_lines": sum(getattr(expected, dataset).blank for dataset in DATASETS)}
    for name in DATASETS:
        dataset = getattr(expected, name)
        found |= {
            f"input_{name}": dataset.records,
            f"valid_{name}": dataset.valid,
            f"rejected_{name}": dataset.rejected,
            f"duplicate_{name}": dataset.duplicates,
        }
    return found


def _windows(expected: Features, options: Options) -> dict[str, object]:
    first_day, last_day = used_days(options, expected.target_weeks)
    return {
        "reference_date": str(expected.reference_date),
        "target_week": str(expected.target_weeks[-1]),
        "target_week_complete": expected.complete[expected.target_weeks[-1]],
        "target_weeks": [str(week) for week in expected.target_weeks],
        "window": options.window,
        "window_weeks": options.window_weeks,
        "window_first_day": str(first_day),
        "window_last_day": str(last_day),
        "pays_before_windows": expected.pays_before,
        "pays_after_windows": expected.pays_after,
    }


def _rows(expected: Features) -> dict[str, object]:
    rows = Counter(row[0] for row in expected.rows)
    clicked = Counter(row[0] for row in expected.rows if row[5])
    return {
        "rows": rows.total(),
        "clicked_rows": clicked.total(),
        "weeks": {str(week): {"rows": rows[week], "clicked_rows": clicked[week]} for week in expected.target_weeks},
    }


def _failed(job: FeatureJob, run_id: str) -> dict[tuple[str, str], tuple[int, int]]:
    """How many records were checked and how many broke it, of each rule about records that any record broke."""
    results = job.read(DQ_RESULTS).where((F.col("run_id") == run_id) & (F.col("failed") > 0)).collect()
    return {
        (row["dataset"], row["rule"]): (row["checked"], row["failed"])
        for row in results
        if row["rule"] not in (*ABOUT_WEEKS, ABOUT_IDS)
    }
