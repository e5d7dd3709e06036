"""The value-props command: from prints, taps and payments, the features that a ranking model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from etl_lib.commands.frame import open_run, read_configuration
from etl_lib.deciding.gates import pass_gates
from etl_lib.deciding.judge import check_rules
from etl_lib.deciding.staging import stage_batch
from etl_lib.process.errors import ConfigError
from etl_lib.reading.datasets import EVENT_DATASETS
from etl_lib.run.job import EVENT_MEANINGS, Job
from etl_lib.run.restore import finish_restores
from etl_lib.run.steps import step
from etl_lib.settings.arguments import Scope, parse_feature_arguments
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.new_files import files_to_read, stage_readable
from etl_lib.tables.schemas import FEATURE_TABLES
from etl_lib.value_props.feature_run import apply_weeks, plan_weeks, windows_of

JOB = Job("value_props", FEATURE_TABLES, EVENT_MEANINGS)
ALL_FILES = Scope(full=True)


def compute_features(argv: Sequence[str]) -> None:
    """From all files into the stage, and from the stage into the target weeks or onto the screen."""
    arguments = parse_feature_arguments(argv)
    settings, rules = read_configuration(arguments)
    for dataset in EVENT_DATASETS:
        settings.input.location(dataset)
    check = partial(check_before_spark, settings, inputs=EVENT_DATASETS)
    with open_run(JOB, settings, arguments, rules, check) as run:
        check_rules(run.spark, rules, EVENT_DATASETS)
        if run.ledger.has_open:
            finish_restores(run)
        with step("files") as counts:
            # The features are computed from all of their input every time.
            listed = files_to_read(run, ALL_FILES, EVENT_DATASETS)
            files = {dataset: listed.get(dataset, []) for dataset in EVENT_DATASETS}
            if twice := {file.path for file in files["prints"]} & {file.path for file in files["taps"]}:
                raise ConfigError(f"input.prints and input.taps name the same file: {min(twice)}")
            counts["files"] = sum(map(len, files.values()))
        with step("stage", bytes=sum(file.size for some in files.values() for file in some)) as counts:
            batch = stage_readable(run, files, partial(stage_batch, run, ALL_FILES))
            counts["records"] = sum(dataset.records for dataset in batch.datasets.values())
        pass_gates(run, batch)
        reference, windows = windows_of(run, batch, arguments)
        if arguments.plan:
            plan_weeks(run, batch, windows, reference)
        else:
            apply_weeks(run, batch, windows, reference)
