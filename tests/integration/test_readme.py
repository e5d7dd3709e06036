"""The commands of the README, run for real and in its order; the SQL of the docs, run on the tables of the sample."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import query
from tests.job import Job

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shown(text: str) -> set[str]:
    """The lines of a summary that are the same in every run: rows of its tables, conflicts and drift."""
    lines = {line.strip() for line in text.splitlines()}
    return {line for line in lines if line.startswith(("│", "Conflicts", "Schema drift"))}


def test_the_commands_of_the_readme_work_in_their_order(
    spark: SparkSession,  # noqa: ARG001 - the session that the jobs find
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder with a copy of the data and the queries; `RUN_ID` is the id that the latest run printed."""
    for folder in ("sample_data", "docs/queries"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERS_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("ORDERS_OUTPUT", str(tmp_path / "output"))
    printed = []
    for line in "".join(blocks(README, "bash")).splitlines():
        command, script, *arguments = shlex.split(line)
        assert command == "./spark-submit.sh"
        if "RUN_ID" in arguments:
            latest = json.loads((tmp_path / "output" / "metrics.json").read_text(encoding="utf-8"))["run_id"]
            assert latest in printed[-1]
            arguments = [latest if argument == "RUN_ID" else argument for argument in arguments]
        job = import_module(script.removesuffix(".py").replace("/", "."))
        assert job.main(arguments) == 0, line
        printed.append(capsys.readouterr().out)

    first, again, rows, listed, plan, applied, checked, compacted, features, filled = printed
    pasted = shown(blocks(README, "text")[0])
    assert pasted
    assert pasted - shown(first) == set()
    assert "Nothing new" in again
    assert "TEA-GREEN" in rows
    assert "3 of 3 entries" in listed
    assert "The plan changed no table" in plan
    assert "5" in next(line for line in applied.splitlines() if "updated" in line)
    assert "lines_are_complete" in checked
    assert "files before" in compacted
    assert "2020-11-30" in features
    assert "2020-11-23" in filled


def test_every_metric_is_explained(sample_job: Job) -> None:
    explained = OPERATIONS.read_text(encoding="utf-8").partition("## metrics.json")[2]
    assert [key for key in sample_job.metrics() if f"`{key}`" not in explained] == []


@pytest.mark.parametrize("number", range(len(blocks(OPERATIONS, "sql"))))
def test_the_sql_of_the_docs_runs(
    sample_job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    file = tmp_path / "query.sql"
    file.write_text(blocks(OPERATIONS, "sql")[number], encoding="utf-8")
    assert query.main([str(file), "--set", f"warehouse={sample_job.root / 'warehouse'}", "--csv"]) == 0
    assert capsys.readouterr().out
