"""The sample data does what its README says, record by record: the README's tables are the expected values."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import functions as F

from etl_lib.deciding.counts import BLANK
from etl_lib.deciding.outcomes import OUTCOMES
from etl_lib.settings.rules import RuleBook
from etl_lib.settings.strict_model import load_settings
from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, ETL_STAGE, FACT_SALES, QUARANTINE
from tests.frames import assert_same, frame
from tests.integration.conftest import SAMPLE_DATA, Readme
from tests.job import Job

LATER_FILES = ("later/2024-05-06.jsonl", "users_later.csv")
PUBLISHED = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT, DAILY_SALES, QUARANTINE)
SAME_AS_LINE_2 = ("orders/2024-05-03.jsonl", 14)

Place = tuple[str, int]
"""A file and the line or element in it."""


def readme_tables() -> dict[str, list[list[str]]]:
    """The rows below the header of each table in the README, by the heading above it; cells without backticks."""
    tables: dict[str, list[list[str]]] = {}
    heading = ""
    for line in (SAMPLE_DATA / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        elif line.startswith("| "):
            tables.setdefault(heading, []).append([cell.strip().replace("`", "") for cell in line[1:-1].split("|")])
    return {heading: rows[1:] for heading, rows in tables.items()}


README = readme_tables()


def told(*, later: bool) -> dict[Place, tuple[str, str, set[str]]]:
    """What the README says of each record of the first or the later run: its key, outcome and broken rules."""
    files = [name for name in README if name.endswith((".jsonl", ".json", ".csv")) and (name in LATER_FILES) == later]
    return {
        (name, int(place)): (key, outcome, set(filter(None, rules.split(", "))))
        for name in files
        for place, key, _case, outcome, rules, _becomes in README[name]
    }


def numbers(heading: str, column: int) -> dict[str, int]:
    """One column of a table of totals, by the name in its first column."""
    return {row[0]: int(row[column]) for row in README[heading]}


def place(job: Job, source_file: str, position: int) -> Place:
    return source_file.partition(f"{job.landing}/")[2], position


def staged(job: Job, data: Job, run_id: str) -> dict[Place, tuple[str | None, str, set[str]]]:
    """What the stage of a run says of each record: its key, outcome and broken rules, without warnings if rejected.

    A file this small is read by one task: its rows, blank lines included, are numbered from its first.
    """
    book = load_settings(RuleBook, SAMPLE_DATA.parent / "conf" / "rules.yaml")
    found = {}
    rows = job.read(ETL_STAGE).where((F.col("run_id") == run_id) & F.col("row").isNotNull()).collect()
    first_rows: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row["row"]):
        first_rows.setdefault(row["source_file"], row["row"] if row["block"] == 0 else 1)
    for row in rows:
        if row["outcome"] == BLANK:
            continue
        rules = set(row["broken_rules"])
        if row["outcome"] == "rejected":
            rules -= {name for name, rule in book.of(row["dataset"]).items() if rule.severity == "warn"}
        position = row["row"] - first_rows[row["source_file"]] + 1 if row["block"] == 0 else row["row"]
        found[place(data, row["source_file"], position)] = (row["key"], row["outcome"], rules)
    return found


@pytest.fixture(scope="module")
def later_job(readme: Readme) -> Job:
    """The tables after the later run, which the README plans and applies."""
    return readme.later


@pytest.fixture(scope="module")
def later(later_job: Job) -> dict[str, Any]:
    """The metrics of the later run."""
    return later_job.metrics()


def agree(
    found: dict[Place, tuple[str | None, str, set[str]]], expected: dict[Place, tuple[str, str, set[str]]]
) -> None:
    """The same records, each with the same outcome and rules; a record that was not parsed has no key."""
    assert {at: value[1:] for at, value in found.items()} == {at: value[1:] for at, value in expected.items()}
    assert {at: key for at, (key, _, _) in found.items() if key} == {
        at: key for at, (key, _, _) in expected.items() if found[at][0]
    }


def test_every_record_of_the_first_run_has_the_outcome_and_the_rules_in_the_readme(sample_job: Job) -> None:
    agree(staged(sample_job, sample_job, sample_job.metrics()["run_id"]), told(later=False))


def test_every_record_of_the_later_run_has_the_outcome_and_the_rules_in_the_readme(
    sample_job: Job, later_job: Job, later: dict[str, Any]
) -> None:
    agree(staged(later_job, sample_job, later["run_id"]), told(later=True))


def test_the_quarantine_holds_the_rejected_records_with_their_position(sample_job: Job) -> None:
    expected = {at: rules for at, (_, outcome, rules) in told(later=False).items() if outcome == "rejected"}
    assert expected.pop(SAME_AS_LINE_2) == {"malformed_json"}
    entries = sample_job.read(QUARANTINE).select("source_file", "position", "occurrences", "reasons.rule").collect()
    found = {place(sample_job, row["source_file"], row["position"]): set(row["rule"]) for row in entries}
    assert found == expected
    assert sum(row["occurrences"] for row in entries) == len(entries) + 1


def test_outcomes_add_up_to_the_totals_in_the_readme(sample_job: Job, later: dict[str, Any]) -> None:
    columns = [("orders", sample_job.metrics()), ("users", sample_job.metrics()), ("products", sample_job.metrics())]
    for column, (dataset, metrics) in enumerate([*columns, ("orders", later), ("users", later)], start=1):
        counts = metrics["datasets"][dataset]
        assert {**counts["outcomes"], "records": counts["records"]} == numbers("Records by outcome", column)
    assert set(numbers("Records by outcome", 1)) == {*OUTCOMES, "records"}


def test_metrics_are_those_in_the_readme(sample_job: Job, later: dict[str, Any]) -> None:
    first = sample_job.metrics()
    for column, metrics in ((1, first), (2, later)):
        expected = numbers("Metrics", column)
        assert {name: metrics[name] for name in expected} == expected
    assert first["conflict_orders"] == ["B-2002"]
    assert list(first["datasets"]["orders"]["unknown_fields"]) == ["gift_note", "items.tin", "metadata.campaign"]
    assert list(first["datasets"]["users"]["unknown_fields"]) == ["address"]


def test_tables_have_the_rows_in_the_readme(sample_job: Job, later_job: Job, later: dict[str, Any]) -> None:
    assert later["status"] == "done"
    assert sample_job.tables.rows(PUBLISHED) == numbers("Rows of each table", 1)
    assert later_job.tables.rows(PUBLISHED) == numbers("Rows of each table", 2)


def test_the_same_command_again_finds_nothing_new_and_changes_no_table(readme: Readme) -> None:
    first, again = readme.commands[:2]
    assert (again.metrics["status"], again.metrics["input_orders"], again.metrics["datasets"]) == ("done", 0, {})
    assert again.metrics["run_id"] != first.metrics["run_id"]
    assert again.files == first.files


def test_later_versions_delete_lines_move_days_and_keep_deletions(later_job: Job, later: dict[str, Any]) -> None:
    assert later["dates"] == ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04", "2024-05-06"]
    orders = ("A-1001", "A-1005", "B-2002", "B-2007", "M-4001")
    lines = later_job.read(FACT_SALES).where(F.col("order_id").isin(*orders))
    columns = "order_id STRING, line_no INT, order_date DATE, qty INT, unit_price DECIMAL(18,4)"
    expected = frame(
        later_job.spark,
        columns,
        ("A-1001", 1, date(2024, 5, 1), 3, Decimal("12.5")),
        ("A-1001", 2, date(2024, 5, 1), 1, Decimal(18)),
        ("B-2002", 1, date(2024, 5, 2), 1, Decimal(34)),
        ("M-4001", 1, date(2024, 5, 4), 2, Decimal("3.75")),
        ("M-4001", 2, date(2024, 5, 4), 1, Decimal("5.5")),
    )
    assert_same(lines.select(*expected.columns), expected)
    deleted = later_job.read(DIM_ORDER).where("is_deleted").select("order_id", "line_count")
    assert_same(deleted, frame(later_job.spark, "order_id STRING, line_count INT", ("A-1005", 0), ("B-2007", 0)))


def test_daily_sales_adds_up_to_the_lines_after_both_runs(
    sample_job: Job, later_job: Job, later: dict[str, Any]
) -> None:
    assert later["status"] == "done"
    for job in (sample_job, later_job):
        currency = F.coalesce("currency", F.lit("unknown")).alias("currency")
        revenue, units = F.sum("revenue").alias("revenue"), F.sum("units").alias("units")
        days = job.read(DAILY_SALES).groupBy("order_date", "currency").agg(units, revenue)
        amounts = (F.col("qty").cast("bigint").alias("units"), F.coalesce("line_amount", F.lit(0)).alias("revenue"))
        lines = job.read(FACT_SALES).select("order_date", currency, *amounts)
        summed = lines.groupBy("order_date", "currency").agg(units, revenue)
        assert_same(summed.withColumn("revenue", F.col("revenue").cast("decimal(38,4)")), days)
