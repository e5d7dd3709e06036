"""The pull command: what is new in an API or a database lands as files, which the orders command then loads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from etl_lib.commands.frame import open_run, read_configuration
from etl_lib.process.errors import ConfigError
from etl_lib.run.job import Job
from etl_lib.settings.arguments import parse_pull_arguments
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.pulling import pull_sources
from etl_lib.tables.ledger import DONE

JOB = Job("pull", (), {})


def pull(argv: Sequence[str]) -> None:
    """Pull every dataset of the configured source."""
    arguments = parse_pull_arguments(argv)
    settings, rules = read_configuration(arguments)
    if not settings.sources.pulled:
        raise ConfigError("sources.orders: files are there already; to pull, name api or jdbc")
    check = partial(check_before_spark, settings, is_pulling=True)
    with open_run(JOB, settings, arguments, rules, check) as run:
        pull_sources(run)
        run.metrics.status = DONE
