"""The command line: what each option becomes, and what is refused before anything is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from etl_lib.commands import query
from etl_lib.process.errors import ConfigError
from etl_lib.settings.arguments import (
    FeatureArguments,
    OrderArguments,
    Scope,
    Window,
    parse_feature_arguments,
    parse_maintain_arguments,
    parse_order_arguments,
)
from etl_lib.settings.config import DEFAULT_CONFIG


def parse(*argv: str) -> OrderArguments:
    return parse_order_arguments(argv)


def parse_features(*argv: str) -> FeatureArguments:
    return parse_feature_arguments(argv)


def test_without_options_the_new_files_of_the_local_configuration_are_loaded() -> None:
    assert parse() == OrderArguments(
        config=DEFAULT_CONFIG,
        overrides=(),
        plan=False,
        as_json=False,
        given=(),
        scope=Scope(Window(None, None), full=False),
        apply_run_id=None,
    )
    assert DEFAULT_CONFIG.is_file()


def test_every_option_finds_its_place_and_the_command_line_is_kept_as_given() -> None:
    argv = (
        *("--config", "conf/emr.yaml", "--set", "input.orders=a.json", "--set", "samples=1"),
        *("--since", "2024-05-01", "--until", "2024-06-01", "--full", "--plan", "--json"),
    )
    assert parse(*argv) == OrderArguments(
        config=Path("conf/emr.yaml"),
        overrides=("input.orders=a.json", "samples=1"),
        plan=True,
        as_json=True,
        given=argv,
        scope=Scope(Window("2024-05-01T00:00:00+00:00", "2024-06-01T00:00:00+00:00"), full=True),
        apply_run_id=None,
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
    assert parse("--since", given, "--until", "2025-01-01").scope.window.since == in_utc
    assert parse("--until", given).scope.window.until == in_utc


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
    assert parse(*argv).scope.marks_files is marks


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--sinse", "2024-05-01"], "unrecognized arguments: --sinse 2024-05-01", id="unknown option"),
        pytest.param(["orders.json"], "unrecognized arguments: orders.json", id="a bare word"),
        pytest.param(["--ful"], "unrecognized arguments: --ful", id="an abbreviation"),
        pytest.param(["--set"], "argument --set: expected at least one argument", id="no value"),
        pytest.param(["--since", "yesterday"], "'yesterday' is not an ISO 8601 date or time", id="no time"),
        pytest.param(["--until", "2024-02-30"], "'2024-02-30' is not an ISO 8601 date or time", id="no such day"),
        pytest.param(["--since", "0001-01-01T00:00:00+01:00"], "is not an ISO 8601 date or time", id="before year 1"),
        pytest.param(["--apply", ""], "--apply takes the run id", id="apply without an id"),
        pytest.param(["--apply", "x' OR 1=1"], 'not "x\' OR 1=1"', id="apply with a piece of SQL"),
        pytest.param(["--apply", "../../20240501T101500Z-c0ffee"], "--apply takes", id="apply with a path"),
        pytest.param(["--apply", "20240501T101500Z-c0ffee\n"], "--apply takes", id="apply with a line break"),
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


@pytest.mark.parametrize(
    ("argv", "overrides"),
    [
        pytest.param(["--set", "samples=1", "output=o"], ("samples=1", "output=o"), id="several after one flag"),
        pytest.param(["--set", "samples=1", "--set", "samples=2"], ("samples=1", "samples=2"), id="several flags"),
        pytest.param(
            ["--set", "a=1", "b=2", "--json", "--set", "c=3"], ("a=1", "b=2", "c=3"), id="both, in their order"
        ),
        pytest.param(["--set=input.users="], ("input.users=",), id="nothing as value"),
    ],
)
def test_settings_are_overridden_one_or_several_at_once(argv: Sequence[str], overrides: tuple[str, ...]) -> None:
    assert parse(*argv).overrides == parse_features(*argv).overrides == overrides


def test_a_query_takes_one_setting_after_each_flag_so_that_its_file_may_follow() -> None:
    found = query.parse_arguments(["--set", "warehouse=w", "--set", "samples=1", "top_users.sql"])
    assert (found.overrides, found.file) == (["warehouse=w", "samples=1"], Path("top_users.sql"))
    with pytest.raises(ConfigError, match=r"unrecognized arguments: top_users\.sql"):
        query.parse_arguments(["--set", "warehouse=w", "samples=1", "top_users.sql"])


def test_without_options_the_features_of_the_latest_week_are_computed() -> None:
    assert parse_features() == FeatureArguments(
        config=DEFAULT_CONFIG,
        overrides=(),
        plan=False,
        as_json=False,
        given=(),
        as_of=None,
        first=None,
        last=None,
    )


@pytest.mark.parametrize(
    ("argv", "days"),
    [
        pytest.param(["--as-of", "2020-11-25"], (date(2020, 11, 25), None, None), id="as of"),
        pytest.param(["--from", "2020-11-02"], (None, date(2020, 11, 2), None), id="from"),
        pytest.param(
            ["--from", "2020-11-02", "--to", "2020-11-25"], (None, date(2020, 11, 2), date(2020, 11, 25)), id="from, to"
        ),
        pytest.param(
            ["--to", "2020-02-29", "--from", "2020-02-29"], (None, date(2020, 2, 29), date(2020, 2, 29)), id="one day"
        ),
        pytest.param(["--as-of", "1900-01-01"], (date(1900, 1, 1), None, None), id="the first day"),
        pytest.param(["--as-of", "9999-12-26"], (date(9999, 12, 26), None, None), id="the last Sunday"),
    ],
)
def test_the_weeks_are_told_by_days_in_them(
    argv: Sequence[str], days: tuple[date | None, date | None, date | None]
) -> None:
    found = parse_features(*argv)
    assert (found.as_of, found.first, found.last) == days


def test_the_options_of_every_job_are_those_of_the_features_too() -> None:
    argv = ("--config", "conf/emr.yaml", "--set", "samples=1", "--plan", "--json", "--as-of", "2020-11-25")
    assert parse_features(*argv) == FeatureArguments(
        config=Path("conf/emr.yaml"),
        overrides=("samples=1",),
        plan=True,
        as_json=True,
        given=argv,
        as_of=date(2020, 11, 25),
        first=None,
        last=None,
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--as-of"], "argument --as-of: expected one argument", id="no day"),
        pytest.param(["--as-of", "yesterday"], "argument --as-of: 'yesterday' is not a date YYYY-MM-DD", id="a word"),
        pytest.param(["--as-of", "2020-11-31"], "'2020-11-31' is not a date YYYY-MM-DD", id="no such day"),
        pytest.param(["--as-of", "20201125"], "'20201125' is not a date YYYY-MM-DD", id="without hyphens"),
        pytest.param(["--as-of", "2020-11-25T10:00:00Z"], "is not a date YYYY-MM-DD", id="a time"),
        pytest.param(["--as-of", "2020-11-25 "], "is not a date YYYY-MM-DD", id="a space behind it"),
        pytest.param(["--as-of", ""], "'' is not a date YYYY-MM-DD", id="nothing as day"),
        pytest.param(["--as-of", "1899-12-31"], "'1899-12-31' is not between 1900-01-01 and", id="before 1900"),
        pytest.param(["--to", "9999-12-27"], "is not between 1900-01-01 and 9999-12-26", id="a week without Sunday"),
        pytest.param(["--from", "25.11.2020"], "argument --from: '25.11.2020' is not a date", id="from no date"),
        pytest.param(["--from", "2020-11-02", "--to", "x"], "argument --to: 'x' is not a date", id="to no date"),
        pytest.param(["--to", "2020-11-25"], "--to needs --from", id="to without from"),
        pytest.param(
            ["--from", "2020-11-25", "--to", "2020-11-24"], "--from 2020-11-25 is after --to 2020-11-24", id="backwards"
        ),
        pytest.param(["--as-of", "2020-11-25", "--from", "2020-11-02"], "--as-of names one week", id="as of and from"),
        pytest.param(["--as-of", "2020-11-25", "--to", "2020-11-26"], "--as-of names one week", id="as of and to"),
        pytest.param(["--since", "2020-11-02"], "unrecognized arguments: --since 2020-11-02", id="since"),
        pytest.param(["--full"], "unrecognized arguments: --full", id="full"),
        pytest.param(["--apply", "x"], "unrecognized arguments: --apply x", id="apply"),
        pytest.param(["--as", "2020-11-25"], "unrecognized arguments: --as 2020-11-25", id="an abbreviation"),
        pytest.param(["prints.jsonl"], "unrecognized arguments: prints.jsonl", id="a bare word"),
        pytest.param(["--set"], "argument --set: expected at least one argument", id="no setting"),
    ],
)
def test_a_wrong_command_line_of_the_features_is_a_config_error(argv: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_features(*argv)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("day", ["2020-1-5", "2020-01-5", " 2020-01-05"])
def test_a_day_is_written_with_all_its_digits(day: str) -> None:
    with pytest.raises(ConfigError, match="is not a date YYYY-MM-DD"):
        parse_features("--as-of", day)


def test_help_of_the_features_names_every_option_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_features("--help")
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: jobs/value_props.py")
    for option in ("--config", "--set", "--as-of", "--from", "--to", "--plan", "--json"):
        assert f"  {option}" in told
    assert "--full" not in told


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "the following arguments are required: TASK"),
        (["mend"], "invalid choice: 'mend'"),
        (["restore"], "restore takes --run RUN_ID"),
        (["restore", "--run", "x; drop"], "restore takes --run RUN_ID"),
        (["check", "--run", "20240501T120000Z-abcdef"], "--run is an option of restore, not of check"),
        (["purge", "--force"], "--force is an option of vacuum, not of purge"),
        (["vacuum", "--plan"], "--plan is an option of restore and purge, not of vacuum"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_task_takes_its_own_options_only(argv: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse_maintain_arguments(argv)


def test_a_run_to_undo_is_named_with_a_setting_beside_it() -> None:
    found = parse_maintain_arguments(["restore", "--set", "samples=5", "--run", "20240501T120000Z-abcdef", "--plan"])
    assert (found.task, found.restored_run_id) == ("restore", "20240501T120000Z-abcdef")
    assert (found.overrides, found.plan, found.force) == (("samples=5",), True, False)
