"""The ways of telling that are on, and how a run is told by all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

import structlog

from etl_lib.process.errors import ConfigError
from etl_lib.process.redaction import redacted
from etl_lib.run.job import Job
from etl_lib.run.metrics import Metrics
from etl_lib.settings.arguments import Arguments
from etl_lib.settings.config import Settings
from etl_lib.telling.alerts.routes import check_installed
from etl_lib.telling.alerts.way import Alerts
from etl_lib.telling.machines.lineage import Lineage
from etl_lib.telling.machines.traces import Traces
from etl_lib.telling.metrics_files import MetricsFiles
from etl_lib.telling.report import Report
from etl_lib.telling.state import State
from etl_lib.telling.summary import Summary

log = structlog.get_logger(__name__)


class Way(Protocol):
    """One way of telling a run. It may fail: the run is what it is."""

    def tell(self, metrics: Metrics) -> None:
        """Tell a run that has ended, well or not."""


@runtime_checkable
class EarlyWay(Way, Protocol):
    """One that also tells that a run begins."""

    def begin(self, metrics: Metrics) -> None:
        """Tell a run that has the warehouse, and nothing else yet."""


def ways_on(job: Job, settings: Settings, arguments: Arguments) -> list[Way]:
    """Those that the settings have on, in the order in which a run is told; what a person reads comes last.

    ConfigError for one that is on and not installed.
    """
    check_installed(settings.telling.alerts)
    ways: list[Way] = [MetricsFiles(settings.output)]
    if not arguments.plan:
        ways.append(State(settings.output, job.name))
        ways += _prometheus_ways(settings)  # behind the state, too
    if settings.telling.report:
        ways.append(Report(settings.output))  # behind the state, whose last runs it shows
    if settings.telling.traces is not None:
        need("otel", "opentelemetry.exporter.otlp.proto.http", "telling.traces")
        ways.append(Traces(settings.telling.traces))
    if settings.telling.lineage is not None and not arguments.plan:
        need("lineage", "openlineage.client", "telling.lineage")
        ways.append(Lineage(settings, settings.telling.lineage, job))
    if settings.telling.alerts.routes and not arguments.plan:
        ways.append(Alerts(settings, job.name))  # behind the report, to which it leads
    return [*ways, Summary(job, settings, arguments.as_json)]


def _prometheus_ways(settings: Settings) -> list[Way]:
    places = settings.telling.metrics
    if not places.is_on:
        return []
    need("metrics", "prometheus_client", "telling.metrics")
    from etl_lib.telling.prometheus.prometheus_ways import PrometheusFile, PrometheusPush  # noqa: PLC0415 - an extra

    ways: list[Way] = []
    if places.folder is not None:
        ways.append(PrometheusFile(settings))
    if places.pushgateway.url is not None:
        ways.append(PrometheusPush(settings))
    return ways


def need(extra: str, module: str, setting: str) -> None:
    """ConfigError when a setting, or a job, asks for a package of an extra that is not there."""
    try:
        is_there = find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        is_there = False
    if not is_there:
        raise ConfigError(f"{setting}: the packages for it are not installed; pip install 'orders-lakehouse[{extra}]'")


def begin(ways: Sequence[Way], metrics: Metrics) -> None:
    """Tell those ways that want to know that a run begins."""
    for way in ways:
        if isinstance(way, EarlyWay):
            _carefully(way, way.begin, metrics)


def tell(ways: Sequence[Way], metrics: Metrics) -> None:
    """Tell a run in each of these ways; one that fails is logged, and stops neither another nor the run."""
    for way in ways:
        _carefully(way, way.tell, metrics)


def _carefully(way: Way, act: Callable[[Metrics], None], metrics: Metrics) -> None:
    try:
        act(metrics)
    except Exception as error:
        name, reason = type(way).__name__, redacted(f"{type(error).__name__}: {error}")
        log.error("the run could not be told in one way; what it did stays", way=name, reason=reason)  # noqa: TRY400
