"""The publish job: what changed in the tables goes to the configured sinks.

./spark-submit.sh jobs/publish.py --config conf/shop.yaml --plan
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/publish.py` from a checkout finds the package beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from etl_lib.run.command import run_command
from etl_lib.run.run import Job, open_run
from etl_lib.settings.arguments import parse_publish_arguments
from etl_lib.settings.config import Settings
from etl_lib.settings.config_file import load_settings
from etl_lib.settings.rules import RuleBook
from etl_lib.sinks.publish_report import print_summary
from etl_lib.sinks.publishing import chosen_sinks, open_sinks, publish_tables
from etl_lib.sources.before_spark import check_before_spark
from etl_lib.tables.ledger import DONE

PUBLISH = Job("publish", (), print_summary)


def publish(argv: Sequence[str]) -> None:
    """Read the command line and the settings, then publish."""
    arguments = parse_publish_arguments(argv)
    settings = load_settings(Settings, arguments.config, arguments.overrides)
    rules = load_settings(RuleBook, Path(settings.rules))
    sinks = chosen_sinks(settings, arguments.sinks)
    check_before_spark(settings, sinks=sinks)
    with open_run(PUBLISH, settings, arguments, rules) as run:
        publish_tables(run, open_sinks(settings, sinks), is_full=arguments.full)
        run.metrics.status = DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; gives the exit code of the contract."""
    return run_command(partial(publish, sys.argv[1:] if argv is None else argv))


def run() -> None:
    """The console command `publish`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
