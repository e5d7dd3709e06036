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

from etl_lib.deciding.gates import pass_gates
from etl_lib.deciding.staging import stage_batch
from etl_lib.reading.datasets import staged_in
from etl_lib.run.command import run_command
from etl_lib.run.restore import finish_restores
from etl_lib.run.run import Job, open_run, step
from etl_lib.settings.arguments import Scope, parse_feature_arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.config_file import load_settings
from etl_lib.settings.rules import RuleBook
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.damaged import stage_readable
from etl_lib.tables.schemas import ETL_EVENTS, FEATURE_TABLES
from etl_lib.value_props.feature_report import print_summary
from etl_lib.value_props.feature_run import apply_weeks, event_files, plan_weeks, windows_of

VALUE_PROPS = Job("value_props", FEATURE_TABLES, print_summary)


def compute_features(argv: Sequence[str]) -> None:
    """Read the command line and the settings, then carry the run out."""
    arguments = parse_feature_arguments(argv)
    settings = load_settings(Settings, arguments.config, arguments.overrides)
    rules = load_settings(RuleBook, Path(settings.rules))
    datasets = [entry.name for entry in staged_in(ETL_EVENTS)]
    for dataset in datasets:
        settings.input.location(dataset)
    check_before_spark(settings, inputs=datasets)
    with open_run(VALUE_PROPS, settings, arguments, rules) as run:
        if run.ledger.has_open:
            finish_restores(run)
        with step("files") as told:
            files = event_files(run)
            told["files"] = sum(map(len, files.values()))
        with step("stage") as told:
            batch, _ = stage_readable(run, files, partial(stage_batch, run, Scope(full=True)))
            told["records"] = sum(counts.records for counts in batch.datasets.values())
        pass_gates(run, batch)
        reference, windows = windows_of(run, batch, arguments)
        if arguments.plan:
            plan_weeks(run, batch, windows, reference)
        else:
            apply_weeks(run, batch, windows, reference)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; gives the exit code of the contract."""
    return run_command(partial(compute_features, sys.argv[1:] if argv is None else argv))


def run() -> None:
    """The console command `value-props`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
