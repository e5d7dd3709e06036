"""What the files in deploy/emr/ say: the template with its functions resolved, the requests with their variables."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.scheduled import ROOT, ScheduledRun

EMR = ROOT / "deploy" / "emr"
TEMPLATE = EMR / "template.yaml"
ACCOUNT, REGION = "123456789012", "eu-central-1"
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::NoValue": None}
ATTRIBUTES = {
    "Application": f"arn:aws:emr-serverless:{REGION}:{ACCOUNT}:/applications/application1",
    "Alerts": f"arn:aws:sns:{REGION}:{ACCOUNT}:orders-alerts",
    "StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:orders",
    **{role: f"arn:aws:iam::{ACCOUNT}:role/{role}" for role in ("JobRole", "StateMachineRole", "ScheduleRole")},
}
"""The ARN of each resource, which `Ref` gives of some and `GetAtt` of others."""
NAMES = {"Bucket": "new-lake", "Application": "application1"}
VARIABLES = {
    "ACCOUNT": ACCOUNT,
    "APPLICATION_ID": "application1",
    "BUCKET": "lake",
    "CLUSTER_ID": "j-EXAMPLE",
    "EC2_INSTANCE_PROFILE": "orders-instances",
    "EMR_SERVICE_ROLE": "orders-service",
    "JOB_ROLE_ARN": ATTRIBUTES["JobRole"],
    "RELEASE": "0.1.0",
    "RUN_ID": "20240501T120000Z-abcdef",
    "SINCE": "2024-05-01",
    "SUBNET_ID": "subnet-0123456789abcdef0",
    "TOKEN": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "UNTIL": "2024-05-08",
    "VIRTUAL_CLUSTER_ID": "virtual1",
}
"""The variables of the JSON files."""


class _TemplateLoader(yaml.SafeLoader):
    """Reads `!Sub x` as what it is short for: `{Fn::Sub: x}`."""


def _function(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    read = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}[type(node)]
    value = read(node, *([True] if isinstance(node, yaml.SequenceNode) else []))  # type: ignore[operator]
    return {name if name == "Ref" else f"Fn::{name}": value}


_TemplateLoader.add_multi_constructor("!", _function)


class Template:
    """The CloudFormation template with the values of some parameters; those that are not given have their defaults."""

    def __init__(self, **given: Any) -> None:
        self.text: dict[str, Any] = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _TemplateLoader)  # noqa: S506
        self.values = {name: declared["Default"] for name, declared in self.text["Parameters"].items()} | given

    def properties(self, resource: str) -> Any:
        """The properties of a resource as CloudFormation would give them to the service."""
        return self.resolved(self.text["Resources"][resource]["Properties"])

    def definition(self) -> dict[str, Any]:
        """The definition of the state machine with its substitutions made."""
        machine = self.properties("StateMachine")
        found: dict[str, Any] = json.loads(
            filled(
                json.dumps(machine["Definition"]), {k: str(v) for k, v in machine["DefinitionSubstitutions"].items()}
            )
        )
        return found

    def statements(self, role: str) -> dict[str, Any]:
        """The statements of a role's policies by their Sid."""
        policies = self.properties(role)["Policies"]
        return {each["Sid"]: each for policy in policies for each in policy["PolicyDocument"]["Statement"]}

    def resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for each in value if (found := self.resolved(each)) is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1 and (name := next(iter(value))) in ("Ref", *(f"Fn::{each}" for each in _FUNCTIONS)):
            return getattr(self, f"_{name.removeprefix('Fn::').lower()}")(value[name])
        found = {key: self.resolved(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None}

    def _ref(self, name: str) -> Any:
        return {**ATTRIBUTES, **NAMES, **PSEUDO, **self.values}[name]

    def _getatt(self, path: str) -> str:
        assert path.endswith(".Arn")
        return ATTRIBUTES[path.removesuffix(".Arn")]

    def _sub(self, value: Any) -> str:
        text, given = value if isinstance(value, list) else (value, {})

        def put(match: re.Match[str]) -> str:
            name = match[1]
            return str(self.resolved(given[name]) if name in given else
                       self._getatt(name) if "." in name else self._ref(name))  # fmt: skip

        return re.sub(r"\$\{([\w:.]+)\}", put, text)

    def _join(self, value: Any) -> str:
        separator, parts = self.resolved(value)
        return str(separator).join([parts] if isinstance(parts, str) else parts)

    def _equals(self, value: Any) -> bool:
        left, right = self.resolved(value)
        return bool(left == right)

    def _not(self, value: Any) -> bool:
        return not self.resolved(value)[0]

    def _if(self, value: Any) -> Any:
        name, then, otherwise = value
        return self.resolved(then if self.resolved(self.text["Conditions"][name]) else otherwise)


_FUNCTIONS = ("GetAtt", "Sub", "Join", "Equals", "Not", "If")


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its `${NAME}`s replaced; KeyError for one without a value."""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)


def request(name: str) -> dict[str, Any]:
    """A JSON file of deploy/emr/ with its variables filled in."""
    found: dict[str, Any] = json.loads(filled((EMR / name).read_text(encoding="utf-8"), VARIABLES))
    return found


def spark_settings(parameters: str) -> dict[str, str]:
    """The settings of `--conf a=b --conf c=d`; anything else fails."""
    words = shlex.split(parameters)
    assert set(words[::2]) == {"--conf"}
    return dict(word.split("=", 1) for word in words[1::2])


def driver_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What settings of Spark put into the driver's environment, on any of EMR's three platforms."""
    pattern = re.compile(r"spark\.(?:emr-serverless\.driverEnv|yarn\.appMasterEnv|kubernetes\.driverEnv)\.(\w+)")
    return {match[1]: value for name, value in settings.items() if (match := pattern.fullmatch(name))}


def run_job(template: Template) -> dict[str, Any]:
    """The state that starts a job run."""
    found: dict[str, Any] = template.definition()["States"]["Jobs"]["ItemProcessor"]["States"]["RunJob"]
    return found


def job_of(entry_point: str) -> str:
    """`orders` for `s3://.../jobs/orders.py`, which is a file of this project."""
    name = Path(entry_point).name
    assert entry_point.endswith(f"/jobs/{name}")
    assert (ROOT / "jobs" / name).exists()
    return name.removesuffix(".py")


def scheduled_runs() -> list[ScheduledRun]:
    """The jobs of the schedule, with and without sinks, and the steps of a cluster."""
    runs = []
    for has_sinks in ("yes", "no"):
        template = Template(BucketName="lake", HasSinks=has_sinks)
        submit = run_job(template)["Parameters"]["JobDriver"]["SparkSubmit"]
        environment = driver_environment(spark_settings(submit["SparkSubmitParameters"]))
        for task in json.loads(template.properties("StartRuns")["Target"]["Input"])["jobs"]:
            words = f"emr: schedule, sinks: {has_sinks} / {task['job']}"
            runs.append(ScheduledRun(words, task["job"], tuple(task["arguments"]), environment))
    defaults = request("ec2-cluster.json")["Configurations"][1]["Properties"]
    for step in request("ec2-steps.json")["Steps"]:
        arguments = step["HadoopJarStep"]["Args"]
        at = next(at for at, word in enumerate(arguments) if word.endswith(".py"))
        words, job = f"emr: step / {step['Name']}", job_of(arguments[at])
        runs.append(ScheduledRun(words, job, tuple(arguments[at + 1 :]), driver_environment(defaults)))
    return runs


def single_runs() -> dict[str, bool]:
    """Serverless runs one job at a time and the state machine one task; a cluster runs one step."""
    template = Template()
    jobs = template.properties("Application")["SchedulerConfiguration"]["MaxConcurrentRuns"]
    tasks = template.definition()["States"]["Jobs"]["MaxConcurrency"]
    return {
        "emr: application": jobs == 1,
        "emr: state machine": tasks == 1,
        "emr: steps": request("ec2-cluster.json")["StepConcurrencyLevel"] == 1,
    }
