"""The command line of the quarantine job: which entries it is about, and what is refused before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from etl_lib.applying.quarantine_entries import path_pattern, read_payload
from etl_lib.applying.quarantine_report import visible
from etl_lib.process.errors import ConfigError
from etl_lib.settings.config import DEFAULT_CONFIG
from etl_lib.settings.quarantine_arguments import QuarantineArguments, Selection, parse_quarantine_arguments


def parse(*argv: str) -> QuarantineArguments:
    return parse_quarantine_arguments(argv)


def test_list_shows_the_open_entries_unless_told_otherwise() -> None:
    assert parse("list") == QuarantineArguments(
        config=DEFAULT_CONFIG,
        overrides=(),
        plan=False,
        as_json=False,
        given=("list",),
        command="list",
        selection=Selection(status="new"),
        limit=50,
        payload=None,
    )


def test_every_option_finds_its_place_and_the_command_line_is_kept_as_given() -> None:
    argv = (
        *("list", "--config", "conf/emr.yaml", "--set", "samples=1", "--set", "output=o", "--rule", "no_key"),
        *("--file", "a*.jsonl", "--run", "R", "--dataset", "taps", "--status", "discarded", "--limit", "7", "--json"),
    )
    assert parse(*argv) == QuarantineArguments(
        config=Path("conf/emr.yaml"),
        overrides=("samples=1", "output=o"),
        plan=False,
        as_json=True,
        given=argv,
        command="list",
        selection=Selection((), "no_key", "a*.jsonl", "R", "taps", "discarded"),
        limit=7,
        payload=None,
    )


@pytest.mark.parametrize(
    ("argv", "selection"),
    [
        pytest.param(["list", "--status", "all"], Selection(status=None), id="every status"),
        pytest.param(["show", "0f", "a1"], Selection(("0f", "a1"), status=None), id="an entry of any status"),
        pytest.param(["replay", "--set", "samples=1", "0f"], Selection(("0f",)), id="an id behind an option"),
        pytest.param(["replay", "--all"], Selection(), id="all that is open"),
        pytest.param(["replay", "--dataset", "orders"], Selection(dataset="orders"), id="a dataset"),
        pytest.param(["discard", "--dataset", "users"], Selection(dataset="users"), id="discard what is not replayed"),
        pytest.param(["discard", "--rule", ""], Selection(rule=""), id="a filter that nothing passes"),
    ],
)
def test_entries_are_named_or_filtered(argv: Sequence[str], selection: Selection) -> None:
    assert parse(*argv).selection == selection


def test_a_payload_goes_with_one_id() -> None:
    assert parse("replay", "0f", "--payload", "edited.json").payload == Path("edited.json")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param([], "the following arguments are required: command", id="nothing"),
        pytest.param(["delete"], "invalid choice: 'delete'", id="no such command"),
        pytest.param(["show"], "show needs the ids", id="show nothing"),
        pytest.param(["show", "0f", "--rule", "x"], "name entries by ids, or choose them", id="show by filter"),
        pytest.param(["list", "0f"], "list takes filters; show takes ids", id="list an id"),
        pytest.param(["list", "--all"], "--all belongs to replay and discard", id="list all"),
        pytest.param(["list", "--limit", "0"], "'0' is no whole number from 1", id="no entries"),
        pytest.param(["list", "--limit", "many"], "'many' is no whole number from 1", id="a word as limit"),
        pytest.param(["list", "--status", "open"], "invalid choice: 'open'", id="no such status"),
        pytest.param(["list", "--dataset", "Orders"], "invalid choice: 'Orders'", id="no such dataset"),
        pytest.param(["list", "--payload", "f"], "--payload belongs to replay", id="list with a payload"),
        pytest.param(["show", "x1"], "'x1' is no id of an entry", id="no id"),
        pytest.param(["show", "0F"], "'0F' is no id of an entry", id="capitals"),
        pytest.param(["show", "0" * 65], "is no id of an entry", id="too long"),
        pytest.param(["discard"], "discard needs ids, a filter", id="discard nothing"),
        pytest.param(["discard", "0f", "--all"], "name entries by ids, or choose them", id="ids and all"),
        pytest.param(["discard", "--rule", "x", "--all"], "or take --all", id="a filter and all"),
        pytest.param(["discard", "0f", "--payload", "f"], "--payload belongs to replay", id="discard with a payload"),
        pytest.param(["replay"], "replay needs ids, a filter", id="replay nothing"),
        pytest.param(["replay", "--all", "--status", "new"], "--status and --limit belong to list", id="a status"),
        pytest.param(["replay", "--all", "--limit", "1"], "--status and --limit belong to list", id="a limit"),
        pytest.param(["replay", "0f", "1e", "--payload", "f"], "the one entry", id="one payload for two"),
        pytest.param(["replay", "--all", "--payload", "f"], "the one entry", id="one payload for all"),
        pytest.param(["replay", "--dataset", "users"], "a line of CSV says nothing of its columns", id="users"),
        pytest.param(["replay", "--dataset", "pays"], "jobs/value_props.py reads all of its files", id="pays"),
        pytest.param(["replay", "--all", "--plan"], "unrecognized arguments: --plan", id="an option of other jobs"),
    ],
)
def test_a_wrong_command_line_is_a_config_error(argv: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(*argv)
    assert message in str(caught.value)
    assert "usage: jobs/quarantine.py" in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_edited_text_is_that_of_the_file_without_its_last_line_break(tmp_path: Path) -> None:
    file = tmp_path / "edited.json"
    file.write_bytes('\ufeff{"order_id":\n "ö"} \r\n'.encode())
    assert read_payload(file) == '{"order_id":\n "ö"} '
    assert read_payload(None) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "No such file", id="no file"),
        pytest.param(b"\n \n", "the file is empty", id="blank"),
        pytest.param(b'{"order_id":"\xff"}', "can't decode byte 0xff", id="not UTF-8"),
    ],
)
def test_a_payload_that_cannot_be_a_record_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "edited.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_payload(file)
    assert str(caught.value).startswith(f"--payload {file}: ")


@pytest.mark.parametrize(
    ("glob", "pattern"),
    [
        pytest.param("a.jsonl", r"(?s)(^|.*/)a\.jsonl\z", id="a name"),
        pytest.param("orders/*", r"(?s)(^|.*/)orders/.*\z", id="a folder"),
        pytest.param("[x]?", r"(?s)(^|.*/)\[x\].\z", id="what a pattern could mean is text"),
        pytest.param("", r"(?s)(^|.*/)\z", id="nothing"),
    ],
)
def test_a_glob_is_the_end_of_a_path(glob: str, pattern: str) -> None:
    assert path_pattern(glob) == pattern


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\tb\nç", "a\tb\nç", id="plain"),
        pytest.param("\x1b[31m\x00\r\x7f\x9b", r"\x1b[31m\x00\r\x7f\x9b", id="control characters"),
        pytest.param("\u202egnp", r"\u202egnp", id="right to left"),
    ],
)
def test_no_text_commands_a_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown
