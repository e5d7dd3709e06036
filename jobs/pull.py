"""The pull job: what is new in an API or a database lands as files, which the orders job then loads.

./spark-submit.sh jobs/pull.py --config conf/shop.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/pull.py` from a checkout finds the package beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from etl_lib.process.errors import ConfigError
from etl_lib.run.command import run_command
from etl_lib.run.run import Job, open_run
from etl_lib.settings.arguments import parse_pull_arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.config_file import load_settings
from etl_lib.settings.rules import RuleBook
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.sources.pulling import print_pulls_summary, pull_sources
from etl_lib.tables.ledger import DONE

PULL = Job("pull", (), print_pulls_summary)


def pull(argv: Sequence[str]) -> None:
    """Read the command line and the settings, then pull."""
    arguments = parse_pull_arguments(argv)
    settings = load_settings(Settings, arguments.config, arguments.overrides)
    rules = load_settings(RuleBook, Path(settings.rules))
    if not settings.sources.pulled:
        raise ConfigError("sources.orders: files are there already; to pull, name api or jdbc")
    check_before_spark(settings, is_pulling=True)
    with open_run(PULL, settings, arguments, rules) as run:
        pull_sources(run)
        run.metrics.status = DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; gives the exit code of the contract."""
    return run_command(partial(pull, sys.argv[1:] if argv is None else argv))


def run() -> None:
    """The console command `pull`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
