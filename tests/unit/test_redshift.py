"""The client of the Redshift Data API, against moto's service and against answers that botocore itself validates."""

# ruff: noqa: S106, S608 - a secret_arn is no secret, and no statement here reaches a database

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ParamValidationError
from botocore.stub import ANY, Stubber
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.redshiftdata.models import redshiftdata_backends
from structlog.testing import capture_logs

from etl_lib.process.errors import ConfigError
from etl_lib.settings.sink_settings import RedshiftSettings
from etl_lib.sinks.sink import PublishRefusedError
from etl_lib.sinks.sql import redshift_client
from etl_lib.sinks.sql.redshift_client import (
    MAX_BYTES,
    MAX_STATEMENTS,
    RedshiftClient,
    RedshiftError,
    connect,
)
from etl_lib.sinks.sql.schema_sql import Statement

REGION = "eu-central-1"
ID = "d9b6c0c9-0747-4bf4-b142-e8883122f766"
ATTEMPTS = 4


def place(**settings: str) -> RedshiftSettings:
    return RedshiftSettings(staging="s3://lake/staging", **{"database": "d", **settings})


SERVERLESS = place(database="shop", workgroup="analytics", region=REGION)
TWO = [Statement("lock", "LOCK t"), Statement("check it", "SELECT 'é'", is_check=True)]


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redshift_client, "ATTEMPTS", ATTEMPTS)
    for name in ("FIRST_POLL_S", "LONGEST_POLL_S", "BACKOFF_S", "LONGEST_BACKOFF_S"):
        monkeypatch.setattr(redshift_client, name, 0)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.fixture
def api() -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("redshift-data", region_name=REGION, config=config)


@pytest.fixture
def stub(api: Any) -> Iterator[Stubber]:
    """The answers to come; each request is held against the service's own model, and against what is expected."""
    with Stubber(api) as stub:
        yield stub
        stub.assert_no_pending_responses()


def client(api: Any, settings: RedshiftSettings = SERVERLESS, **others: Any) -> RedshiftClient:
    return RedshiftClient(settings.model_copy(update={"timeout_s": 5, **others}), api=api)


def submitted(stub: Stubber, statements: list[Statement], **where: str) -> None:
    sqls = [statement.sql for statement in statements]
    request = {**(where or {"Database": "shop", "WorkgroupName": "analytics"}), "Sqls": sqls, "ClientToken": ANY}
    stub.add_response("batch_execute_statement", {"Id": ID}, request)


def described(stub: Stubber, status: str, **others: Any) -> None:
    stub.add_response("describe_statement", {"Id": ID, "Status": status, **others}, {"Id": ID})


def part(number: int, status: str, **others: str) -> dict[str, str]:
    return {"Id": f"{ID}:{number}", "Status": status, **others}


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        (place(workgroup="wg1"), {"Database": "d", "WorkgroupName": "wg1"}),
        (place(workgroup="wg1", secret_arn="a"), {"Database": "d", "WorkgroupName": "wg1", "SecretArn": "a"}),
        (place(cluster="c1", secret_arn="a"), {"Database": "d", "ClusterIdentifier": "c1", "SecretArn": "a"}),
        (place(cluster="c1", db_user="u"), {"Database": "d", "ClusterIdentifier": "c1", "DbUser": "u"}),
        (place(cluster="c1"), {"Database": "d", "ClusterIdentifier": "c1"}),
    ],
    ids=["serverless as IAM", "serverless by secret", "cluster by secret", "cluster as user", "cluster as IAM"],
)
def test_a_batch_goes_where_the_endpoint_says(
    api: Any, stub: Stubber, settings: RedshiftSettings, where: dict[str, str]
) -> None:
    submitted(stub, TWO, **where)
    described(stub, "FINISHED")
    client(api, settings).transact(TWO)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"workgroup": "w", "cluster": "c"},
        {"workgroup": "w", "db_user": "u"},
        {"cluster": "c", "db_user": "u", "secret_arn": "a"},
    ],
    ids=repr,
)
def test_an_endpoint_that_contradicts_itself_is_a_wrong_configuration(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="redshift: "):
        RedshiftClient(place(**wrong))


def test_a_batch_is_waited_for_until_it_has_ended(api: Any, stub: Stubber) -> None:
    submitted(stub, TWO)
    for status in ("SUBMITTED", "PICKED", "STARTED", "STARTED", "FINISHED"):
        described(stub, status)
    client(api).transact(TWO)


@pytest.mark.parametrize(
    ("failed", "kind"), [(0, RedshiftError), (1, PublishRefusedError)], ids=["a statement", "a check"]
)
def test_the_statement_that_failed_is_shown_in_full(
    api: Any, stub: Stubber, failed: int, kind: type[Exception]
) -> None:
    reason = 'ERROR: relation "t" does not exist'
    parts = [part(1, "FINISHED"), part(2, "ABORTED")]
    parts[failed] = part(failed + 1, "FAILED", Error=reason)
    submitted(stub, TWO)
    described(stub, "FAILED", Error=f"Query #{failed + 1} failed", SubStatements=parts)
    with pytest.raises(kind) as caught:
        client(api).transact(TWO)
    told = (
        f"could not {TWO[failed].purpose}: {reason}\n(statement {failed + 1} of 2, {ID}:{failed + 1}; nothing of them"
    )
    assert str(caught.value) == f"{told} was committed)\n{TWO[failed].sql}"


def test_a_long_statement_is_not_cut_in_the_error(api: Any, stub: Stubber) -> None:
    [long] = statements = [Statement("insert", f"INSERT INTO t VALUES ('{'x' * 50_000}')")]
    submitted(stub, statements)
    described(stub, "FAILED", SubStatements=[part(1, "FAILED", Error="no")])
    with pytest.raises(RedshiftError) as caught:
        client(api).transact(statements)
    assert long.sql in str(caught.value)


@pytest.mark.parametrize(
    ("others", "reason"), [({}, "it was cancelled"), ({"Error": "by an admin"}, "by an admin")], ids=["silent", "told"]
)
def test_a_batch_that_somebody_cancelled_is_told(api: Any, stub: Stubber, others: dict[str, str], reason: str) -> None:
    submitted(stub, TWO)
    described(stub, "ABORTED", **others)
    with pytest.raises(RedshiftError, match=f"could not lock: {ID} was ABORTED: {reason}"):
        client(api).transact(TWO)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("ActiveStatementsExceededException", 400),
        ("ActiveSessionsExceededException", 400),
        ("InternalServerException", 500),
        ("BadGateway", 502),
    ],
)
def test_a_busy_service_is_asked_again_with_the_same_token(api: Any, stub: Stubber, code: str, status: int) -> None:
    tokens = []
    api.meta.events.register(
        "provide-client-params.redshift-data.BatchExecuteStatement",
        lambda params, **_: tokens.append(params["ClientToken"]),
    )
    for _ in range(3):
        stub.add_client_error("batch_execute_statement", code, "later", http_status_code=status)
    submitted(stub, TWO)
    stub.add_client_error("describe_statement", code, "later", http_status_code=status)
    described(stub, "FINISHED")
    with capture_logs() as logs:
        client(api).transact(TWO)
    assert len(tokens) == 4
    assert len(set(tokens)) == 1
    assert 1 <= len(tokens[0]) <= 64
    assert [(entry["event"], entry["attempt"]) for entry in logs] == [
        ("redshift is busy, trying again", attempt) for attempt in (1, 2, 3, 1)
    ]


def test_every_batch_has_a_token_of_its_own(api: Any, stub: Stubber) -> None:
    tokens = []
    api.meta.events.register(
        "provide-client-params.redshift-data.BatchExecuteStatement",
        lambda params, **_: tokens.append(params["ClientToken"]),
    )
    for _ in range(2):
        submitted(stub, TWO)
        described(stub, "FINISHED")
        client(api).transact(TWO)
    assert len(set(tokens)) == 2


def test_a_service_that_stays_busy_is_given_up(api: Any, stub: Stubber) -> None:
    for _ in range(ATTEMPTS):
        stub.add_client_error("batch_execute_statement", "ThrottlingException", "Rate exceeded", http_status_code=400)
    with pytest.raises(RedshiftError, match=r"batch_execute_statement failed after 4 attempt\(s\): .*Rate exceeded"):
        client(api).transact(TWO)


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException", "ResourceNotFoundException"])
def test_an_error_that_will_not_pass_is_raised_at_once(api: Any, stub: Stubber, code: str) -> None:
    stub.add_client_error("batch_execute_statement", code, "no such workgroup", http_status_code=400)
    with pytest.raises(RedshiftError, match=rf"after 1 attempt\(s\): .*{code}.*no such workgroup"):
        client(api).transact(TWO)


def test_a_service_out_of_reach_is_tried_again_and_then_told() -> None:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    nobody = boto3.client("redshift-data", region_name=REGION, endpoint_url="http://127.0.0.1:9", config=config)
    with capture_logs() as logs, pytest.raises(RedshiftError, match=r"failed after 4 attempt\(s\)") as caught:
        client(nobody).transact(TWO)
    assert isinstance(caught.value.__cause__, EndpointConnectionError)
    assert len(logs) == 3


def test_what_takes_too_long_is_cancelled(api: Any, stub: Stubber) -> None:
    submitted(stub, TWO)
    described(stub, "STARTED")
    stub.add_response("cancel_statement", {"Status": True}, {"Id": ID})
    described(stub, "ABORTED")
    with pytest.raises(RedshiftError, match=r"could not lock: .*within 0 s; it was cancelled and nothing of it"):
        client(api, timeout_s=0).transact(TWO)


def test_what_ended_well_while_it_was_being_cancelled_is_well(api: Any, stub: Stubber) -> None:
    submitted(stub, TWO)
    described(stub, "STARTED")
    stub.add_client_error("cancel_statement", "ValidationException", "already FINISHED", http_status_code=400)
    described(stub, "FINISHED")
    client(api, timeout_s=0).transact(TWO)


def test_what_cannot_be_cancelled_is_told(api: Any, stub: Stubber) -> None:
    submitted(stub, TWO)
    described(stub, "STARTED")
    stub.add_client_error("cancel_statement", "ValidationException", "not yours", http_status_code=400)
    described(stub, "STARTED")
    with pytest.raises(RedshiftError, match=r"could not be cancelled .*not yours.* may still come to its end"):
        client(api, timeout_s=0).transact(TWO)


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("statements", "told"),
    [
        ([Statement("s", "SELECT 1")] * (MAX_STATEMENTS + 1), "41 statements of 328 bytes"),
        ([Statement("s", "é" * (MAX_BYTES // 2) + "x")], "1 statements of 100001 bytes"),
    ],
    ids=["too many", "too long"],
)
def test_what_does_not_fit_in_one_transaction_is_refused(api: Any, statements: list[Statement], told: str) -> None:
    with pytest.raises(RedshiftError, match=f"{told} cannot be one transaction"):
        client(api).transact(statements)


def test_a_batch_as_large_as_allowed_is_valid_for_the_service(api: Any, stub: Stubber) -> None:
    statements = [Statement("s", "x" * (MAX_BYTES // MAX_STATEMENTS))] * MAX_STATEMENTS
    submitted(stub, statements)
    described(stub, "FINISHED")
    client(api).transact(statements)


def test_botocore_refuses_what_is_no_request(api: Any) -> None:
    with pytest.raises(RedshiftError, match="Invalid type for parameter Database") as caught:
        client(api, RedshiftSettings.model_construct(database=7, workgroup="wg1")).transact(TWO)
    assert isinstance(caught.value.__cause__, ParamValidationError)


def test_all_pages_of_a_result_are_read_with_their_types(api: Any, stub: Stubber) -> None:
    where = {"Database": "shop", "WorkgroupName": "analytics", "Sql": "SELECT 1", "ClientToken": ANY}
    stub.add_response("execute_statement", {"Id": ID}, where)
    described(stub, "STARTED")
    described(stub, "FINISHED", HasResultSet=True)
    first = [[{"stringValue": "12.3400"}, {"longValue": 2**62}, {"isNull": True}]]
    last = [[{"stringValue": ""}, {"doubleValue": 0.5}, {"booleanValue": False}]]
    stub.add_response("get_statement_result", {"Records": first, "NextToken": "more"}, {"Id": ID})
    stub.add_response("get_statement_result", {"Records": last}, {"Id": ID, "NextToken": "more"})
    assert client(api).query(Statement("read", "SELECT 1")) == [("12.3400", 2**62, None), ("", 0.5, False)]


def test_a_query_that_fails_is_shown_in_full(api: Any, stub: Stubber) -> None:
    stub.add_response("execute_statement", {"Id": ID})
    described(stub, "FAILED", Error="ERROR: permission denied")
    with pytest.raises(RedshiftError, match=r"(?s)could not read: ERROR: permission denied\n.*\nSELECT secret"):
        client(api).query(Statement("read", "SELECT secret"))


@mock_aws
def test_a_query_is_run_and_read_in_moto() -> None:
    api, polls = connect(REGION), count(1)

    def finish(**_: Any) -> None:
        # moto never runs a statement: it would stay STARTED
        if next(polls) == 3:
            [statement] = redshiftdata_backends[DEFAULT_ACCOUNT_ID][REGION].statements.values()
            assert statement.query_string == "SELECT 1"
            statement.status = "FINISHED"

    api.meta.events.register("before-call.redshift-data.DescribeStatement", finish)
    rows = client(api).query(Statement("read", "SELECT 1"))
    assert rows == [(10, "Alpha st", "Vancouver"), (50, "Beta st", "Toronto"), (100, "Gamma av", "Seattle")]
    assert next(polls) == 4


@mock_aws
def test_a_query_that_takes_too_long_is_aborted_in_moto() -> None:
    with pytest.raises(RedshiftError, match=r"within 0\.2 s; it was cancelled"):
        client(connect(REGION), timeout_s=0.2).query(Statement("read", "SELECT 1"))
    [statement] = redshiftdata_backends[DEFAULT_ACCOUNT_ID][REGION].statements.values()
    assert statement.status == "ABORTED"


def test_a_client_has_one_layer_of_retries() -> None:
    assert connect(REGION).meta.config.retries["total_max_attempts"] == 1


def test_a_client_without_a_region_is_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ConfigError, match="You must specify a region"):
        connect(None)


def test_without_boto3_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs boto3: pip install 'orders-lakehouse\[aws\]'"):
        RedshiftClient(SERVERLESS)


def test_importing_the_module_does_not_import_boto3() -> None:
    asked = "import sys, etl_lib.sinks.sql.redshift_client; print(sorted({'boto3', 'botocore'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
