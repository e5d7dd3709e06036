"""The orders command: semi-structured order events into trusted Delta tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from etl_lib.applying.plan import record_plan
from etl_lib.applying.steps import apply_batch, apply_plan, finish_interrupted
from etl_lib.commands.frame import open_run, read_configuration
from etl_lib.deciding.gates import pass_gates
from etl_lib.deciding.judge import check_rules
from etl_lib.deciding.results import nothing_new
from etl_lib.deciding.staging import stage_batch
from etl_lib.process.session import temporary_settings
from etl_lib.process.tuning import INTERPRETED, settings_to_apply, settings_to_stage
from etl_lib.reading.datasets import ORDER_DATASETS
from etl_lib.run.job import MEANINGS, Job
from etl_lib.run.run import Run
from etl_lib.run.steps import step
from etl_lib.settings.arguments import Scope, parse_order_arguments
from etl_lib.sinks.publishing import open_sinks, publish_tables
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.new_files import files_to_read, stage_readable
from etl_lib.sources.pulling import pull_sources
from etl_lib.tables.schemas import DIM_ORDER, DIMENSIONS, ORDER_TABLES

JOB = Job("orders", ORDER_TABLES, MEANINGS)


def load_orders(argv: Sequence[str]) -> None:
    """Finish what was cut off, pull, load what is new, and publish; or apply a plan, and publish."""
    arguments = parse_order_arguments(argv)
    settings, rules = read_configuration(arguments)
    settings.check_orders_given()
    is_reading = arguments.apply_run_id is None
    inputs = ORDER_DATASETS if is_reading else ()
    check = partial(check_before_spark, settings, inputs=inputs, is_pulling=is_reading, sinks=settings.sinks)
    with open_run(JOB, settings, arguments, rules, check) as run:
        sinks = open_sinks(settings, settings.sinks)
        if arguments.apply_run_id:
            apply_plan(run, arguments.apply_run_id, arguments.overruled)
        else:
            check_rules(run.spark, rules, ORDER_DATASETS)
            finish_interrupted(run)
            if settings.sources.pulled:
                pull_sources(run)
            load_new_files(run, arguments.scope)
        if sinks and not arguments.plan:
            publish_tables(run, sinks)


def load_new_files(run: Run, scope: Scope) -> None:
    """From the files that are new to the stage, and from the stage into the tables or onto the screen."""
    with step("files") as counts, temporary_settings(run.spark, INTERPRETED):
        files = files_to_read(run, scope, ORDER_DATASETS, waiting=not scope.full)
        counts["files"] = sum(map(len, files.values()))
    if not files:
        nothing_new(run)
        return
    orders, new_bytes = run.ledger.rows_left(DIM_ORDER), sum(file.size for some in files.values() for file in some)
    with temporary_settings(run.spark, settings_to_stage(new_bytes=new_bytes, orders=orders)):
        with step("stage", bytes=new_bytes) as counts:
            batch = stage_readable(run, files, partial(stage_batch, run, scope))
            counts["records"] = sum(dataset.records for dataset in batch.datasets.values())
        pass_gates(run, batch)
    has_members = any(batch.of(dataset).applied for dataset in DIMENSIONS)
    settings = settings_to_apply(new_bytes=new_bytes, orders=orders, dates=len(batch.dates), has_members=has_members)
    with temporary_settings(run.spark, settings):
        if run.arguments.plan:
            record_plan(run, batch)
        else:
            apply_batch(run, run.manifest, batch, run.metrics)
