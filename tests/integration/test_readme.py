"""The commands of the README and the tutorial, run in their order; the SQL of the docs, run on the sample's tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import ETL_FILES, ETL_RUNS
from jobs import query
from tests.integration.conftest import Readme
from tests.integration.test_orders_job import outcomes
from tests.job import Job
from tests.readme import README, ROOT, blocks

METRICS = ROOT / "docs" / "reference" / "metrics.md"
QUERIES = [sql for page in sorted((ROOT / "docs" / "how-to").glob("*.md")) for sql in blocks(page, "sql")]


def shown(text: str) -> set[str]:
    """The lines of a summary that are the same in every run: rows of its tables, conflicts and drift."""
    lines = {line.strip() for line in text.splitlines()}
    return {line for line in lines if line.startswith(("│", "Conflicts", "Schema drift"))}


def test_the_commands_of_the_readme_work_in_their_order(readme: Readme) -> None:
    first, again, rows, listed, plan, applied, checked, compacted, features, filled = readme.commands
    pasted = shown(blocks(README, "text")[0])
    assert pasted
    assert pasted - shown(first.printed) == set()
    assert "Nothing new" in again.printed
    assert "TEA-GREEN" in rows.printed
    assert "3 of 3 entries" in listed.printed
    assert "The plan changed no table" in plan.printed
    assert "5" in next(line for line in applied.printed.splitlines() if "updated" in line)
    assert "lines_are_complete" in checked.printed
    assert "files before" in compacted.printed
    assert "2020-11-30" in features.printed
    assert "2020-11-23" in filled.printed


def test_a_plan_is_shown_and_changes_no_table_until_it_is_applied_once(
    readme: Readme, capsys: pytest.CaptureFixture[str]
) -> None:
    before, plan, applied = readme.commands[3:6]
    run_id, later = plan.metrics["run_id"], readme.later
    assert f"Plan {run_id}" in plan.printed
    assert "2 to insert, 5 to update" in plan.printed
    assert "~ M-4001: order_date 2024-05-03 -> 2024-05-04, version_at" in plan.printed
    assert "~ B-2002: amount 56.8000 -> 34.0000, line_count 3 -> 1, version_at" in plan.printed
    assert "fact_sales: 3 of 4 files hold rows that change" in plan.printed
    assert plan.files_of_data() == before.files_of_data()
    assert plan.files != before.files

    assert (applied.metrics["run_id"], applied.metrics["status"], outcomes(later)["updated"]) == (run_id, "done", 5)
    assert applied.files_of_data() != plan.files_of_data()
    entered = later.read(ETL_RUNS).where(F.col("run_id") == run_id)
    assert [row["status"] for row in entered.collect()] == ["done"]
    loaded = {Path(row["path"]).name for row in later.read(ETL_FILES).where(F.col("run_id") == run_id).collect()}
    assert loaded == {"2024-05-06.jsonl", "users_later.csv"}

    versions = later.versions()
    assert later.run("--apply", run_id) == 1
    assert "applied already" in capsys.readouterr().err
    assert later.metrics() == applied.metrics  # a run that was refused has none of its own
    assert later.versions() == versions


def test_every_metric_is_explained(sample_job: Job) -> None:
    explained = METRICS.read_text(encoding="utf-8")
    assert [key for key in sample_job.metrics() if f"`{key}`" not in explained] == []


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_the_sql_of_the_docs_runs(
    sample_job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    file = tmp_path / "query.sql"
    file.write_text(QUERIES[number], encoding="utf-8")
    assert query.main([str(file), "--set", f"warehouse={sample_job.root / 'warehouse'}", "--csv"]) == 0
    assert capsys.readouterr().out
