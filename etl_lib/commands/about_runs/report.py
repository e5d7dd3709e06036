"""The report command: draws the reports of runs again, each from its metrics.json or from the ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence

import pyarrow.fs as pafs
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from etl_lib.commands.entry import read_settings
from etl_lib.process.errors import LakehouseError
from etl_lib.process.output import located, read_bytes
from etl_lib.process.session import open_session
from etl_lib.settings.arguments import RUN_ID
from etl_lib.settings.config import Settings
from etl_lib.settings.report_arguments import parse_report_arguments
from etl_lib.tables.schemas import ETL_RUNS
from etl_lib.tables.warehouse import Warehouse
from etl_lib.telling.metrics_files import metrics_paths
from etl_lib.telling.report import Json, read_states, write_index, write_report


def report(argv: Sequence[str]) -> None:
    """Draw what the command line names, and the index; prints the path of each."""
    arguments = parse_report_arguments(argv)
    settings = read_settings(arguments.config, arguments.overrides)
    run_ids = runs_with_files(settings.output) if arguments.everything else arguments.run_ids
    runs = {run_id: values for run_id in run_ids if (values := metrics_from_file(settings.output, run_id))}
    if arguments.everything:
        runs = metrics_from_ledger(settings, None) | runs
    elif missing := [run_id for run_id in run_ids if run_id not in runs]:
        runs |= metrics_from_ledger(settings, missing)
        if unknown := [run_id for run_id in missing if run_id not in runs]:
            raise LakehouseError(
                f"no metrics of {', '.join(unknown)}: neither in {settings.output}/runs nor in etl_runs of "
                f"{settings.warehouse}; is this the output and the warehouse of that run?"
            )
    states = read_states(settings.output)
    paths = [write_report(settings.output, values, states) for _, values in sorted(runs.items())]
    sys.stdout.write("".join(f"{path}\n" for path in (*paths, write_index(settings.output, states))))


def runs_with_files(output: str) -> list[str]:
    """The ids of the runs that have a folder in the output."""
    system, inner = located(f"{output.rstrip('/')}/runs")
    folders = system.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    return sorted(folder.base_name for folder in folders if RUN_ID.fullmatch(folder.base_name))


def metrics_from_file(output: str, run_id: str) -> Json | None:
    """The metrics that a run has left beside its report; None where it has left none."""
    path = metrics_paths(output, run_id)[1]
    content = read_bytes(path)
    try:
        return None if content is None else {**json.loads(content), "run_id": run_id}
    except (ValueError, TypeError) as error:
        raise LakehouseError(f"{path}: not the metrics of a run: {error}") from error


def metrics_from_ledger(settings: Settings, run_ids: Collection[str] | None) -> dict[str, Json]:
    """The metrics in the rows of etl_runs, by run; of all runs when `run_ids` is None.

    The status is that of the row, which knows what became of the run.
    """
    warehouse = Warehouse(open_session(settings.spark), settings.warehouse)
    try:
        rows = warehouse.read(ETL_RUNS).where(F.col("metrics").isNotNull())
        if run_ids is not None:
            rows = rows.where(F.col("run_id").isin(list(run_ids)))
        found = rows.select("run_id", "job", "status", "message", "metrics").collect()
    except AnalysisException:  # without the ledger's table no run is known there
        return {}
    of_rows: dict[str, Json] = {}
    for row in found:
        own = {name: row[name] for name in ("run_id", "job", "status", "message") if row[name] is not None}
        of_rows[row["run_id"]] = {**json.loads(row["metrics"]), **own}
    return of_rows
