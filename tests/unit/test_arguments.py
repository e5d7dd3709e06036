"""The command line: what each option becomes, and what is refused before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from etl_lib.arguments import DEFAULT_CONFIG, Arguments, parse_arguments
from etl_lib.errors import ConfigError
from etl_lib.judge import Window


def parse(*argv: str) -> Arguments:
    return parse_arguments(argv, "orders", "Load orders.")


def test_without_options_the_new_files_of_the_local_configuration_are_loaded() -> None:
    assert parse() == Arguments(
        config=DEFAULT_CONFIG,
        overrides=(),
        window=Window(None, None),
        full=False,
        plan=False,
        apply_run_id=None,
        as_json=False,
        given=(),
    )
    assert DEFAULT_CONFIG.is_file()


def test_every_option_finds_its_place_and_the_command_line_is_kept_as_given() -> None:
    argv = (
        *("--config", "conf/emr.yaml", "--set", "input.orders=a.json", "--set", "samples=1"),
        *("--since", "2024-05-01", "--until", "2024-06-01", "--full", "--plan", "--json"),
    )
    assert parse(*argv) == Arguments(
        config=Path("conf/emr.yaml"),
        overrides=("input.orders=a.json", "samples=1"),
        window=Window("2024-05-01T00:00:00+00:00", "2024-06-01T00:00:00+00:00"),
        full=True,
        plan=True,
        apply_run_id=None,
        as_json=True,
        given=argv,
    )


def test_apply_takes_the_id_of_a_plan() -> None:
    assert parse("--apply", "20240501T101500Z-c0ffee").apply_run_id == "20240501T101500Z-c0ffee"


@pytest.mark.parametrize(
    ("given", "in_utc"),
    [
        pytest.param("2024-05-01", "2024-05-01T00:00:00+00:00", id="a date"),
        pytest.param("2024-05-01T10:00:00", "2024-05-01T10:00:00+00:00", id="no zone"),
        pytest.param("2024-05-01T10:00:00Z", "2024-05-01T10:00:00+00:00", id="Z"),
        pytest.param("2024-05-01T01:00:00+02:00", "2024-04-30T23:00:00+00:00", id="an offset"),
        pytest.param("2024-05-01 10:00:00.5", "2024-05-01T10:00:00.500000+00:00", id="a fraction"),
    ],
)
def test_a_time_becomes_utc(given: str, in_utc: str) -> None:
    assert parse("--since", given, "--until", "2025-01-01").window.since == in_utc
    assert parse("--until", given).window.until == in_utc


@pytest.mark.parametrize(
    ("argv", "marks"),
    [
        pytest.param([], True, id="no window"),
        pytest.param(["--full"], True, id="full"),
        pytest.param(["--plan"], True, id="plan"),
        pytest.param(["--since", "2024-05-01"], False, id="since"),
        pytest.param(["--until", "2024-05-01"], False, id="until"),
    ],
)
def test_a_run_of_a_window_marks_no_file_as_loaded(argv: Sequence[str], marks: bool) -> None:
    assert parse(*argv).marks_files is marks


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--sinse", "2024-05-01"], "unrecognized arguments: --sinse 2024-05-01", id="unknown option"),
        pytest.param(["orders.json"], "unrecognized arguments: orders.json", id="a bare word"),
        pytest.param(["--ful"], "unrecognized arguments: --ful", id="an abbreviation"),
        pytest.param(["--set"], "argument --set: expected one argument", id="no value"),
        pytest.param(["--since", "yesterday"], "'yesterday' is not an ISO 8601 date or time", id="no time"),
        pytest.param(["--until", "2024-02-30"], "'2024-02-30' is not an ISO 8601 date or time", id="no such day"),
        pytest.param(["--since", "0001-01-01T00:00:00+01:00"], "is not an ISO 8601 date or time", id="before year 1"),
        pytest.param(["--apply", ""], "--apply", id="apply without an id"),
        pytest.param(["--apply", "x", "--plan"], "leave out --plan, --full, --since and --until", id="apply and plan"),
        pytest.param(["--apply", "x", "--full"], "leave out", id="apply and full"),
        pytest.param(["--apply", "x", "--since", "2024-05-01"], "leave out", id="apply and since"),
        pytest.param(["--apply", "x", "--until", "2024-05-01"], "leave out", id="apply and until"),
        pytest.param(
            ["--since", "2024-05-01T01:00:00+01:00", "--until", "2024-05-01T00:00:00Z"],
            "--since 2024-05-01T00:00:00+00:00 is not before --until 2024-05-01T00:00:00+00:00",
            id="an empty window",
        ),
        pytest.param(["--since", "2024-05-02", "--until", "2024-05-01"], "is not before", id="a window backwards"),
    ],
)
def test_a_wrong_command_line_is_a_config_error(argv: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(*argv)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_argparse_refuses_is_told_with_the_usage() -> None:
    with pytest.raises(ConfigError, match=r"usage: jobs/orders\.py"):
        parse("--no-such-option")


def test_help_names_every_option_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for option in ("--config", "--set", "--since", "--until", "--full", "--plan", "--apply", "--json"):
        assert f"  {option}" in told
