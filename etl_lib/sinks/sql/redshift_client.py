"""The Redshift Data API: SQL over HTTPS with IAM, no driver and no open connection; a batch is one transaction.

boto3 is imported when a client is made: without Redshift nothing needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import structlog
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random_exponential,
)

from etl_lib.process.errors import ConfigError
from etl_lib.settings.sink_settings import RedshiftSettings
from etl_lib.sinks.sink import PublishRefusedError, SinkError
from etl_lib.sinks.sql.schema_sql import Statement

log = structlog.get_logger(__name__)

MAX_STATEMENTS = 40
"""How many statements the Data API takes as one batch."""
MAX_BYTES = 100_000
"""How much SQL it takes in one request, in bytes."""

FIRST_POLL_S, LONGEST_POLL_S = 0.25, 10
ATTEMPTS = 8
"""How often one request is sent."""
BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30

_TRANSIENT_CODES = {
    "ActiveSessionsExceededException",
    "ActiveStatementsExceededException",
    "InternalServerException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_LAST_CLIENT_ERROR = 499
_ENDED = {"FINISHED", "FAILED", "ABORTED"}


class RedshiftError(SinkError):
    """A statement failed in Redshift, or the Data API could not be reached; the same publish can be repeated."""


def connect(region: str | None) -> Any:
    """A boto3 client with the standard credential chain. ConfigError without boto3 or without a region."""
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - only who publishes to Redshift needs it
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("the sink redshift needs boto3: pip install 'orders-lakehouse[aws]'") from error
    # One layer of retries: ours knows the errors of this API.
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)
    try:
        return boto3.client("redshift-data", region_name=region, config=config)
    except BotoCoreError as error:
        raise ConfigError(f"redshift: cannot make a client: {error}; check the region and the credentials") from error


class RedshiftClient:
    """Runs statements in one database and waits for their end."""

    def __init__(self, settings: RedshiftSettings, *, api: Any = None) -> None:
        """`api` is a boto3 client for `redshift-data`, if another one than `connect` makes.

        It connects as the user of `secret_arn`, or as `db_user` (of a cluster) with a temporary password, or else as
        the user that belongs to the IAM identity. ConfigError for any other combination.
        """
        if (settings.workgroup is None) == (settings.cluster is None):
            raise ConfigError("redshift: give either a workgroup (serverless) or a cluster, not both")
        if settings.db_user is not None and (settings.workgroup is not None or settings.secret_arn is not None):
            raise ConfigError("redshift: db_user goes with a cluster alone; leave it out with a workgroup or a secret")
        place = {
            "Database": settings.database,
            "WorkgroupName": settings.workgroup,
            "ClusterIdentifier": settings.cluster,
            "SecretArn": settings.secret_arn,
            "DbUser": settings.db_user,
        }
        self._place = {name: value for name, value in place.items() if value is not None}
        self._api = connect(settings.region) if api is None else api
        self._timeout_s = settings.timeout_s

    def transact(self, statements: Iterable[Statement]) -> None:
        """Run statements as one transaction: all are committed, or none.

        PublishRefusedError when a check fails, RedshiftError for anything else; the message has the whole statement.
        """
        batch = list(statements)
        size = sum(len(statement.sql.encode()) for statement in batch)
        if len(batch) > MAX_STATEMENTS or size > MAX_BYTES:
            raise RedshiftError(
                f"{len(batch)} statements of {size} bytes cannot be one transaction: the Data API takes "
                f"{MAX_STATEMENTS} statements of {MAX_BYTES} bytes"
            )
        # A request that is sent again, because its answer was lost, is not run again.
        request = {**self._place, "Sqls": [statement.sql for statement in batch], "ClientToken": uuid4().hex}
        self._wait(self._call("batch_execute_statement", **request)["Id"], batch)

    def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """All rows of one SELECT; decimals, dates and times are texts. RedshiftError when it fails."""
        request = {**self._place, "Sql": statement.sql, "ClientToken": uuid4().hex}
        statement_id = self._call("execute_statement", **request)["Id"]
        self._wait(statement_id, [statement])
        records = [record for page in self._pages(statement_id) for record in page["Records"]]
        return [tuple(map(_value, record)) for record in records]

    def _pages(self, statement_id: str) -> Iterator[dict[str, Any]]:
        page = self._call("get_statement_result", Id=statement_id)
        yield page
        while token := page.get("NextToken"):
            page = self._call("get_statement_result", Id=statement_id, NextToken=token)
            yield page

    def _wait(self, statement_id: str, statements: Sequence[Statement]) -> None:
        """Wait for the end of what was submitted; raises when it is not a good one."""
        polls = Retrying(
            retry=retry_if_result(lambda answer: answer["Status"] not in _ENDED),
            wait=wait_exponential(multiplier=FIRST_POLL_S, max=LONGEST_POLL_S),
            stop=stop_after_delay(self._timeout_s),
        )
        try:
            answer = polls(self._call, "describe_statement", Id=statement_id)
        except RetryError:
            answer = self._cancelled(statement_id, statements)
        if answer["Status"] != "FINISHED":
            raise _failure(answer, statements)

    def _cancelled(self, statement_id: str, statements: Sequence[Statement]) -> dict[str, Any]:
        """Cancel what takes too long; gives the answer when it came to a good end in this very moment."""
        try:
            self._call("cancel_statement", Id=statement_id)
            outcome = "it was cancelled and nothing of it was committed"
        except RedshiftError as error:
            outcome = f"it could not be cancelled ({error}), so it may still come to its end"
        answer: dict[str, Any] = self._call("describe_statement", Id=statement_id)
        if answer["Status"] == "FINISHED":
            return answer
        raise RedshiftError(
            f"could not {statements[0].purpose}: the statements from there on ({statement_id}) did not end within "
            f"{self._timeout_s:g} s; {outcome}. Look for what holds it up (a lock, a full queue), and repeat "
            "the publish with the same id"
        )

    def _call(self, operation: str, **request: Any) -> Any:
        """One request, again after what may pass. RedshiftError with the code and message of the service."""
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=BACKOFF_S, max=LONGEST_BACKOFF_S),
            stop=stop_after_attempt(ATTEMPTS),
            before_sleep=_warn,
            reraise=True,
        )
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as in connect

        try:
            return attempts(getattr(self._api, operation), **request)
        except (BotoCoreError, ClientError) as error:
            tries = attempts.statistics["attempt_number"]
            raise RedshiftError(f"redshift-data: {operation} failed after {tries} attempt(s): {error}") from error


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later: the service was busy, or out of reach."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004, PLC0415 - as above

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error.response["Error"]["Code"] in _TRANSIENT_CODES or status > _LAST_CLIENT_ERROR
    return isinstance(error, ConnectionError | HTTPClientError)


def _warn(attempt: RetryCallState) -> None:
    error = None if attempt.outcome is None else attempt.outcome.exception()
    wait = round(attempt.upcoming_sleep, 1)
    log.warning("redshift is busy, trying again", attempt=attempt.attempt_number, wait_s=wait, error=str(error))


def _failure(answer: dict[str, Any], statements: Sequence[Statement]) -> RedshiftError | PublishRefusedError:
    """What to raise for a batch that failed or was aborted: the statement that failed, in full."""
    parts = answer.get("SubStatements") or [answer]
    at = next((number for number, part in enumerate(parts) if part["Status"] == "FAILED"), None)
    if at is None:
        reason = answer.get("Error", "it was cancelled")
        return RedshiftError(f"could not {statements[0].purpose}: {answer['Id']} was {answer['Status']}: {reason}")
    statement, part = statements[at], parts[at]
    reason = part.get("Error") or answer.get("Error", "Redshift gave no reason")
    kind = PublishRefusedError if statement.is_check else RedshiftError
    return kind(
        f"could not {statement.purpose}: {reason}\n"
        f"(statement {at + 1} of {len(parts)}, {part['Id']}; nothing of them was committed)\n{statement.sql}"
    )


def _value(field: dict[str, Any]) -> Any:
    """One value of a record, which stands under the name of its type."""
    return None if field.get("isNull") else next(iter(field.values()))
