"""The files in deploy/emr/ as far as they can be held without EMR: by AWS's own models, and by carrying them out."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import boto3  # type: ignore[import-untyped, unused-ignore]
import botocore.session  # type: ignore[import-untyped, unused-ignore]
import pytest
from botocore.validate import ParamValidator  # type: ignore[import-untyped, unused-ignore]
from moto import mock_aws

from etl_lib.settings.arguments import parse_order_arguments
from tests.aws import CREDENTIALS
from tests.deploy.emr_files import (
    ATTRIBUTES,
    EMR,
    TEMPLATE,
    VARIABLES,
    Template,
    driver_environment,
    job_of,
    request,
    spark_settings,
)
from tests.deploy.scheduled import ROOT
from tests.deploy.state_machines import Emr, aws, execute, machine_for_tests, names_of_api
from tests.parsers import PARSERS

pytestmark = pytest.mark.deploy

SECRET = f"arn:aws:secretsmanager:eu-central-1:{VARIABLES['ACCOUNT']}:secret:shop-AbCdEf"
FULL = Template(BucketName="lake", HasSinks="yes", SecretArns=[SECRET], AlertEmail="ops@example.com")
JOBS = FULL.properties("StartRuns")["Target"]["Input"]
ROLES = ("JobRole", "StateMachineRole", "ScheduleRole")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def test_linters_find_nothing_and_cloudformation_no_null() -> None:
    from cfnlint.api import lint_file  # noqa: PLC0415 - what only this lane installs
    from statelint.linter import Linter  # noqa: PLC0415

    assert lint_file(TEMPLATE) == []
    assert Linter.validate(FULL.definition()) == []
    assert "null" not in json.dumps(FULL.text)


def application() -> Any:
    return names_of_api(FULL.properties("Application")) | {"clientToken": VARIABLES["TOKEN"]}


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("emr", "RunJobFlow", request("ec2-cluster.json")),
        ("emr", "AddJobFlowSteps", request("ec2-steps.json")),
        ("emr-containers", "StartJobRun", request("eks-job.json")),
        ("emr-serverless", "StartJobRun", request("serverless-job.json")),
        ("emr-serverless", "CreateApplication", application()),
        ("scheduler", "CreateSchedule", FULL.properties("StartRuns")),
        *(
            (
                "stepfunctions",
                "StartExecution",
                {"stateMachineArn": ATTRIBUTES["StateMachine"], "input": json.dumps(request(name))},
            )
            for name in ("backfill-plan.json", "backfill-apply.json")
        ),
    ],
)
def test_a_request_is_one_that_the_service_takes(service: str, operation: str, parameters: Any) -> None:
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    assert ParamValidator().validate(parameters, shape).generate_report() == ""


def test_what_the_state_machine_sends_is_taken_and_is_the_request_for_starting_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emr = Emr({})
    with aws(monkeypatch, emr):
        run = execute(machine_for_tests(FULL), Template(BucketName="lake").properties("StartRuns")["Target"]["Input"])
    assert (run.status, emr.jobs) == ("SUCCEEDED", ["orders", "value_props"])
    shape = botocore.session.get_session().get_service_model("emr-serverless").operation_model("StartJobRun")
    for sent in emr.started:
        assert ParamValidator().validate(sent, shape.input_shape).generate_report() == ""
        submit = sent["jobDriver"]["sparkSubmit"]
        assert job_of(submit["entryPoint"]) == sent["name"]
        PARSERS[sent["name"]](submit["entryPointArguments"])
    tokens = [sent.pop("clientToken") for sent in emr.started]
    assert len(set(tokens)) == len(tokens)
    by_hand = request("serverless-job.json")
    del by_hand["clientToken"]
    assert emr.started[0] == by_hand


@pytest.mark.parametrize(
    ("exit_codes", "started", "waits"),
    [
        pytest.param({}, ["orders", "value_props", "publish"], [], id="all is well"),
        pytest.param({"orders": [1]}, ["orders", "orders", "value_props", "publish"], ["WaitALittle"], id="mended"),
        pytest.param({"orders": [137, 1, 1]}, ["orders"] * 3, ["WaitALittle"] * 2, id="failed for good"),
        pytest.param({"orders": [2]}, ["orders"], [], id="wrong setting"),
        pytest.param({"value_props": [3]}, ["orders", "value_props"], [], id="gate"),
        pytest.param({"publish": [3]}, ["orders", "value_props", "publish"], [], id="held"),
        pytest.param(
            {"orders": [5]}, ["orders", "orders", "value_props", "publish"], ["WaitForTheOther"], id="another run"
        ),
    ],
)
def test_the_state_machine_does_what_helps_after_each_exit_code(
    monkeypatch: pytest.MonkeyPatch, exit_codes: dict[str, list[int]], started: list[str], waits: list[str]
) -> None:
    emr = Emr(exit_codes)
    with aws(monkeypatch, emr):
        run = execute(machine_for_tests(FULL), JOBS)
    assert emr.jobs == started
    assert [state for state in run.visited if state.startswith("Wait")] == waits
    failed = next((job for job in exit_codes if len(waits) != len(exit_codes[job])), None)
    assert run.alerts == ([f"{failed} failed on EMR Serverless"] if failed else [])
    assert (run.status, run.error) == (("FAILED", failed) if failed else ("SUCCEEDED", None))


def test_an_execution_beside_another_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    emr = Emr({})
    with aws(monkeypatch, emr):
        run = execute(machine_for_tests(FULL), JOBS, beside_another=True)
    assert (run.error, emr.jobs) == ("AnotherIsAtWork", [])


def test_a_backfill_is_planned_and_its_plan_applied_and_publishes_nothing_before() -> None:
    (plan,), (apply,) = (request(f"backfill-{step}.json")["jobs"] for step in ("plan", "apply"))
    planned, applied = (parse_order_arguments(task["arguments"]) for task in (plan, apply))
    assert planned.plan
    assert (planned.scope.window.since, planned.scope.window.until) == (
        "2024-05-01T00:00:00+00:00",
        "2024-05-08T00:00:00+00:00",
    )
    assert (applied.apply_run_id, applied.plan) == (VARIABLES["RUN_ID"], False)
    assert (plan["job"], apply["job"]) == ("orders", "orders")


def test_all_three_platforms_give_the_job_the_same_environment_and_sizes() -> None:
    serverless = spark_settings(request("serverless-job.json")["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
    eks = request("eks-job.json")["configurationOverrides"]["applicationConfiguration"][0]["properties"]
    delta, ec2 = (each["Properties"] for each in request("ec2-cluster.json")["Configurations"])
    assert delta == {"delta.enabled": "true"}
    assert driver_environment(serverless) == driver_environment(eks) == driver_environment(ec2)
    assert ec2["spark.yarn.dist.archives"] == serverless["spark.archives"] == eks["spark.archives"]
    for name in (
        name for name in serverless if re.match(r"spark\.(driver|executor|executorEnv|sql|dynamic)\w*\.", name)
    ):
        assert serverless[name] == eks[name] == ec2[name]
    assert eks["spark.jars"] == ",".join(f"local://{jar}" for jar in serverless["spark.jars"].split(","))


def allowed(role: str, action: str, resource: str, **context: str) -> bool:
    """Whether a role's policies allow a call, as IAM decides it for the few conditions that they use."""
    return any(
        action in _listed(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in _listed(statement["Resource"]))
        and all(
            _holds(operator, context.get(key.split(":")[1]), _listed(patterns))
            for operator, tests in statement.get("Condition", {}).items()
            for key, patterns in tests.items()
        )
        for statement in FULL.statements(role).values()
    )


def _holds(operator: str, value: str | None, patterns: list[str]) -> bool:
    if value is None:
        return operator.endswith("IfExists")
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


LAKE = "arn:aws:s3:::lake"


@pytest.mark.parametrize(
    ("action", "resource", "is_allowed"),
    [
        ("s3:GetObject", f"{LAKE}/landing/orders/a.jsonl", True),
        ("s3:PutObject", f"{LAKE}/landing/orders/a.jsonl", False),
        ("s3:DeleteObject", f"{LAKE}/landing/orders/a.jsonl", False),
        ("s3:GetObject", f"{LAKE}/code/0.1.0/environment.tar.gz", True),
        ("s3:PutObject", f"{LAKE}/code/0.1.0/environment.tar.gz", False),
        *(
            (f"s3:{action}", f"{LAKE}/{prefix}/a", True)
            for action in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
            for prefix in ("warehouse", "output")
        ),
        ("s3:PutObject", f"{LAKE}/logs/a", True),
        ("s3:GetObject", f"{LAKE}/logs/a", False),
        ("s3:GetObject", f"{LAKE}/salaries/a", False),
        ("s3:PutObject", "arn:aws:s3:::another/warehouse/a", False),
        ("secretsmanager:GetSecretValue", SECRET, True),
        ("secretsmanager:GetSecretValue", SECRET.replace("shop", "other"), False),
    ],
)
def test_the_job_may_do_what_it_needs_and_nothing_beside(action: str, resource: str, is_allowed: bool) -> None:
    assert allowed("JobRole", action, resource) is is_allowed


@pytest.mark.parametrize(
    ("prefix", "is_allowed"),
    [
        *((f"{folder}/", True) for folder in ("landing", "code", "warehouse", "output")),
        ("warehouse", True),
        (None, True),
        ("salaries/", False),
        ("", False),
    ],
)
def test_the_job_may_list_its_own_folders_and_ask_whether_the_bucket_is_there(
    prefix: str | None, is_allowed: bool
) -> None:
    context = {} if prefix is None else {"prefix": prefix}
    assert allowed("JobRole", "s3:ListBucket", LAKE, **context) is is_allowed


def test_the_state_machine_and_the_schedule_may_do_what_their_tasks_are_and_nothing_beside() -> None:
    needed = {
        "arn:aws:states:::aws-sdk:sfn:listExecutions": {"states:ListExecutions"},
        "arn:aws:states:::emr-serverless:startJobRun.sync": {
            "emr-serverless:StartJobRun",
            "emr-serverless:GetJobRun",
            "emr-serverless:CancelJobRun",
            "iam:PassRole",
            "events:PutTargets",
            "events:PutRule",
            "events:DescribeRule",
        },
        "arn:aws:states:::sns:publish": {"sns:Publish"},
    }
    tasks = set(re.findall(r'"Resource": "(.+?)"', json.dumps(FULL.definition())))
    statements = FULL.statements("StateMachineRole").values()
    granted = {action for statement in statements for action in _listed(statement["Action"])}
    assert granted == set().union(*(needed[task] for task in tasks))
    job_role = ATTRIBUTES["JobRole"]
    assert allowed("StateMachineRole", "iam:PassRole", job_role, PassedToService="emr-serverless.amazonaws.com")
    assert not allowed("StateMachineRole", "iam:PassRole", job_role, PassedToService="ec2.amazonaws.com")
    assert allowed("ScheduleRole", "states:StartExecution", ATTRIBUTES["StateMachine"])
    assert allowed("StateMachineRole", "states:ListExecutions", ATTRIBUTES["StateMachine"])


def test_no_statement_has_a_star_for_an_action_or_for_everything_and_iam_takes_the_roles() -> None:
    with mock_aws():
        iam = boto3.client("iam")
        for role in ROLES:
            for statement in FULL.statements(role).values():
                assert not [action for action in _listed(statement["Action"]) if "*" in action]
                assert not [found for found in _listed(statement["Resource"]) if found.split(":")[-1] in ("*", "")]
            found = FULL.properties(role)
            trust = found["AssumeRolePolicyDocument"]
            assert trust["Statement"][0]["Condition"] == {"StringEquals": {"aws:SourceAccount": VARIABLES["ACCOUNT"]}}
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
            for policy in found["Policies"]:
                document = json.dumps(policy["PolicyDocument"])
                iam.put_role_policy(RoleName=role, PolicyName=policy["PolicyName"], PolicyDocument=document)


def test_what_is_not_given_is_not_there() -> None:
    least = Template()
    assert "Secrets" not in least.statements("JobRole")
    assert "NetworkConfiguration" not in least.properties("Application")
    assert least.statements("JobRole")["List"]["Resource"] == "arn:aws:s3:::new-lake"


def test_the_page_names_every_variable_of_the_requests() -> None:
    used = {
        name for file in EMR.glob("*.json") for name in re.findall(r"\$\{(\w+)\}", file.read_text(encoding="utf-8"))
    }
    page = (ROOT / "docs" / "how-to" / "emr.md").read_text(encoding="utf-8")
    listed = "".join(line.split("|")[1] for line in page.partition("\n## Variables\n")[2].splitlines() if "`" in line)
    assert used == set(re.findall(r"`(\w+)`", listed))
