"""Reports are drawn again: from metrics.json where there is one, else from the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from etl_lib.commands.about_runs.report import report
from etl_lib.process.errors import LakehouseError
from etl_lib.run.metrics import Metrics
from etl_lib.tables.ledger import RunEntry, RunManifest, write_run
from etl_lib.tables.schemas import ETL_RUNS
from etl_lib.tables.warehouse import Warehouse
from etl_lib.telling.metrics_files import MetricsFiles

FIRST, SECOND, UNKNOWN = (f"20240531T060012Z-{number:06x}" for number in (1, 2, 3))
STARTED = "2024-05-31T06:00:12.000+00:00"


def enter(warehouse: Warehouse, run_id: str, status: str) -> None:
    """A row of the ledger; the metrics in it are those of a run that is done."""
    told = Metrics(run_id, "done", "orders", started_at=STARTED, commit_retries=41)
    write_run(warehouse, RunEntry(RunManifest(run_id, "orders", (), STARTED, is_plan=False), status, told, {}, {}))


@pytest.fixture
def places(spark: SparkSession, tmp_path: Path) -> list[str]:
    """Where two runs are in the ledger: the second was undone, and the first has left a metrics.json of its own."""
    warehouse = Warehouse(spark, str(tmp_path / "warehouse"))
    warehouse.create([ETL_RUNS])
    enter(warehouse, FIRST, "done")
    enter(warehouse, SECOND, "undone")
    MetricsFiles(str(tmp_path)).tell(Metrics(FIRST, "done", "orders", started_at=STARTED, commit_retries=77))
    return ["--set", f"warehouse={tmp_path / 'warehouse'}", "--set", f"output={tmp_path}"]


def test_a_run_is_drawn_from_its_file_or_else_from_its_row_which_knows_what_became_of_it(
    places: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also kills a row that is taken although there is a file, and a status as the run itself had it."""
    report(["--all", *places])
    pages = [tmp_path / "runs" / run_id / "report.html" for run_id in (FIRST, SECOND)]
    assert capsys.readouterr().out.splitlines() == [*map(str, pages), f"{tmp_path}/index.html"]
    first, second = (page.read_text(encoding="utf-8") for page in pages)
    assert 'value="77"' in first
    assert "It no longer counts." in second
    assert 'value="41"' in second
    pages[1].unlink()
    report([SECOND, *places])
    assert pages[1].read_text(encoding="utf-8") == second


def test_a_run_that_nobody_knows_is_named(places: list[str], tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match=f"no metrics of {UNKNOWN}: neither"):
        report([FIRST, SECOND, UNKNOWN, *places])
    with pytest.raises(LakehouseError, match=f"no metrics of {SECOND}: neither"):
        report([FIRST, SECOND, *places, "--set", f"warehouse={tmp_path / 'no warehouse'}"])
    assert not (tmp_path / "index.html").exists()


def test_a_file_that_is_no_metrics_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs" / FIRST / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(LakehouseError, match=f"{path}: not the metrics of a run"):
        report([FIRST, "--set", "warehouse=/nowhere", "--set", f"output={tmp_path}"])
