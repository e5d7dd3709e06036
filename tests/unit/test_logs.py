"""Where logs go, which of them, and in which form; that no secret is in them, test_secrets says."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import structlog

from etl_lib.process.logs import configure_logs
from jobs import orders
from tests.terminal import terminal

OURS = structlog.get_logger("etl_lib.test")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_other_libraries_tell_their_warnings_in_the_form_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    logging.captureWarnings(capture=False)  # of another test, whose end took it back without saying so
    configure_logs("debug")
    with structlog.contextvars.bound_contextvars(run_id="r1"):
        OURS.warning("ours")
        logging.getLogger("py4j.java_gateway").warning("theirs: %d", 7)
        logging.getLogger("httpx").info("every request")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", stacklevel=1)
    told = events(capsys.readouterr().err)
    assert [(event["logger"], event["level"]) for event in told] == [
        ("etl_lib.test", "warning"),
        ("py4j.java_gateway", "warning"),
        ("py.warnings", "warning"),
    ]
    assert [event["event"] for event in told[:2]] == ["ours", "theirs: 7"]
    assert {tuple(sorted(event)) for event in told} == {("event", "level", "logger", "run_id", "timestamp")}


@pytest.mark.parametrize(
    ("level", "told"), [("debug", ["a", "b", "c", "d"]), ("warning", ["c", "d"]), ("error", ["d"])]
)
def test_the_level_says_what_is_logged(level: str, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level)
    OURS.debug("a")
    OURS.info("b")
    OURS.warning("c")
    OURS.error("d")
    assert [event["event"] for event in events(capsys.readouterr().err)] == told


def test_a_file_gets_json_besides_the_lines_for_people_and_may_be_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "logs" / "orders.log"
    with terminal() as (stream, screen):
        monkeypatch.setattr(sys, "stderr", stream)
        for text in ("one", "two"):
            configure_logs(file=str(file))
            OURS.info(text)
        file.rename(tmp_path / "old.log")
        OURS.info("three")
    assert [line[9:] for line in screen.seen] == ["[info     ] one", "[info     ] two", "[info     ] three"]
    assert [event["event"] for event in events((tmp_path / "old.log").read_text())] == ["one", "two"]
    assert [event["event"] for event in events(file.read_text())] == ["three"]


def test_a_job_logs_as_its_configuration_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.log"
    places = [f"warehouse={tmp_path}", f"output={tmp_path}", f"input.orders={tmp_path}/none"]
    assert orders.main(["--set", *places, f"logs.file={file}"]) == 2
    told = capsys.readouterr().err
    assert f"there is no file or folder {tmp_path}/none" in told
    assert [event["event"] for event in events(file.read_text())] == [event["event"] for event in events(told)]
    assert orders.main(["--set", *places, f"logs.file={tmp_path}"]) == 2
    assert f"logs.file: {tmp_path} cannot be written" in capsys.readouterr().err
    assert orders.main(["--set", *places, "logs.file=s3://bucket/orders.log", "logs.level=loud"]) == 2
    told = capsys.readouterr().err
    assert "logs.file: Value error, must be on a disk of this machine" in told
    assert "logs.level: " in told
