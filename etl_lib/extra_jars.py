"""Which jars a job needs beyond Spark's and Delta's own, as its configuration tells: for `spark-submit.sh`.

    python -m etl_lib.extra_jars jobs/orders.py --set warehouse=s3a://lake/orders

Prints the sets of deploy/setup.sh, separated by commas. A command line or configuration with a mistake needs nothing:
the job tells the mistake. Nothing of Spark is imported, as every start waits for this.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from etl_lib.config import DEFAULT_CONFIG, Settings
from etl_lib.config_file import load_settings
from etl_lib.errors import ConfigError

_PREFIXES = {"s3a://": "s3", "s3://": "s3", "jdbc:postgresql:": "postgres"}


def extra_jars(arguments: Sequence[str]) -> list[str]:
    """The sets of jars for a command line of spark-submit."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--set", action="extend", nargs="+", default=[], dest="overrides")
    try:
        found, _ = parser.parse_known_args(arguments)
        settings = load_settings(Settings, found.config, [one for one in found.overrides if "=" in one])
    except (argparse.ArgumentError, ConfigError):
        return []
    texts = [text.lower() for text in _texts(settings)]
    return sorted({jars for prefix, jars in _PREFIXES.items() for text in texts if text.startswith(prefix)})


def _texts(value: Any) -> Iterator[str]:
    """Every text of the settings."""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, str):
        yield value
    elif hasattr(value, "__iter__"):
        for part in value:
            yield from _texts(part)


if __name__ == "__main__":
    sys.stdout.write(",".join(extra_jars(sys.argv[1:])) + "\n")
