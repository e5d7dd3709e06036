"""What a run read and how its work was spread, from Spark's own event log."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES_READ, SIZE_READ = "number of files read", "size of files read"
SCAN = "Scan parquet"


@dataclass
class Reads:
    """The files that scans of each table chose, and their bytes, though of most files a scan reads some columns only.

    What tasks tell of the bytes that they read leaves out what Parquet reads in threads of its own.
    """

    files: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


def settings(folder: Path) -> list[str]:
    """Options of spark-submit that keep the log of a run in a folder of its own."""
    folder.mkdir(parents=True)
    values = {"enabled": "true", "dir": folder.as_uri(), "compress": "false"}
    return [part for name, value in values.items() for part in ("--conf", f"spark.eventLog.{name}={value}")]


def reads(folder: Path) -> Reads:
    """What the run read whose log is in the folder."""
    found = Reads()
    counted: dict[int, tuple[Counter[str], str]] = {}
    for event in _events(folder):
        kind = event["Event"].rpartition(".")[2]
        if kind in ("SparkListenerSQLExecutionStart", "SparkListenerSQLAdaptiveExecutionUpdate"):
            by_metric = {FILES_READ: found.files, SIZE_READ: found.bytes}
            counted.update((number, (by_metric[name], table)) for number, name, table in _scans(event["sparkPlanInfo"]))
        elif kind == "SparkListenerDriverAccumUpdates":
            for metric, value in event["accumUpdates"]:
                if metric in counted:
                    total, table = counted[metric]
                    total[table] += value
    return found


@dataclass
class Stage:
    """The tasks of one stage: seconds by task, and where they ran."""

    name: str = ""
    ended_ms: int = 0
    seconds: list[float] = field(default_factory=list)
    executors: set[str] = field(default_factory=set)

    @property
    def longest_share(self) -> float:
        """What part of the stage's time its longest task took."""
        return max(self.seconds) / sum(self.seconds)


def stages(folder: Path) -> list[Stage]:
    """The stages of the run whose log is in the folder, in the order in which they ended."""
    found: defaultdict[int, Stage] = defaultdict(Stage)
    for event in _events(folder):
        if event["Event"] == "SparkListenerTaskEnd":
            stage = found[event["Stage ID"]]
            stage.seconds.append(event.get("Task Metrics", {}).get("Executor Run Time", 0) / 1000)
            stage.executors.add(event["Task Info"]["Executor ID"])
        elif event["Event"] == "SparkListenerStageCompleted":
            told = event["Stage Info"]
            found[told["Stage ID"]].name = told["Stage Name"]
            found[told["Stage ID"]].ended_ms = told["Completion Time"]
    return sorted((stage for stage in found.values() if any(stage.seconds)), key=lambda stage: stage.ended_ms)


def _events(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(path for path in folder.rglob("[!.]*") if path.is_file()):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _scans(plan: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    """The metrics of each scan of a Delta table that are about its files, with their names and the table's folder."""
    location = plan.get("metadata", {}).get("Location", "")
    if plan["nodeName"].startswith(SCAN) and location.startswith(("Prepared", "Tahoe")):
        table = location.partition("[")[2].partition("]")[0].partition(",")[0].rstrip("/").rpartition("/")[2]
        about_files = (metric for metric in plan["metrics"] if metric["name"] in (FILES_READ, SIZE_READ))
        yield from ((metric["accumulatorId"], metric["name"], table) for metric in about_files)
    for child in plan["children"]:
        yield from _scans(child)
