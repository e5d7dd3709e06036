"""The two ways to Prometheus: a file that node_exporter reads, and a push to a Pushgateway."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway

from etl_lib.process.errors import LakehouseError
from etl_lib.process.output import write_bytes
from etl_lib.process.secrets import reveal
from etl_lib.run.metrics import Metrics
from etl_lib.settings.api_settings import is_loopback
from etl_lib.settings.config import Settings
from etl_lib.settings.telling_settings import Pushgateway
from etl_lib.telling.prometheus.prometheus_registry import PREFIX, registry_of
from etl_lib.telling.state import BUSY, attempt_of, read_state


@dataclass(frozen=True)
class PrometheusFile:
    """Writes `<folder>/orders_lakehouse_<job>.prom`; a reader finds the old file or the new one."""

    settings: Settings

    def tell(self, metrics: Metrics) -> None:
        """Write it. A run that found the warehouse taken leaves the file as it was."""
        registry, folder = _registry(metrics, self.settings), str(self.settings.telling.metrics.folder)
        if registry is not None:
            write_bytes(f"{folder.rstrip('/')}/{PREFIX}_{metrics.job}.prom", generate_latest(registry))


@dataclass(frozen=True)
class PrometheusPush:
    """Replaces the group of the job at a Pushgateway."""

    settings: Settings

    @property
    def gateway(self) -> Pushgateway:
        """Where to push."""
        return self.settings.telling.metrics.pushgateway

    def tell(self, metrics: Metrics) -> None:
        """Push it, unless the run found the warehouse taken; LakehouseError when the gateway does not take it."""
        registry = _registry(metrics, self.settings)
        if registry is not None:
            group = {**self.gateway.grouping, "job_name": metrics.job}
            url, wait = str(self.gateway.url), self.gateway.timeout_s
            push_to_gateway(url, PREFIX, registry, grouping_key=group, timeout=wait, handler=self._sender)

    def _sender(
        self, url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """What sends a request, in the form that prometheus-client asks for; no redirect is followed."""

        def send() -> None:
            ca_file = self.gateway.ca_file
            trust = ssl.create_default_context(cafile=ca_file.removeprefix("file:")) if ca_file else True
            # a proxy that the environment names would take requests to this machine elsewhere
            is_open = not is_loopback(httpx.URL(url))
            with httpx.Client(verify=trust, timeout=timeout, trust_env=is_open) as client:
                answer = client.request(method, url, headers=[*headers, *self._credentials()], content=data)
            if not answer.is_success:
                reason = " ".join(answer.text.split())[:300]
                raise LakehouseError(f"{self.gateway.url} answers {answer.status_code} to a push: {reason}")

        return send

    def _credentials(self) -> list[tuple[str, str]]:
        """The header with the credentials, read now: one that cannot be read is told as why the push failed."""
        if self.gateway.token is not None:
            return [("Authorization", f"Bearer {reveal(self.gateway.token)}")]
        if self.gateway.username is not None and self.gateway.password is not None:
            both = f"{reveal(self.gateway.username)}:{reveal(self.gateway.password)}"
            return [("Authorization", f"Basic {b64encode(both.encode()).decode()}")]
        return []


def _registry(metrics: Metrics, settings: Settings) -> CollectorRegistry | None:
    """What to tell of a run; None for one that found the warehouse taken, which is neither success nor failure."""
    attempt = attempt_of(metrics)
    if attempt.status == BUSY:
        return None
    state = read_state(settings.output, metrics.job)
    if state.last_attempt is None or state.last_attempt.run_id != metrics.run_id:
        state = state.after(attempt)  # it could not be kept, as on a full disk
    return registry_of(metrics, state, settings.sinks)
