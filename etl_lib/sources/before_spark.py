"""What a job can refuse before it starts Spark: local inputs that do not exist, and secrets that cannot be read.

Both would be refused later, too, but only after the session and the tables were made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from pyspark.sql import SparkSession, is_remote

from etl_lib.process.errors import ConfigError, LakehouseError
from etl_lib.process.lock import local_folder
from etl_lib.process.secrets import is_secret, reveal
from etl_lib.process.session import submitted_options
from etl_lib.settings.api_settings import ApiSource
from etl_lib.settings.config import Settings
from etl_lib.settings.strict_model import Section
from etl_lib.sources.api.client import Credentials
from etl_lib.sources.landing import is_pattern

_OF_DATABRICKS = "secret:databricks/"
"""Databricks gives such a secret through the session's own runtime."""

_SPARK_ELSEWHERE = ("SPARK_REMOTE", "DATABRICKS_RUNTIME_VERSION")
_HADOOP_SET_UP = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")
_SPARK_SET_UP = ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS")
_FILE_SYSTEM_SETTINGS = ("spark.hadoop.fs.defaultFS", "spark.hadoop.fs.default.name")


def check_before_spark(
    settings: Settings, *, inputs: Iterable[str] = (), is_pulling: bool = False, sinks: Sequence[str] = ()
) -> None:
    """Check the datasets that a job reads as `inputs`, the source if it pulls, and the `sinks` that it publishes to.

    Raises ConfigError with every problem found, a line each. What only Spark can know is left to it.
    """
    problems = [*_missing_inputs(settings, inputs), *_unusable_secrets(settings, is_pulling, sinks)]
    if problems:
        raise ConfigError("\n".join(problems))


def _missing_inputs(settings: Settings, datasets: Iterable[str]) -> Iterator[str]:
    """What is wrong with the locations of datasets on this machine's disk; a pattern may match nothing."""
    given = {dataset: location for dataset in datasets if (location := settings.landing_files(dataset)) is not None}
    if not given or _runs_elsewhere(settings):
        return
    is_default_local = default_is_local(settings)
    for dataset, location in given.items():
        folder = local_folder(location) if location.startswith("file:") or is_default_local else None
        if folder is None or is_pattern(location):
            continue
        try:
            os.stat(folder)
        except (FileNotFoundError, NotADirectoryError):
            yield f"input.{dataset}: there is no file or folder {location}"
        except (OSError, ValueError):  # nobody may look there, or it is no path at all: Spark tells
            continue


def _runs_elsewhere(settings: Settings) -> bool:
    """Whether the job's Spark is, or may be, on another machine, with another disk."""
    is_named = "spark.remote" in settings.spark or any(map(os.environ.get, _SPARK_ELSEWHERE))
    return is_named or is_remote() or SparkSession.getActiveSession() is not None


def default_is_local(settings: Settings) -> bool:
    """Whether a path without a scheme is surely on this machine's disk, and not, say, on HDFS."""
    if any(map(os.environ.get, _HADOOP_SET_UP)) or any(name in settings.spark for name in _FILE_SYSTEM_SETTINGS):
        return False
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # started by spark-submit, whose options may name a file system
        folders = [os.environ.get("SPARK_CONF_DIR"), f"{os.environ.get('SPARK_HOME', '')}/conf"]
        is_named = any(folder and os.path.exists(f"{folder}/core-site.xml") for folder in folders)
        return not is_named and not any(submitted_options().contains(name) for name in _FILE_SYSTEM_SETTINGS)
    return not any(map(os.environ.get, _SPARK_SET_UP))


def _unusable_secrets(settings: Settings, is_pulling: bool, sinks: Iterable[str]) -> list[str]:
    """Why secrets of the source, if it is pulled from, and of some sinks cannot be read or sent."""
    source = getattr(settings.sources, settings.sources.orders, None) if is_pulling else None
    sections = [source, *(getattr(settings.publish, sink) for sink in sinks)]
    references = dict.fromkeys(reference for section in sections if section for reference in _references(section))
    checks: list[Callable[[], object]] = [
        partial(reveal, each) for each in references if not each.startswith(_OF_DATABRICKS)
    ]
    if not (problems := _problems(checks)) and isinstance(source, ApiSource) and len(checks) == len(references):
        return _problems([partial(Credentials, source)])
    return problems


def _references(section: Section) -> Iterator[str]:
    """The references of a section's own secrets."""
    for name, field in type(section).model_fields.items():
        if is_secret(field.rebuild_annotation()) and (reference := getattr(section, name)) is not None:
            yield reference


def _problems(checks: Iterable[Callable[[], object]]) -> list[str]:
    problems = []
    for check in checks:
        try:
            check()
        except LakehouseError as error:
            problems.append(str(error))
    return problems
