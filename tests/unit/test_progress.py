"""The live display on a terminal of its own, with real steps."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TextIO

import pytest
import structlog

from etl_lib.process.logs import configure_logs
from etl_lib.run.steps import step, step_log
from etl_lib.settings.config import Inputs, Settings
from etl_lib.settings.telling_settings import Telling
from etl_lib.telling.estimates import expected_seconds, share_done
from etl_lib.telling.progress import StepDisplay, display_of
from etl_lib.telling.state import Attempt, JobState, write_state
from tests.terminal import Screen, terminal


def attempt(number: int, *, rate: float, seconds: float, unit: str = "bytes") -> Attempt:
    return Attempt(
        run_id=str(number),
        job="orders",
        status="done",
        started_at="",
        ended_at="",
        duration_s=seconds,
        rates={"stage": {unit: rate}},
        step_seconds={"stage": seconds},
    )


def settings(folder: Path, *, progress: bool = True) -> Settings:
    places = {"warehouse": "/nowhere", "output": str(folder), "rules": "/nowhere"}
    return Settings(**places, input=Inputs(), telling=Telling(progress=progress))


def logged_to(stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logs()


def display_on(stream: TextIO, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StepDisplay:
    logged_to(stream, monkeypatch)
    display = display_of(settings(folder), "orders")
    assert display is not None
    return display


def interrupted(name: str) -> None:
    with step(name):
        time.sleep(0.1)
        raise KeyboardInterrupt


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A run of 1.3 s: `stage` with a bar of 2 s from history, `users` beside it in a thread, logs in between."""
    write_state(str(tmp_path), "orders", JobState(attempts=(attempt(1, rate=500, seconds=2),)))
    with terminal() as (stream, screen):
        display = display_on(stream, tmp_path, monkeypatch)
        with step_log(display):

            def beside() -> None:
                with step_log(display), step("users"):
                    time.sleep(0.5)

            thread = Thread(target=beside)
            with step("stage", bytes=1000):
                thread.start()
                time.sleep(0.3)
                structlog.get_logger("etl_lib.test").info("a line")
                print("a line of Java", file=stream, flush=True)
                time.sleep(1)
            thread.join()
            time.sleep(0.3)
        display.hide()
        stream.write("the summary\n")
    return screen


def test_a_step_shows_its_name_its_time_and_a_bar_and_leaves_nothing_behind(frames: Screen) -> None:
    live = [[line for line in frame if line[:1] not in "0123456789a"] for frame in frames.frames]
    of_stage = [line for frame in live for line in frame if " stage " in line]
    assert {match[0] for line in of_stage if (match := re.search(r"\d:\d\d", line))} >= {"0:00", "0:01"}
    assert "about 0:02 left" in of_stage[0]
    assert any("about 0:01 left" in line for line in of_stage)
    ends = [max(line.find("╸"), line.find("╺")) for line in of_stage]  # of the bar, by half characters
    assert ends[0] < ends[-1] - 10
    assert sorted(ends) == ends
    assert any(" stage " in " ".join(frame) and " users " in " ".join(frame) for frame in live)
    assert not any(" users " in line for line in live[-1])
    assert any(" orders " in line for line in live[-1])  # between two steps, too


def test_lines_of_the_log_and_of_others_stay_whole_above_it(frames: Screen) -> None:
    assert [re.sub(r"^\d\d:\d\d:\d\d | +seconds=\d\.\d$", "", line) for line in frames.seen] == [
        "[info     ] a line",
        "a line of Java",
        "[info     ] users",
        "[info     ] stage",
        "the summary",
    ]


def test_while_a_step_takes_longer_than_expected_it_is_not_called_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(str(tmp_path), "orders", JobState(attempts=(attempt(1, rate=1000, seconds=0.3),)))
    with terminal() as (stream, screen):
        display = display_on(stream, tmp_path, monkeypatch)
        with step_log(display), step("stage", bytes=300):
            time.sleep(0.7)
        display.hide()
    last = screen.frames[-2]
    assert any("longer than the last runs" in line and ("╺" in line or "╸" in line) for line in last)


def test_an_error_leaves_a_clean_terminal_and_a_later_step_is_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a run that was cut off is finished, and told, before the new one goes on."""
    with terminal() as (stream, screen):
        display = display_on(stream, tmp_path, monkeypatch)
        for name in ("first", "second"):
            with pytest.raises(KeyboardInterrupt), step_log(display):
                interrupted(name)
            display.hide()
            stream.write(f"after the {name}\n")
    assert screen.seen == ["after the first", "after the second"]
    assert any("  second " in line for frame in screen.frames for line in frame)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_can_do_nothing_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    with terminal() as (stream, _):
        logged_to(stream, monkeypatch)
        monkeypatch.setenv("TERM", term)
        assert display_of(settings(tmp_path), "orders") is None


def test_nothing_is_shown_in_a_file_or_where_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged_to(io.StringIO(), monkeypatch)
    assert display_of(settings(tmp_path), "orders") is None
    with terminal() as (stream, _):
        logged_to(stream, monkeypatch)
        assert display_of(settings(tmp_path, progress=False), "orders") is None


def test_the_last_runs_that_did_as_much_tell_how_long_a_step_takes() -> None:
    alike = [attempt(number, rate=rate, seconds=10) for number, rate in enumerate((5.0, 90.0, 100.0, 120.0))]
    start_up = [attempt(4, rate=1.0, seconds=30)]
    older = [attempt(5, rate=1.0, seconds=1000)] * 10
    state = JobState(attempts=(*older, *[attempt(6, rate=90, seconds=10, unit="rows")] * 5, *alike, *start_up))
    assert expected_seconds(state, "stage", {"bytes": 1000}) == 10
    assert expected_seconds(state, "stage", {"bytes": 100_000}) is None
    assert expected_seconds(state, "stage", {"bytes": 1}) is None
    assert expected_seconds(state, "stage", {"bytes": 0}) is None
    assert expected_seconds(state, "users", {"bytes": 1000}) is None


def test_a_share_grows_steadily_at_first_and_never_to_the_end() -> None:
    shares = [share_done(elapsed, 10) for elapsed in (0, 5, 7.5, 10, 20, 1000)]
    assert shares[:3] == [0, 0.5, 0.75]
    assert shares == sorted(shares)
    assert 0.85 < shares[3] < 0.9
    assert shares[-1] <= 0.95
