"""The publish command: what changed in the tables goes to the configured sinks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from etl_lib.commands.frame import open_run, read_configuration
from etl_lib.run.job import Job
from etl_lib.settings.arguments import parse_publish_arguments
from etl_lib.sinks.publishing import chosen_sinks, held_error, lift_hold, open_sinks, publish_tables
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.tables.ledger import DONE, STOPPED

JOB = Job("publish", (), {})


def publish(argv: Sequence[str]) -> None:
    """Publish what changed, or everything, to the sinks that the command line names."""
    arguments = parse_publish_arguments(argv)
    settings, rules = read_configuration(arguments)
    sinks = chosen_sinks(settings, arguments.sinks)
    check = partial(check_before_spark, settings, sinks=sinks)
    with open_run(JOB, settings, arguments, rules, check) as run:
        if arguments.released_run_id:
            lift_hold(run, arguments.released_run_id)
        holds = publish_tables(run, open_sinks(settings, sinks), is_full=arguments.full)
        run.metrics.status = DONE
        if holds and not arguments.plan:
            run.metrics.status = STOPPED
            raise held_error(holds)
