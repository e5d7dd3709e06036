"""A state machine of Step Functions, carried out by moto, beside an EMR Serverless that ends jobs as it is told."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped, unused-ignore]
import pytest
from moto import mock_aws

from tests.deploy.emr_files import ATTRIBUTES, Template

FAILED = "Job failed, please check complete logs in configured logging destination. ExitCode: {}. Last few exceptions:"
"""What EMR Serverless says of a job whose process ended with an exit code."""


@dataclass
class Emr:
    """What stands in for EMR Serverless: each start of a job ends with the next of its exit codes, then with 0."""

    exit_codes: Mapping[str, Sequence[int]]
    started: list[dict[str, Any]] = field(default_factory=list)
    """The requests, with everything in them evaluated."""

    @property
    def jobs(self) -> list[str]:
        return [each["name"] for each in self.started]

    def outcome(self, request: dict[str, Any]) -> str | None:
        """Why a job run failed, as Step Functions tells it; None when it did not."""
        codes = self.exit_codes.get(request["name"], ())
        attempt = self.jobs.count(request["name"])
        self.started.append(copy.deepcopy(request))
        code = codes[attempt] if attempt < len(codes) else 0
        return json.dumps({"State": "FAILED", "StateDetails": FAILED.format(code)}) if code else None


@dataclass
class Execution:
    """How an execution went."""

    status: str
    error: str | None
    visited: list[str]
    """The states in their order."""
    alerts: list[str]
    """The subjects of what was sent to the topic."""


def machine_for_tests(template: Template) -> dict[str, Any]:
    """The definition, in which waiting takes no time, and the start of a job does not look like `.sync` to moto."""
    definition = template.definition()
    states = definition["States"]["Jobs"]["ItemProcessor"]["States"]
    for state in states.values():
        if state["Type"] == "Wait":
            state["Seconds"] = 0
    assert states["RunJob"]["Resource"] == "arn:aws:states:::emr-serverless:startJobRun.sync"
    states["RunJob"]["Resource"] = "arn:aws:states:::emr-serverless:startJobRun"
    return definition


def names_of_api(value: Any) -> Any:
    """A request with the names of the API: at Step Functions' side each begins with a capital."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: names_of_api(each) for name, each in value.items()}
    return [names_of_api(each) for each in value] if isinstance(value, list) else value


@contextmanager
def aws(monkeypatch: pytest.MonkeyPatch, emr: Emr) -> Iterator[None]:
    """Moto with a Step Functions that carries executions out and hands jobs to `emr`."""
    # Imported here, as these need antlr4, which only this lane installs.
    from moto.stepfunctions.parser import api  # noqa: PLC0415
    from moto.stepfunctions.parser.asl.component.common.error_name import error_name, failure_event  # noqa: PLC0415
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (  # noqa: PLC0415
        state_task_service_aws_sdk as sdk,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (  # noqa: PLC0415
        state_task_service_unsupported as unsupported,
    )

    def start_job_run(_state: Any, *, env: Any, normalised_parameters: Any, **_: Any) -> None:
        if cause := emr.outcome(names_of_api(normalised_parameters)):
            details = {"taskFailedEventDetails": {"error": "States.TaskFailed", "cause": cause}}
            name, kind = error_name.ErrorName("States.TaskFailed"), api.HistoryEventType.TaskFailed
            raise failure_event.FailureEventException(failure_event.FailureEvent(env, name, kind, details))
        env.stack.append({"State": "SUCCESS"})

    def list_executions(_state: Any, *, env: Any, normalised_parameters: Any, **_: Any) -> None:
        found = boto3.client("stepfunctions").list_executions(**names_of_api(normalised_parameters))["executions"]
        env.stack.append({"Executions": [{"ExecutionArn": each["executionArn"]} for each in found]})

    monkeypatch.setattr(unsupported.StateTaskServiceUnsupported, "_eval_service_task", start_job_run)
    monkeypatch.setattr(sdk.StateTaskServiceAwsSdk, "_eval_service_task", list_executions)
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        yield


def execute(definition: Mapping[str, Any], jobs: str, *, beside_another: bool = False) -> Execution:
    """Carry out an execution with the input that the schedule gives; another may be at work meanwhile."""
    client = boto3.client("stepfunctions")
    boto3.client("sns").create_topic(Name=ATTRIBUTES["Alerts"].rpartition(":")[2])
    waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3, "End": True}}}
    first = json.dumps(waiting if beside_another else definition)
    arn = client.create_state_machine(name="orders", roleArn=ATTRIBUTES["StateMachineRole"], definition=first)
    machine = arn["stateMachineArn"]
    if beside_another:
        client.start_execution(stateMachineArn=machine, name="another")
        client.update_state_machine(stateMachineArn=machine, definition=json.dumps(definition))
    return _end_of(client, client.start_execution(stateMachineArn=machine, name="this", input=jobs)["executionArn"])


def _end_of(client: Any, execution: str) -> Execution:
    deadline = time.monotonic() + 60
    while (told := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline, "the execution does not end"
        time.sleep(0.05)
    events = client.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    visited = [each["stateEnteredEventDetails"]["name"] for each in events if "stateEnteredEventDetails" in each]
    sent = [
        json.loads(each["taskScheduledEventDetails"]["parameters"])["Subject"]
        for each in events
        if each.get("taskScheduledEventDetails", {}).get("resourceType") == "sns"
    ]
    return Execution(told["status"], told.get("error"), visited, sent)
