"""The command line of the report job: which reports are drawn again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etl_lib.process.errors import ConfigError
from etl_lib.settings.arguments import RUN_ID, Parser


@dataclass(frozen=True)
class ReportArguments:
    """What the report job was asked to do: no `run_ids` and not `everything` is the index alone."""

    config: Path
    overrides: tuple[str, ...]
    run_ids: tuple[str, ...]
    everything: bool


def parse_report_arguments(argv: Sequence[str]) -> ReportArguments:
    """Read the command line of the report job; ConfigError says what is wrong with it."""
    parser = Parser("report", "Draw the reports of runs again, and the index of all runs.", overrides_at_once=1)
    parser.add_argument("run_ids", nargs="*", type=_run_id, metavar="RUN_ID", help="a run; none: the index alone")
    parser.add_argument(
        "--all", action="store_true", dest="everything", help="every run that has metrics: as a file, or in etl_runs"
    )
    values = parser.parse_intermixed_args(argv)
    if values.run_ids and values.everything:
        raise ConfigError("--all is every run: leave out the run ids")
    return ReportArguments(values.config, tuple(values.overrides), tuple(values.run_ids), values.everything)


def _run_id(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no run id, such as 20240531T060012Z-c14f8d")
    return text
