"""What cron, systemd and Kubernetes start by the files in deploy/."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.scheduled import ROOT, ScheduledRun

CRON = ROOT / "deploy" / "cron" / "orders"
SYSTEMD = ROOT / "deploy" / "systemd"
KUBERNETES = ROOT / "deploy" / "kubernetes"
SHELL_ENDS = set("();<>|&{}")
"""What ends the arguments of a command in a line of the shell."""


def cron_variables() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", CRON.read_text(), re.MULTILINE))


def cron_lines() -> list[tuple[str, str]]:
    """(when, command) of each line that starts something; between them is the user."""
    lines = [line for line in CRON.read_text().splitlines() if line and not re.match(r"#|\w+=", line)]
    split = [line.split(maxsplit=6) for line in lines]
    return [(" ".join(fields[:5]), fields[6]) for fields in split]


def jobs_of(command: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(job, its arguments) of each job in a line of the shell, also of those in a quoted line within it."""
    words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
    for at, word in enumerate(words):
        if " jobs/" in word:
            yield from jobs_of(word)
        elif found := re.search(r"(?:^|/)jobs/(\w+)\.py$", word):
            ends = (end for end in range(at, len(words)) if set(words[end]) <= SHELL_ENDS)
            yield found[1], tuple(words[at + 1 : next(ends, len(words))])


def unit(path: Path) -> dict[str, list[str]]:
    """Every setting of a unit with all of its values in their order; of services also what all of them have."""
    common = (SYSTEMD / "orders-.service.d" / "common.conf").read_text() if path.suffix == ".service" else ""
    settings: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", common + path.read_text().replace("\\\n", ""), re.MULTILINE):
        settings.setdefault(name, []).append(value)
    return settings


def started_units() -> list[Path]:
    """The services that the timers start."""
    timers = {path: unit(path) for path in sorted(SYSTEMD.glob("*.timer"))}
    return [SYSTEMD / timer.get("Unit", [f"{path.stem}.service"])[0] for path, timer in timers.items()]


def kubernetes_objects() -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = yaml.safe_load((KUBERNETES / "orders.yaml").read_text())["items"]
    return objects


def cron_jobs() -> list[dict[str, Any]]:
    return [each for each in kubernetes_objects() if each["kind"] == "CronJob"]


def pod_of(cron_job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def containers_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """In the order in which they run."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def runs(platform: str, name: str, command: str, environment: dict[str, str]) -> list[ScheduledRun]:
    return [
        ScheduledRun(f"{platform}: {name} / {job}", job, arguments, environment) for job, arguments in jobs_of(command)
    ]


def scheduled_runs() -> list[ScheduledRun]:
    found = [run for when, command in cron_lines() for run in runs("cron", when, command, cron_variables())]
    for path in started_units():
        settings = unit(path)
        environment = dict(pair.split("=") for pair in " ".join(settings["Environment"]).split())
        found += [run for line in settings["ExecStart"] for run in runs("systemd", path.name, line, environment)]
    places = next(each["data"] for each in kubernetes_objects() if each["kind"] == "ConfigMap")
    for cron_job in cron_jobs():
        for container in containers_of(pod_of(cron_job)):
            name = cron_job["metadata"]["name"]
            found += runs("kubernetes", name, shlex.join(container["args"]), places)
    return found


def single_runs() -> dict[str, bool]:
    """cron: flock that does not wait. systemd: a oneshot unit, no template. Kubernetes: Forbid, and one pod."""
    singles = {}
    for when, command in cron_lines():
        if writes(list(jobs_of(command))):
            locked = re.search(r"flock (?:\S+ )*--nonblock (?:\S+ )*\S+ --command '([^']*)'", command)
            singles[f"cron: {when}"] = bool(locked) and list(jobs_of(locked[1])) == list(jobs_of(command))
    for path in started_units():
        singles[f"systemd: {path.name}"] = unit(path)["Type"] == ["oneshot"] and "@" not in path.name
    for cron_job in cron_jobs():
        spec, job = cron_job["spec"], cron_job["spec"]["jobTemplate"]["spec"]
        pods = {job.get("parallelism", 1), job.get("completions", 1)}
        singles[f"kubernetes: {cron_job['metadata']['name']}"] = spec["concurrencyPolicy"] == "Forbid" and pods == {1}
    return singles


def writes(jobs: Sequence[tuple[str, tuple[str, ...]]]) -> bool:
    return any(job != "health" for job, _ in jobs)
