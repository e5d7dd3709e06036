"""One GET after another, tried again with backoff, guarded by a circuit breaker.

Credentials go to the origin of the configured URL and nowhere else.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import httpx
import structlog
from pybreaker import STATE_OPEN, CircuitBreaker, CircuitBreakerError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from etl_lib.process.errors import ConfigError
from etl_lib.settings.api_settings import ApiSource
from etl_lib.settings.api_urls import is_loopback, origin, without_query
from etl_lib.sources.api.answers import Answer, ApiError, CircuitOpenError, FailedError, read_answer
from etl_lib.sources.api.breaker import FileStorage
from etl_lib.sources.api.secrets import Credentials

log = structlog.get_logger(__name__)

_REDIRECTS = 5


class ApiClient:
    """The HTTP side of the source; a context manager, so that its connections are closed."""

    def __init__(self, settings: ApiSource, landing: str, reveal: Callable[[str], str]) -> None:
        """Reveals the credentials and reads the state of the circuit breaker; asks nothing yet."""
        self._settings = settings
        self._home = httpx.URL(settings.url)
        self._credentials = Credentials(settings, reveal)
        self._storage = FileStorage(landing, without_query(self._home))
        self._breaker = CircuitBreaker(
            fail_max=settings.breaker_failures,
            reset_timeout=settings.breaker_reset_s,
            # a rate limit or a refusal is the answer of a server that works
            exclude=[lambda error: not isinstance(error, FailedError) or error.status == httpx.codes.TOO_MANY_REQUESTS],
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._backoff = wait_random_exponential(multiplier=1, max=settings.longest_wait_s)
        for name in ("httpx", "httpcore"):
            # They tell each URL with its query and, for debugging, all headers; here each page is told without.
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.Client(
            headers={"Accept": "application/json", "User-Agent": "orders-lakehouse", **self._credentials.headers},
            timeout=settings.timeout_s,
            verify=_trust(settings),
            # a proxy that the environment names would take requests to this machine elsewhere
            trust_env=not is_loopback(self._home),
        )

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, url: httpx.URL) -> Answer:
        """The whole answer of a URL of the configured origin.

        Raises ApiError for an answer that no further try can mend, or when all tries failed; CircuitOpenError while
        the circuit breaker is open.
        """
        attempts = Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=stop_after_attempt(self._settings.retries + 1),
            wait=self._wait_s,
            before_sleep=self._told,
            reraise=True,
        )
        try:
            answer: Answer = attempts(self._breaker.call, self._once, url)
        except CircuitBreakerError:
            raise CircuitOpenError(f"{without_query(url)}: nothing was asked: {self._opened()}") from None
        except FailedError as error:
            tries = attempts.statistics.get("attempt_number", 1)
            opened = f"; {self._opened()}" if self._breaker.current_state == STATE_OPEN else ""
            raise ApiError(
                f"{without_query(url)}: no whole answer in {tries} attempt(s), the last: {error}{opened}; "
                "what has landed stays, and the next pull goes on from there",
                error.status,
            ) from None
        return answer

    def beside(self, url: httpx.URL, link: str) -> httpx.URL:
        """The URL that a link on a page means. ApiError when it leads to another origin or holds a credential."""
        try:
            found = url.join(link)
        except (httpx.InvalidURL, ValueError):
            raise ApiError(f"{without_query(url)}: the link to the next page is not a URL") from None
        return self._own(found)

    def _own(self, url: httpx.URL) -> httpx.URL:
        at = without_query(self._home)
        if origin(url) != origin(self._home):
            raise ApiError(
                f"{at}: the server leads to another origin, {url.scheme}://{url.netloc.decode('ascii')}, "
                "where no credentials of this one may go; set `url` to where the orders are now"
            )
        if url.userinfo or self._credentials.stand_in(str(url)):
            raise ApiError(f"{at}: the server leads to an address with credentials in it, which is not asked")
        return url

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, FailedError) and self._breaker.current_state != STATE_OPEN

    def _wait_s(self, attempt: RetryCallState) -> float:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        asked = error.wait_s if isinstance(error, FailedError) else 0
        return min(max(asked, self._backoff(attempt)), self._settings.longest_wait_s)

    def _told(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        wait = round(attempt.upcoming_sleep, 1)
        log.warning("asking again", attempt=attempt.attempt_number, wait_s=wait, problem=str(error))

    def _opened(self) -> str:
        since = self._storage.opened_at or datetime.now(UTC)
        until = since + timedelta(seconds=self._settings.breaker_reset_s)
        return (
            f"the circuit breaker is open since {since:%Y-%m-%dT%H:%M:%SZ} and lets a request through from "
            f"{until:%Y-%m-%dT%H:%M:%SZ} on (breaker_reset_s); delete {self._storage.path} to ask at once"
        )

    def _once(self, url: httpx.URL) -> Answer:
        try:
            for _ in range(_REDIRECTS + 1):
                with self._client.stream("GET", url) as response:
                    if response.next_request is None:
                        return read_answer(response, self._settings, self._credentials)
                    url = self._own(response.next_request.url)
        except (httpx.TransportError, httpx.DecodingError) as error:
            if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
                raise ApiError(f"{without_query(url)}: {type(error).__name__}: the request cannot be sent") from None
            if (reason := _distrust(error)) is not None:
                raise ApiError(
                    f"{without_query(url)}: the server's certificate is not trusted: {reason}; "
                    "put the certificates of a private authority into ca_file"
                ) from None
            problem = self._credentials.hidden(str(error)) or "no details"
            raise FailedError(f"{type(error).__name__}: {problem}") from None
        raise ApiError(f"{without_query(url)}: more than {_REDIRECTS} redirects")


def _trust(settings: ApiSource) -> ssl.SSLContext:
    if settings.ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=settings.ca_file.removeprefix("file:"))
    except OSError as error:
        raise ConfigError(
            f"API source: ca_file: {settings.ca_file}: no certificates in PEM could be read: {error.strerror or error}"
        ) from None


def _distrust(error: BaseException | None) -> str | None:
    """Why TLS did not trust the server, if that is what lies behind an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
