"""The orders job: semi-structured order events into trusted Delta tables.

./spark-submit.sh jobs/orders.py --since 2024-05-01
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/orders.py` from a checkout finds the package beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from etl_lib.applying.plan import record_plan
from etl_lib.applying.steps import apply_batch, apply_plan, finish_interrupted
from etl_lib.deciding.bookkeeping import nothing_new
from etl_lib.deciding.gates import pass_gates
from etl_lib.deciding.staging import stage_batch
from etl_lib.process.session import temporary_settings
from etl_lib.process.tuning import INTERPRETED, reads_few, sums_few
from etl_lib.run.command import run_command
from etl_lib.run.run import Job, Run, open_run, step
from etl_lib.settings.arguments import Scope, parse_order_arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.config_file import load_settings
from etl_lib.settings.rules import RuleBook
from etl_lib.sinks.opening import open_sinks
from etl_lib.sinks.publish_report import print_orders_summary
from etl_lib.sinks.publishing import publish_tables
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.new_files import DATASETS, files_to_read, stage_readable
from etl_lib.sources.pulling import pull_sources
from etl_lib.tables.schemas import DIM_ORDER, DIMENSIONS, ORDER_TABLES

ORDERS = Job("orders", ORDER_TABLES, print_orders_summary)


def load_orders(argv: Sequence[str]) -> None:
    """Read the command line and the settings, then carry the run out."""
    arguments = parse_order_arguments(argv)
    settings = load_settings(Settings, arguments.config, arguments.overrides)
    rules = load_settings(RuleBook, Path(settings.rules))
    settings.check_orders_given()
    is_reading = arguments.apply_run_id is None
    inputs = DATASETS if is_reading else ()
    check_before_spark(settings, inputs=inputs, is_pulling=is_reading, sinks=settings.sinks)
    with open_run(ORDERS, settings, arguments, rules, arguments.apply_run_id) as run:
        sinks = open_sinks(run.spark, settings, settings.sinks)
        if arguments.apply_run_id:
            apply_plan(run, arguments.apply_run_id)
        else:
            finish_interrupted(run)
            if settings.sources.pulled:
                pull_sources(run)
            load_new_files(run, arguments.scope)
        if sinks and not arguments.plan:
            publish_tables(run, sinks)


def load_new_files(run: Run, scope: Scope) -> None:
    """From the files that are new to the stage, and from the stage into the tables or onto the screen."""
    with step("files") as told, temporary_settings(run.spark, INTERPRETED):
        files = files_to_read(run, scope)
        told["files"] = sum(map(len, files.values()))
    if not files:
        nothing_new(run)
        return
    orders = run.ledger.rows_left(DIM_ORDER)
    is_small = reads_few(new_bytes=sum(file.size for some in files.values() for file in some), orders=orders)
    with temporary_settings(run.spark, INTERPRETED if is_small else {}):
        with step("stage") as told:
            batch, _ = stage_readable(run, files, partial(stage_batch, run, scope))
            told["records"] = sum(counts.records for counts in batch.datasets.values())
        pass_gates(run, batch)
    has_members = any(batch.of(dataset).applied for dataset in DIMENSIONS)
    is_small = is_small and sums_few(dates=len(batch.dates), has_members=has_members, orders=orders)
    with temporary_settings(run.spark, INTERPRETED if is_small else {}):
        if run.arguments.plan:
            record_plan(run, batch)
        else:
            apply_batch(run, run.manifest, batch, run.metrics)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; gives the exit code of the contract."""
    return run_command(partial(load_orders, sys.argv[1:] if argv is None else argv))


def run() -> None:
    """The console command `orders`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
