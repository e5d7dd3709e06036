"""The command line of the quality job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etl_lib.process.errors import ConfigError
from etl_lib.settings.arguments import RUN_ID, Arguments, Parser


@dataclass(frozen=True)
class QualityArguments(Arguments):
    """What the quality job was asked to do: `run_id` is None for the last run that has a stage."""

    run_id: str | None


def parse_quality_arguments(argv: Sequence[str]) -> QualityArguments:
    """Read the command line of the quality job; ConfigError says what is wrong with it."""
    parser = Parser("quality", "Tell the rules and their results to Great Expectations.", overrides_at_once=1)
    parser.add_argument("command", choices=("export",), help="make suites, run their checkpoint, and keep the reports")
    parser.add_argument("--run", dest="run_id", metavar="RUN_ID", help="the run whose stage is checked (the last one)")
    parser.add_json("print what was found as one JSON object")
    values = parser.read(argv)
    del values["command"]  # there is just one
    if values["run_id"] is not None and not RUN_ID.fullmatch(values["run_id"]):
        raise ConfigError(f"--run takes the id of a run, not {values['run_id']!r}")
    return QualityArguments(**values)
