"""What a job needs of the Spark that `spark-submit.sh` starts for it, as its configuration tells.

    python -m etl_lib.settings.launch jobs/orders.py --set warehouse=s3a://lake/orders

Prints two lines: the sets of jars of deploy/setup.sh, separated by commas, and options of Java, for the jobs of this
project alone. A command line or configuration with a mistake needs nothing: the job tells the mistake. Nothing of Spark
is imported, as every start waits for this.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from stat import S_ISREG

from etl_lib.process import tuning
from etl_lib.process.errors import ConfigError
from etl_lib.process.lock import local_folder
from etl_lib.settings.arguments import Parser
from etl_lib.settings.config import Settings
from etl_lib.settings.strict_model import load_settings

_JOBS = Path(__file__).resolve().parents[2] / "jobs"
_PREFIXES = {"s3a://": "s3", "s3://": "s3", "jdbc:postgresql:": "postgres"}
_GLOB = re.compile(r"[^/]*[*?\[{\\]")


def is_job(arguments: Sequence[str]) -> bool:
    """Whether a command line of spark-submit runs a job of this project: of another program the data are unknown."""
    return any(name.endswith(".py") and Path(name).resolve().parent == _JOBS for name in arguments)


def settings_of(arguments: Sequence[str]) -> Settings | None:
    """The settings that a command line of spark-submit gives its job; None when they have a mistake."""
    try:
        given, _ = Parser("launch", "", add_help=False).parse_known_args(arguments)
        return load_settings(Settings, given.config, [one for one in given.overrides if "=" in one])
    except ConfigError:
        return None


def extra_jars(settings: Settings) -> list[str]:
    """The sets of jars beyond Spark's and Delta's own."""
    text = settings.model_dump_json().lower()
    return sorted({jars for prefix, jars in _PREFIXES.items() if f'"{prefix}' in text})


def java_options(settings: Settings) -> str:
    """Options for the driver, which suit the data: of those that are not on this machine's disk, or come while the job
    runs, nobody knows how many they are.
    """
    folders = [_folder(location) for location in (settings.warehouse, *settings.input.locations)]
    if settings.sources.pulled or None in folders:
        return ""
    return tuning.FIRST_COMPILER_ONLY if _are_few(filter(None, folders)) else ""


def _folder(location: str) -> Path | None:
    """What holds the files of a location: itself or, of a glob, the folder above it; None when it is not on a disk."""
    place = local_folder(location)
    return None if place is None else Path(_GLOB.split(str(place), maxsplit=1)[0])


def _are_few(places: Iterable[Path]) -> bool:
    """Whether the files at some places, and in folders there, are few and their bytes at most DISK_BYTES."""
    files = total = 0
    for place in places:
        within = (os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names)
        for file in chain([str(place)], within):
            with suppress(OSError):  # nobody may look at it, or it is gone
                status = os.stat(file)
                if S_ISREG(status.st_mode):
                    files, total = files + 1, total + status.st_size
            if files > tuning.DISK_FILES or total > tuning.DISK_BYTES:
                return False
    return True


def main() -> None:
    """Print what the command line needs."""
    arguments = sys.argv[1:]
    settings = settings_of(arguments)
    jars = "" if settings is None else ",".join(extra_jars(settings))
    options = java_options(settings) if settings is not None and is_job(arguments) else ""
    sys.stdout.write(f"{jars}\n{options}\n")


if __name__ == "__main__":
    main()
