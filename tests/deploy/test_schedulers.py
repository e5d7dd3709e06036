"""cron, systemd and Kubernetes: what reads the files takes them, and what can be run without a cluster is run."""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cronsim import CronSim

from etl_lib.process.errors import ConfigError, QualityGateError, WarehouseBusyError
from etl_lib.settings.arguments import parse_order_arguments
from tests.channels import a_hook
from tests.deploy.schedulers_files import (
    CRON,
    KUBERNETES,
    ROOT,
    SYSTEMD,
    containers_of,
    cron_jobs,
    cron_lines,
    cron_variables,
    jobs_of,
    kubernetes_objects,
    pod_of,
    scheduled_runs,
    unit,
)

pytestmark = pytest.mark.deploy

OLDEST_KUBERNETES = "1.31"
"""The first in which podFailurePolicy is stable."""
USELESS_TO_RETRY = [ConfigError.exit_code, QualityGateError.exit_code]
BUSY = WarehouseBusyError.exit_code


def backfill() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((KUBERNETES / "backfill.yaml").read_text())
    return job


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze says, which must succeed."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is not installed; Debian has it in systemd"
    done = subprocess.run(
        ["systemd-analyze", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as installed, with this project in the place of /opt/orders, so that what they start is there."""
    folder = tmp_path_factory.mktemp("units") / "system"
    shutil.copytree(SYSTEMD, folder)
    for path in folder.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace("/opt/orders", str(ROOT)))
    return folder


def test_systemd_takes_the_units_without_a_warning(units: Path) -> None:
    files = [path for path in units.iterdir() if path.is_file()]
    assert len(files) == 5
    assert analyze("verify", "--man=no", *files) == ""
    named = {name for path in SYSTEMD.glob("*.service") for name in unit(path).get("OnFailure", ())}
    assert named == {"orders-alert.service"}  # verify does not look for it


@pytest.mark.parametrize("service", sorted(path.name for path in SYSTEMD.glob("*.service")))
def test_a_service_has_few_rights(units: Path, service: str) -> None:
    """systemd's own measure, of which 10 is none given up; its threshold counts tenths."""
    analyze("security", "--offline=true", "--threshold=20", "--no-pager", units / service)


def test_timers_are_started_with_the_machine() -> None:
    for timer in SYSTEMD.glob("*.timer"):
        assert unit(timer)["WantedBy"] == ["timers.target"], timer.name


def test_cron_knows_the_times_and_gets_each_command_whole() -> None:
    times = [when for when, _ in cron_lines()] + [job["spec"]["schedule"] for job in cron_jobs()]
    assert all(next(CronSim(when, datetime.now(UTC))) for when in times)
    assert [command for _, command in cron_lines() if re.search(r"(?<!\\)%", command)] == []  # cron makes it a new line
    assert CRON.read_text().endswith("\n")  # cron leaves a last line without its end out


def test_every_job_that_a_file_names_is_among_the_scheduled_runs_and_value_props_is_behind_orders() -> None:
    texts = [CRON, *SYSTEMD.glob("*.service"), KUBERNETES / "orders.yaml"]
    named = sum(len(re.findall(r"^(?!\s*#).*jobs/", path.read_text(), re.MULTILINE)) for path in texts)
    orders = defaultdict(list)
    for run in scheduled_runs():
        orders[run.description.split(" / ")[0]].append(run.job)
    assert sorted(orders.values()) == [["health"]] * 3 + [["orders", "value_props"]] * 3
    assert named == sum(map(len, orders.values())) - 1  # of cron both are in one line


def test_the_exit_codes_decide_what_is_tried_again() -> None:
    run = unit(SYSTEMD / "orders-run.service")
    assert run["Restart"] == ["on-failure"]
    assert run["RestartPreventExitStatus"] == [" ".join(map(str, USELESS_TO_RETRY))]
    assert f"--conflict-exit-code {BUSY} " in cron_lines()[0][1]
    job = cron_jobs()[0]["spec"]["jobTemplate"]["spec"]
    actions = {
        rule["action"]: rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    }
    assert actions["FailJob"] == {"operator": "In", "values": USELESS_TO_RETRY}
    assert actions["Ignore"] == {"operator": "In", "values": [BUSY]}
    assert (job["backoffLimit"], int(run["StartLimitBurst"][0])) == (2, 3)


OBJECTS = {each["kind"] + " " + each["metadata"].get("name", ""): each for each in [*kubernetes_objects(), backfill()]}


@pytest.mark.parametrize("each", OBJECTS.values(), ids=list(OBJECTS))
def test_kubernetes_takes_the_objects_and_no_field_that_it_does_not_know(each: dict[str, Any]) -> None:
    kubernetes_validate.validate(each, OLDEST_KUBERNETES, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError, match="specc"):
        kubernetes_validate.validate({**each, "specc": {}}, OLDEST_KUBERNETES, strict=True)


@pytest.mark.parametrize("pod", [pod_of(job) for job in cron_jobs()], ids=["orders", "orders-health"])
def test_a_pod_has_few_rights_and_what_it_mounts_is_there(pod: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, int(user[1]))
    places = next(each["data"] for each in kubernetes_objects() if each["kind"] == "ConfigMap")
    for container in containers_of(pod):
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"]
        assert not rights["allowPrivilegeEscalation"]
        assert rights["capabilities"] == {"drop": ["ALL"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
        assert {"/tmp", "/opt/spark/work-dir", "/opt/orders/conf"} <= mounts.keys()  # noqa: S108 - of the container
        assert {"/" + place.split("/")[1] for place in places.values()} <= mounts.keys()


def test_the_backfill_has_the_pod_of_the_schedule_and_only_plans() -> None:
    pod, scheduled = backfill()["spec"]["template"]["spec"], pod_of(cron_jobs()[0])
    (container,), first = pod["containers"], scheduled["initContainers"][0]
    assert {**container, "args": first["args"]} == first
    assert without(pod, "containers") == without(scheduled, "containers", "initContainers")
    ((job, arguments),) = jobs_of(shlex.join(container["args"]))
    given = parse_order_arguments(arguments)
    assert (job, given.plan, given.scope.marks_files) == ("orders", True, False)


@dataclass(frozen=True)
class Server:
    """A folder in the place of a server's, with this project as /opt/orders and the sample data as landing files."""

    root: Path

    def fill(self) -> None:
        sample = ROOT / "sample_data"
        shutil.copytree(sample / "orders", self.root / "srv" / "orders" / "landing" / "orders")
        for source in [*sample.glob("[up]*s.csv"), *sample.glob("value_props/[tp]*s.*")]:
            target = self.root / "srv" / "orders" / "landing" / source.stem
            target.mkdir()
            shutil.copy(source, target)
        self.state.mkdir(parents=True)

    @property
    def state(self) -> Path:
        return self.root / "var" / "lib" / "orders"

    def here(self, text: str) -> str:
        """A text of the server with the places of this one."""
        text = text.replace("/opt/orders", str(ROOT))
        return re.sub(r"/(srv|var/lib)/orders", rf"{self.root}/\1/orders", text)

    def cron(self, command: str) -> str:
        """What cron would mail: it starts a line with the variables of its file and little else."""
        environment = {name: self.here(value) for name, value in cron_variables().items()}
        shell = [environment["SHELL"], "-c", self.here(command)]
        environment["HOME"] = str(self.root)
        return subprocess.run(
            shell, env=environment, stdout=subprocess.PIPE, text=True, timeout=300, check=False
        ).stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    it = Server(tmp_path_factory.mktemp("server"))
    it.fill()
    return it


def test_the_line_of_cron_says_when_it_found_another_one_at_work(server: Server) -> None:
    (_, run), (_, health) = cron_lines()
    with (server.state / "schedule.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert server.cron(run) == f"exit code {BUSY}\n"
    assert "orders: it has never succeeded" in server.cron(health)


def test_the_lines_of_cron_load_the_sample_and_then_there_is_nothing_to_mail(server: Server) -> None:
    (_, run), (_, health) = cron_lines()
    assert " && ".join(unit(SYSTEMD / "orders-run.service")["ExecStart"]) in run  # so the unit's commands are these
    assert server.cron(run) == ""
    assert server.cron(health) == ""
    states = [json.loads(path.read_text()) for path in (server.state / "output" / "telling").glob("*.json")]
    assert sorted(state["last_success"]["job"] for state in states) == ["orders", "value_props"]


def test_the_alert_of_a_unit_that_failed_arrives(tmp_path: Path) -> None:
    """systemd's part is done here: its variables, and %H."""
    (command,) = unit(SYSTEMD / "orders-alert.service")["ExecStart"]
    channels = tmp_path / "alert"
    for text, value in {
        "/opt/orders": str(ROOT),
        "/etc/orders/alert": str(channels),
        "%H": "lake1",
        "${MONITOR_SERVICE_RESULT}": "exit-code",
        "${MONITOR_EXIT_STATUS}": "2",
    }.items():
        assert text in command
        command = command.replace(text, value)
    with a_hook() as hook:
        channels.write_text(hook.url + "\n")
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    ((title, message),) = [(got["title"], got["message"]) for got in hook.got]
    assert title == "orders-run.service failed on lake1"
    assert message == "Result: exit-code, exit code 2. Look: journalctl --unit orders-run.service"
