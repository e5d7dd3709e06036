"""The ways of telling that are on, and how a run is told by all of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

import structlog

from etl_lib.process.errors import ConfigError
from etl_lib.process.redaction import redacted
from etl_lib.run.job import Job
from etl_lib.run.metrics import Metrics
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Settings
from etl_lib.telling.metrics_files import MetricsFiles
from etl_lib.telling.report import Report
from etl_lib.telling.state import State
from etl_lib.telling.summary import Summary

log = structlog.get_logger(__name__)


class Way(Protocol):
    """One way of telling a run. It may fail: the run is what it is."""

    def tell(self, metrics: Metrics) -> None:
        """Tell a run that has ended, well or not."""


def ways_on(job: Job, settings: Settings, arguments: Arguments) -> list[Way]:
    """Those that the settings have on, in the order in which a run is told; what a person reads comes last.

    Raises ConfigError for a way whose extra is not installed.
    """
    ways: list[Way] = [MetricsFiles(settings.output)]
    if not arguments.plan:
        ways.append(State(settings.output, job.name))
        ways += _prometheus_ways(settings)  # behind the state, too
    if settings.telling.report:
        ways.append(Report(settings.output))  # behind the state, whose last runs it shows
    return [*ways, Summary(job, settings, arguments.as_json)]


def _prometheus_ways(settings: Settings) -> list[Way]:
    places = settings.telling.metrics
    if not places.is_on:
        return []
    if find_spec("prometheus_client") is None:
        raise ConfigError(
            "telling.metrics: prometheus-client is not installed; pip install 'orders-lakehouse[metrics]', or take "
            "telling.metrics out"
        )
    from etl_lib.telling.prometheus.prometheus_ways import PrometheusFile, PrometheusPush  # noqa: PLC0415 - an extra

    ways: list[Way] = []
    if places.folder is not None:
        ways.append(PrometheusFile(settings))
    if places.pushgateway.url is not None:
        ways.append(PrometheusPush(settings))
    return ways


def tell(ways: Sequence[Way], metrics: Metrics) -> None:
    """Tell a run in each of these ways; one that fails is logged, and stops neither another nor the run."""
    for way in ways:
        try:
            way.tell(metrics)
        except Exception as error:
            name, reason = type(way).__name__, redacted(f"{type(error).__name__}: {error}")
            log.error("the run could not be told in one way; what it did stays", way=name, reason=reason)  # noqa: TRY400
