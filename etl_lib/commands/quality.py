"""The quality command: the rules and how a staged batch fared, for those who read Great Expectations."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from etl_lib.commands.frame import read_configuration
from etl_lib.process.errors import ConfigError
from etl_lib.process.lock import local_folder
from etl_lib.process.session import open_session
from etl_lib.process.streams import console_on
from etl_lib.settings.quality_arguments import parse_quality_arguments
from etl_lib.tables.warehouse import Warehouse
from etl_lib.telling.grids import grid_of
from etl_lib.telling.ways import need
from etl_lib.upkeep.expectations import SITE, Checked, check_batch, staged_batch


def export_quality(argv: Sequence[str]) -> None:
    """Tell how the staged records of a run fared by the rules, and keep suites, results and Data Docs by time."""
    arguments = parse_quality_arguments(argv)
    settings, rules = read_configuration(arguments)
    need("gx", "great_expectations", "jobs/quality.py")
    output = local_folder(settings.output)
    if output is None:
        raise ConfigError(f"output: {settings.output} is on no disk of this machine, where Data Docs are written")
    stage = staged_batch(Warehouse(open_session(settings.spark), settings.warehouse), arguments.run_id)
    folder = output / "quality" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    checked = check_batch(stage, rules, folder)
    if arguments.as_json:
        told = {"run_id": stage.run_id, "folder": str(folder), "datasets": [asdict(each) for each in checked]}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _print(stage.run_id, folder, checked)


def _print(run_id: str, folder: Path, checked: Sequence[Checked]) -> None:
    console = console_on(sys.stdout)
    grid = grid_of(f"Run {run_id} by Great Expectations", "dataset", ">records", ">expectations", ">not met", "rules")
    for each in checked:
        numbers = (each.records, each.expectations, len(each.broken))
        grid.add_row(each.dataset, *(f"{number:,}" for number in numbers), ", ".join(each.broken))
    console.print(grid)
    console.print(
        f"Results   {folder / 'results'}\nData Docs {folder / SITE / 'index.html'}", soft_wrap=True, markup=False
    )
