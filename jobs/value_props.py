"""The value-props job: from prints, taps and payments, the features that a ranking model learns from.

./spark-submit.sh jobs/value_props.py --as-of 2020-11-25
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/value_props.py` from a checkout finds the package beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from etl_lib.reading.event_records import DATASETS
from etl_lib.run.command import run_command
from etl_lib.run.restore import finish_restores
from etl_lib.run.run import Job, open_run, step
from etl_lib.settings.arguments import parse_feature_arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.config_file import load_settings
from etl_lib.settings.rules import RuleBook
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.new_files import stage_readable
from etl_lib.tables.schemas import FEATURE_TABLES
from etl_lib.value_props.event_staging import event_files, stage_events
from etl_lib.value_props.feature_report import print_summary
from etl_lib.value_props.feature_run import apply_weeks, pass_gates, plan_weeks, windows_of

VALUE_PROPS = Job("value_props", FEATURE_TABLES, print_summary)


def compute_features(argv: Sequence[str]) -> None:
    """Read the command line and the settings, then carry the run out."""
    arguments = parse_feature_arguments(argv)
    settings = load_settings(Settings, arguments.config, arguments.overrides)
    rules = load_settings(RuleBook, Path(settings.rules))
    for dataset in DATASETS:
        settings.input.location(dataset)
    check_before_spark(settings, inputs=DATASETS)
    with open_run(VALUE_PROPS, settings, arguments, rules) as run:
        if run.ledger.has_open:
            finish_restores(run)
        with step("files") as told:
            found = event_files(run)
            told["files"] = sum(map(len, found.values()))
        with step("stage") as told:
            batch, files = stage_readable(run, found, partial(stage_events, run))
            told["records"] = sum(counts.records for counts in batch.datasets.values())
        pass_gates(run, batch)
        reference, windows = windows_of(run, batch, arguments)
        if arguments.plan:
            plan_weeks(run, batch, windows, reference)
        else:
            apply_weeks(run, files, batch, windows, reference)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; gives the exit code of the contract."""
    return run_command(partial(compute_features, sys.argv[1:] if argv is None else argv))


def run() -> None:
    """The console command `value-props`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
