"""The sample data of value_props does what its README says: the README's tables and files are the expected values."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from etl_lib.reading.datasets import EVENT_DATASETS as DATASETS
from etl_lib.settings.rules import STRUCTURAL, RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.tables.schemas import DQ_RESULTS, ETL_FILES, ETL_RUNS, QUARANTINE
from tests.feature_tables import ABOUT_IDS, ABOUT_WEEKS, assert_quarantined_lines_stand_where_it_says
from tests.integration.conftest import SAMPLE_DATA, FeatureRun, FeatureSample
from tests.job import FeatureJob

FOLDER = SAMPLE_DATA / "value_props"
FILES = {"prints": "prints.jsonl", "taps": "taps.jsonl", "pays": "pays.csv"}
RULE_BOOK = load_settings(RuleBook, SAMPLE_DATA.parent / "conf" / "rules.yaml")
PUBLISHED = pa.schema(
    [
        ("day", pa.date32()),
        ("user_id", pa.string()),
        ("position", pa.int32()),
        ("value_prop", pa.string()),
        ("clicked", pa.int32()),
        ("views_3w", pa.int64()),
        ("clicks_3w", pa.int64()),
        ("payments_3w", pa.int64()),
        ("amount_3w", pa.decimal128(38, 4)),
    ]
)


@dataclass(frozen=True)
class Readme:
    """The rows of each table by the heading above it, cells without backticks; and the text of each CSV block."""

    tables: dict[str, list[list[str]]]
    blocks: dict[str, str]


def readme() -> Readme:
    tables: dict[str, list[list[str]]] = {}
    blocks: dict[str, str] = {}
    heading, in_block = "", False
    for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            in_block = line == "```csv"
        elif in_block:
            blocks[heading] = blocks.get(heading, "") + line + "\n"
        elif line.startswith("### "):
            heading = line.removeprefix("### ").replace("`", "")
        elif line.startswith("| "):
            tables.setdefault(heading, []).append([cell.strip().replace("`", "") for cell in line[1:-1].split("|")])
    return Readme({heading: rows[1:] for heading, rows in tables.items()}, blocks)


README = readme()


def told(dataset: str) -> dict[int, tuple[str, set[str]]]:
    """What the README says of the lines of a file that are out of the ordinary: their outcome and broken rules."""
    return {
        int(line): (outcome, set(filter(None, rules.split(", "))))
        for line, _case, outcome, rules in README.tables[FILES[dataset]]
    }


def total(name: str, dataset: str) -> int:
    rows = {row[0]: dict(zip(DATASETS, row[1:], strict=True)) for row in README.tables["Totals"]}
    return int(rows[name][dataset])


@dataclass(frozen=True)
class Seen(FeatureRun):
    """A run with what the README has of it."""

    target_week: date
    heading: str
    pays_column: int


@pytest.fixture(scope="module")
def sample(feature_sample: FeatureSample) -> FeatureJob:
    return feature_sample.job


@pytest.fixture(scope="module")
def both(feature_sample: FeatureSample) -> tuple[Seen, Seen]:
    """The run without options, and the one for an earlier week."""
    return (
        Seen(**vars(feature_sample.latest), target_week=date(2020, 11, 30), heading="final.csv", pays_column=1),
        Seen(
            **vars(feature_sample.earlier),
            target_week=date(2020, 11, 23),
            heading="final.csv with --as-of 2020-11-25",
            pays_column=2,
        ),
    )


def test_final_csv_is_that_of_the_readme_byte_for_byte(both: tuple[Seen, Seen]) -> None:
    for run in both:
        assert run.final_csv == README.blocks[run.heading]


def test_final_parquet_has_the_same_rows_with_exact_types(both: tuple[Seen, Seen]) -> None:
    for run in both:
        assert [(field.name, field.type) for field in run.parquet.schema] == [(f.name, f.type) for f in PUBLISHED]
        assert [tuple(row.values()) for row in run.parquet.to_pylist()] == list(published(run))


def test_the_table_has_the_rows_of_both_weeks(both: tuple[Seen, Seen]) -> None:
    first, earlier = both
    week_of_first = Counter((first.target_week, *row) for row in published(first))
    assert first.rows == week_of_first
    assert earlier.rows == week_of_first + Counter((earlier.target_week, *row) for row in published(earlier))


def published(run: Seen) -> Iterator[tuple[Any, ...]]:
    """The rows of final.csv in the README, as values."""
    rows = csv.reader(README.blocks[run.heading].splitlines())
    assert next(rows) == PUBLISHED.names
    for day, user_id, position, value_prop, *numbers, amount in rows:
        place = int(position) if position else None
        yield date.fromisoformat(day), user_id, place, value_prop, *map(int, numbers), Decimal(amount)


def test_the_rejected_lines_are_those_of_the_readme_with_their_rules(sample: FeatureJob) -> None:
    expected = {}
    for dataset in DATASETS:
        warnings = {name for name, rule in RULE_BOOK.of(dataset).items() if rule.severity == "warn"}
        lines = {line: rules - warnings for line, (outcome, rules) in told(dataset).items() if outcome == "rejected"}
        expected |= {(dataset, line): rules for line, rules in lines.items()}
    entries = sample.read(QUARANTINE).where(F.col("dataset").isin(*DATASETS)).collect()
    found = {(entry["dataset"], entry["position"]): {r["rule"] for r in entry["reasons"]} for entry in entries}
    assert found == expected
    assert len(entries) == len(expected)
    messages = {(e["dataset"], r["rule"]): r["message"] for e in entries for r in e["reasons"]}
    for (dataset, rule), message in messages.items():
        assert message == (STRUCTURAL[rule] if rule in STRUCTURAL else RULE_BOOK.of(dataset)[rule].message)


def test_the_quarantine_is_not_doubled_by_the_second_run(sample: FeatureJob, both: tuple[Seen, Seen]) -> None:
    first, earlier = both
    assert_quarantined_lines_stand_where_it_says(sample)
    assert first.versions["quarantine"] == earlier.versions["quarantine"]
    entries = sample.read(QUARANTINE).where(F.col("dataset").isin(*DATASETS)).collect()
    runs = {(row["first_run_id"], row["last_run_id"]) for row in entries}
    assert runs == {(first.metrics["run_id"], first.metrics["run_id"])}


def test_the_rules_were_broken_as_often_as_the_readme_tells(sample: FeatureJob, both: tuple[Seen, Seen]) -> None:
    broken = {dataset: Counter(rule for _, rules in told(dataset).values() for rule in rules) for dataset in DATASETS}
    for run in both:
        assert {name: counts["rules"] for name, counts in run.metrics["datasets"].items()} == broken
        results = sample.read(DQ_RESULTS).where(F.col("run_id") == run.metrics["run_id"]).collect()
        found = {
            (row["dataset"], row["rule"]): (row["checked"], row["failed"])
            for row in results
            if row["rule"] not in (*ABOUT_WEEKS, ABOUT_IDS)
        }
        assert {name: failed for name, (_, failed) in found.items() if failed} == {
            (dataset, rule): failed for dataset, rules in broken.items() for rule, failed in rules.items()
        }
        assert {name: checked for name, (checked, _) in found.items()} == {
            (dataset, rule): total("records", dataset) for dataset, rule in found
        }
        assert len(found) == len(results) - len(ABOUT_WEEKS) - len(DATASETS)
        about_ids = {row["dataset"]: (row["checked"], row["failed"]) for row in results if row["rule"] == ABOUT_IDS}
        assert about_ids == {name: (run.metrics[f"valid_{name}"], 0) for name in DATASETS}
        assert {rule for dataset, rule in found if dataset == "pays"} > set(RULE_BOOK.pays)


def test_samples_name_users_and_no_values(sample: FeatureJob, both: tuple[Seen, Seen]) -> None:
    results = sample.read(DQ_RESULTS).where(F.col("run_id") == both[0].metrics["run_id"]).collect()
    samples = {(row["dataset"], row["rule"]): row["samples"] for row in results if row["samples"]}
    assert samples["pays", "total_not_negative"] == ["102"]
    assert samples["prints", "target_week_complete"] == ["2020-11-30"]
    assert samples["pays", "day_given"] == ["104"]
    assert ("prints", "malformed_json") not in samples


def test_the_metrics_are_the_totals_of_the_readme(both: tuple[Seen, Seen]) -> None:
    for run in both:
        for dataset in DATASETS:
            counts = {
                "records": run.metrics[f"input_{dataset}"],
                "valid": run.metrics[f"valid_{dataset}"],
                "rejected": run.metrics[f"rejected_{dataset}"],
                "duplicates": run.metrics[f"duplicate_{dataset}"],
            }
            assert counts == {name: total(name, dataset) for name in counts}
            assert counts["records"] == counts["valid"] + counts["rejected"]
            assert run.metrics["datasets"][dataset]["records"] == counts["records"]
        assert run.metrics["blank_lines"] == sum(total("blank lines", dataset) for dataset in DATASETS)
        assert run.metrics["repeated_headers"] == 1
        before, after = ((name, int(row[run.pays_column])) for name, row in _pays_outside().items())
        assert before == ("before the windows", run.metrics["pays_before_windows"])
        assert after == ("after the windows", run.metrics["pays_after_windows"])


def _pays_outside() -> dict[str, list[str]]:
    return {row[0]: row for row in README.tables["Pays outside the windows"]}


def test_the_summary_is_the_metrics_as_one_line_of_json(both: tuple[Seen, Seen]) -> None:
    promised = {"input_prints", "input_taps", "input_pays", "rejected_prints", "rejected_taps", "rejected_pays"}
    promised |= {"rows", "target_week", "reference_date", "clicked_rows", "target_week_complete"}
    _, earlier = both
    assert earlier.printed.count("\n") == 1
    summary = json.loads(earlier.printed)
    assert summary == earlier.metrics
    assert promised <= set(summary)


def test_the_weeks_and_windows_are_those_of_the_readme(sample: FeatureJob, both: tuple[Seen, Seen]) -> None:
    names = ("reference_date", "target_week", "target_weeks", "target_week_complete", "rows", "clicked_rows")
    for run, reference, complete in zip(both, ("2020-11-30", "2020-11-25"), (False, True), strict=True):
        rows = list(published(run))
        week, clicked = str(run.target_week), sum(row[4] for row in rows)
        expected = (reference, week, [week], complete, len(rows), clicked)
        assert tuple(run.metrics[name] for name in names) == expected
        assert run.metrics["weeks"] == {week: {"rows": len(rows), "clicked_rows": clicked}}
        assert run.metrics["window_first_day"] == str(run.target_week - timedelta(weeks=3))
        assert run.metrics["window_last_day"] == str(run.target_week - timedelta(days=1))
        assert (run.metrics["window"], run.metrics["window_weeks"]) == ("calendar", 3)
        output = sample.landing.parents[1] / "output"  # of the folder where the commands ran
        assert run.metrics["files"] == [f"{output}/value_props/{name}" for name in ("final.csv", "final.parquet")]
    first, earlier = both
    assert first.metrics["warnings"] == ["the prints do not cover the target week to its Sunday: 2020-11-30"]
    assert earlier.metrics["warnings"] == []


def test_a_field_that_nobody_knows_is_reported(both: tuple[Seen, Seen]) -> None:
    drift = {name: counts["unknown_fields"] for name, counts in both[0].metrics["datasets"].items()}
    assert drift == {"prints": {"event_data.campaign": 1}, "taps": {}, "pays": {}}


def test_the_ledger_has_the_files_and_both_runs(sample: FeatureJob, both: tuple[Seen, Seen]) -> None:
    first, earlier = both
    files = {row["dataset"]: row for row in sample.read(ETL_FILES).collect()}
    for dataset, name in FILES.items():
        row = files[dataset]
        path = Path(row["path"].removeprefix("file:"))
        assert (path.name, row["size"], row["records"]) == (name, path.stat().st_size, total("records", dataset))
        assert row["run_id"] == first.metrics["run_id"]
    assert [row["max_version_at"].date() for row in (files["prints"], files["pays"])] == [
        date(2020, 11, 30),
        date(2020, 12, 2),
    ]
    assert files["prints"]["min_version_at"].date() == date(2020, 10, 25)
    runs = sample.read(ETL_RUNS).where("job = 'value_props'").orderBy("started_at").collect()
    assert [(row["run_id"], row["status"], row["arguments"]) for row in runs] == [
        (first.metrics["run_id"], "done", []),
        (earlier.metrics["run_id"], "done", ["--as-of", "2020-11-25", "--json"]),
    ]
    assert json.loads(runs[0]["metrics"])["rows"] == first.metrics["rows"]
    for row, run in zip(runs, both, strict=True):
        changed = row["versions_after"]
        assert changed == {name: run.versions[name] for name in ("value_prop_features", "quarantine")}
    assert earlier.versions["value_prop_features"] == first.versions["value_prop_features"] + 1


def test_one_file_of_each_kind_is_all_that_is_published(sample: FeatureJob) -> None:
    names = {path.name for path in (sample.output / "value_props").iterdir()}
    assert names == {"final.csv", "final.parquet"}
