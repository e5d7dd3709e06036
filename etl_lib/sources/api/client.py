"""One GET after another, tried again with backoff, guarded by a circuit breaker.

Credentials go to the origin of the configured URL and nowhere else.
"""

from __future__ import annotations

import logging
import ssl
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx
import structlog
from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreaker, CircuitBreakerError, CircuitMemoryStorage
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from etl_lib.process.errors import ConfigError
from etl_lib.process.output import read_bytes, write_bytes
from etl_lib.process.redaction import redacted
from etl_lib.process.secrets import reveal
from etl_lib.settings.api_settings import ApiSource, is_loopback, origin, without_query
from etl_lib.settings.strict_model import StrictModel
from etl_lib.sources.api.answers import Answer, ApiError, FailedError, read_answer

T = TypeVar("T")

log = structlog.get_logger(__name__)

_REDIRECTS = 5


class Credentials:
    """The secrets of the source, revealed once and sent in one header."""

    def __init__(self, settings: ApiSource) -> None:
        """Raises ConfigError, without the value, for a secret that cannot be read or cannot stand in a header."""
        self._values: list[str] = []
        self.headers: dict[str, str] = {}
        if settings.token is not None:
            token = reveal(settings.token)
            # What cannot be sent would be quoted in the error of the HTTP library.
            if not token.isascii() or not token.isprintable() or " " in token:
                raise ConfigError(f"{settings.token}: the secret has characters that no bearer token has, or none")
            self._values = [token]
            self.headers["Authorization"] = f"Bearer {token}"
        elif settings.username is not None and settings.password is not None:
            username, password = reveal(settings.username), reveal(settings.password)
            if ":" in username:
                raise ConfigError(f"{settings.username}: a username with a colon in it cannot be sent (RFC 7617)")
            both = b64encode(f"{username}:{password}".encode()).decode()
            self._values = [password, both]
            self.headers["Authorization"] = f"Basic {both}"

    def stand_in(self, url: str) -> bool:
        """Whether a token or password is a part of a URL."""
        return any(value in text for value in self._values for text in (url, unquote(url)))


class BreakerState(StrictModel):
    """What is known of one URL: `failures` in a row, and since when nothing is asked (`opened_at`)."""

    state: str = STATE_CLOSED
    failures: int = 0
    successes: int = 0
    opened_at: AwareDatetime | None = None


_STATES = TypeAdapter(dict[str, BreakerState])


class Breaker(CircuitBreaker):
    """The breaker of one URL; its state is in `<landing>/_breaker.json`, written when it changes."""

    def __init__(self, landing: str, settings: ApiSource) -> None:
        """Begins with what the file says; a file that cannot be read counts as a closed breaker."""
        self._path = f"{landing.rstrip('/')}/_breaker.json"
        self._url = without_query(httpx.URL(settings.url))
        self._saved = self._states().get(self._url, BreakerState())
        self._storage = CircuitMemoryStorage(self._saved.state)
        for _ in range(self._saved.failures):
            self._storage.increment_counter()
        if self._saved.opened_at is not None:
            self._storage.opened_at = self._saved.opened_at
        super().__init__(
            fail_max=settings.breaker_failures,
            reset_timeout=settings.breaker_reset_s,
            # a rate limit or a refusal is the answer of a server that works
            exclude=[lambda error: not isinstance(error, FailedError) or error.status == httpx.codes.TOO_MANY_REQUESTS],
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked for a time."""
        return self.current_state == STATE_OPEN

    def call(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function unless the breaker is open. Raises CircuitBreakerError if it is."""
        try:
            return super().call(func, *args, **kwargs)
        finally:
            self._save()

    def since_when(self) -> str:
        """Since when the breaker is open and until when, and how to close it, for a message."""
        opened_at = self._storage.opened_at or datetime.now(UTC)
        until = opened_at + timedelta(seconds=self.reset_timeout)
        return (
            f"the circuit breaker is open since {opened_at:%Y-%m-%dT%H:%M:%SZ} and lets a request through from "
            f"{until:%Y-%m-%dT%H:%M:%SZ} on (breaker_reset_s); delete {self._path} to ask at once"
        )

    def _states(self) -> dict[str, BreakerState]:
        """What the file has, by URL."""
        try:
            return _STATES.validate_json(read_bytes(self._path) or b"{}")
        except ValidationError:
            log.warning("the circuit breaker's file is not readable, it begins anew", path=self._path)
            return {}

    def _save(self) -> None:
        state = BreakerState(state=self.current_state, failures=self.fail_counter, opened_at=self._storage.opened_at)
        if state != self._saved:
            self._saved = state
            write_bytes(self._path, _STATES.dump_json({**self._states(), self._url: state}, indent=1))


class ApiClient:
    """The HTTP side of the source; `close` it at the end."""

    def __init__(self, settings: ApiSource, landing: str) -> None:
        """Reveals the credentials and reads the state of the circuit breaker; asks nothing yet."""
        self._settings = settings
        self._home = httpx.URL(settings.url)
        self._credentials = Credentials(settings)
        self._breaker = Breaker(landing, settings)
        self._backoff = wait_random_exponential(multiplier=1, max=settings.longest_wait_s)
        for name in ("httpx", "httpcore"):
            # They log each URL with its query and, for debugging, all headers; here each page is logged without.
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.Client(
            headers={"Accept": "application/json", "User-Agent": "orders-lakehouse", **self._credentials.headers},
            timeout=settings.timeout_s,
            verify=_trust(settings),
            # a proxy that the environment names would take requests to this machine elsewhere
            trust_env=not is_loopback(self._home),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, url: httpx.URL) -> Answer:
        """The whole answer of a URL of the configured origin.

        Raises ApiError for an answer that no further try can mend, when all tries failed, or while the circuit breaker
        is open.
        """
        attempts = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, FailedError) and not self._breaker.is_open),
            stop=stop_after_attempt(self._settings.retries + 1),
            wait=self._wait_s,
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            answer: Answer = attempts(self._breaker.call, self._once, url)
        except CircuitBreakerError:
            raise ApiError(f"{without_query(url)}: nothing was asked: {self._breaker.since_when()}") from None
        except FailedError as error:
            tries = attempts.statistics.get("attempt_number", 1)
            opened = f"; {self._breaker.since_when()}" if self._breaker.is_open else ""
            raise ApiError(
                f"{without_query(url)}: no whole answer in {tries} attempt(s), the last: {error}{opened}; "
                "what has landed stays, and the next pull goes on from there",
                error.status,
            ) from None
        return answer

    def beside(self, url: httpx.URL, link: str) -> httpx.URL:
        """The URL that a link on a page means. ApiError when it leads to another origin or holds a credential."""
        try:
            linked = url.join(link)
        except (httpx.InvalidURL, ValueError):
            raise ApiError(f"{without_query(url)}: the link to the next page is not a URL") from None
        return self._own(linked)

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

    def _wait_s(self, attempt: RetryCallState) -> float:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        asked = error.wait_s if isinstance(error, FailedError) else 0
        return min(max(asked, self._backoff(attempt)), self._settings.longest_wait_s)

    def _once(self, url: httpx.URL) -> Answer:
        try:
            for _ in range(_REDIRECTS + 1):
                with self._client.stream("GET", url) as response:
                    if response.next_request is None:
                        return read_answer(response, self._settings)
                    url = self._own(response.next_request.url)
        except (httpx.TransportError, httpx.DecodingError) as error:
            if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
                raise ApiError(f"{without_query(url)}: {type(error).__name__}: the request cannot be sent") from None
            if (reason := _distrust(error)) is not None:
                raise ApiError(
                    f"{without_query(url)}: the server's certificate is not trusted: {reason}; "
                    "put the certificates of a private authority into ca_file"
                ) from None
            raise FailedError(f"{type(error).__name__}: {redacted(str(error)) or 'no details'}") from None
        raise ApiError(f"{without_query(url)}: more than {_REDIRECTS} redirects")


def _log_retry(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome is not None else None
    wait = round(attempt.upcoming_sleep, 1)
    log.warning("asking again", attempt=attempt.attempt_number, wait_s=wait, problem=str(error))


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
