"""Steps taken at the same time: results by name, and no error is lost."""

from __future__ import annotations

from threading import Barrier, Event

import pytest
from structlog.testing import capture_logs

from etl_lib.process.concurrently import concurrently


def test_steps_are_taken_at_the_same_time_and_their_results_have_their_names() -> None:
    meet = Barrier(2, timeout=10)
    found = concurrently(one=lambda: ("first", meet.wait()), two=lambda: ("second", meet.wait()))
    assert {name: result[0] for name, result in found.items()} == {"one": "first", "two": "second"}


def test_an_error_is_raised_when_all_have_ended_and_those_of_others_are_told() -> None:
    failed, ended = Event(), Event()

    def fail() -> None:
        failed.set()
        raise OSError("the disk is full")

    def fail_later() -> None:
        failed.wait(10)
        ended.set()
        raise ValueError("and this, too")

    with capture_logs() as logs, pytest.raises(OSError, match="the disk is full"):
        concurrently(now=fail, later=fail_later)
    assert ended.is_set()
    assert [log["reason"] for log in logs] == ["ValueError: and this, too"]
