"""What Spark's Java logs with the file of deploy/spark: a warning and an error of a start that fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.classic

START_THAT_FAILS = (
    *("org.apache.spark.deploy.SparkSubmit", "--master", "local"),
    *("--class", "org.apache.spark.deploy.master.Master", "/nowhere/none.jar", "--port", "1"),
)


def logged(**environment: str) -> list[str]:
    jars = ROOT / ".venv" / "spark" / "jars" / "*"
    done = subprocess.run(
        ["java", "-cp", f"{ROOT / 'deploy' / 'spark'}:{jars}", *START_THAT_FAILS],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stderr.splitlines()


def test_spark_logs_in_the_form_of_the_job() -> None:
    events = [json.loads(line) for line in logged()]
    missing_jar = next(event for event in events if "none.jar" in event["event"])
    assert set(missing_jar) == {"timestamp", "level", "logger", "event"}
    assert (missing_jar["level"], missing_jar["logger"]) == ("warning", "org.apache.spark.util.DependencyUtils")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(missing_jar["timestamp"])).total_seconds() < 60
    failed = events[-1]
    assert failed["level"] == "error"
    assert "requirement failed" in failed["exception"]
    assert "\n\tat " in failed["exception"]


def test_on_a_terminal_spark_logs_for_people_and_clears_what_is_live() -> None:
    lines = logged(ORDERS_LOGS="people", ORDERS_TIME_ZONE="GMT+0530")
    first = next(line for line in lines if "none.jar" in line)
    assert first.startswith("\x1b[J")
    time = re.search(r"\d\d:\d\d:\d\d", first)
    assert time is not None
    minutes = datetime.now(UTC).hour * 60 + datetime.now(UTC).minute - int(time[0][:2]) * 60 - int(time[0][3:5])
    assert (minutes + 330) % 1440 <= 1
    plain = re.sub(r"\x1b\[[\d;]*[mJ]", "", first)
    assert plain[8:] == " [warning  ] Local jar /nowhere/none.jar does not exist, skipping. [DependencyUtils]"
    assert any(line.startswith("\tat ") for line in lines)
