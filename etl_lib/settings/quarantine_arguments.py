"""The command line of the quarantine job: a command, and the entries that it is about."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etl_lib.settings.arguments import Arguments, Parser
from etl_lib.settings.rules import RuleBook

COMMANDS = ("list", "show", "replay", "discard")
NEW, REPLAYED, DISCARDED = "new", "replayed", "discarded"
STATUSES = (NEW, REPLAYED, DISCARDED)
REPLAYABLE = "orders"
"""The dataset whose records say everything themselves; the others are read again from their files."""

_RECORD_ID = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True)
class Selection:
    """The entries with one of these ids (or beginnings of ids); without ids, those that pass every filter given."""

    record_ids: tuple[str, ...] = ()
    rule: str | None = None
    file: str | None = None
    run: str | None = None
    dataset: str | None = None
    status: str | None = NEW

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is given, apart from the status."""
        return any(wanted is not None for wanted in (self.rule, self.file, self.run, self.dataset))


@dataclass(frozen=True)
class QuarantineArguments(Arguments):
    """What the quarantine job was asked to do; `payload` is the file with the edited text of the one entry."""

    command: str
    selection: Selection
    limit: int
    payload: Path | None


def parse_quarantine_arguments(argv: Sequence[str]) -> QuarantineArguments:
    """Read the command line of the quarantine job; ConfigError says what is wrong with it."""
    parser = Parser("quarantine", "List, show, replay or discard rejected records.", overrides_at_once=1)
    parser.add_argument("command", choices=COMMANDS, help="list, show, replay or discard")
    parser.add_argument("record_ids", nargs="*", type=_record_id, metavar="RECORD_ID", help="an id, or its beginning")
    parser.add_argument("--rule", metavar="NAME", help="entries that broke this rule")
    parser.add_argument("--file", metavar="GLOB", help="entries of these files: the end of the path, with * and ?")
    parser.add_argument("--run", metavar="RUN_ID", help="entries that this run made, or was the last to change")
    parser.add_argument("--dataset", choices=tuple(RuleBook.model_fields), help="entries of this dataset")
    parser.add_argument("--all", action="store_true", dest="everything", help="replay, discard: every open entry")
    parser.add_argument("--status", choices=(*STATUSES, "all"), help="list: entries with this status (new)")
    parser.add_argument("--limit", type=_limit, metavar="N", help="list: at most N entries (50)")
    parser.add_argument("--payload", type=Path, metavar="FILE", help="replay: the edited text of the one entry")
    parser.add_json("print as JSON: an object an entry, or the summary")
    values = parser.read(argv)
    command = values["command"]
    status, limit, everything = (values.pop(name) for name in ("status", "limit", "everything"))
    filters = {name: values.pop(name) for name in ("record_ids", "rule", "file", "run", "dataset")}
    selection = Selection(**filters, status=None if command == "show" or status == "all" else status or NEW)
    arguments = QuarantineArguments(**values, selection=selection, limit=limit or 50)
    if problem := _problem(arguments, is_limited=bool(status or limit), everything=everything):
        parser.error(problem)
    return arguments


def _problem(arguments: QuarantineArguments, *, is_limited: bool, everything: bool) -> str | None:
    """The first thing that does not go together."""
    command, selection, ids = arguments.command, arguments.selection, arguments.selection.record_ids
    changes = command in {"replay", "discard"}
    ways = sum((bool(ids), selection.is_filtered, everything))
    wrong = {
        "--status and --limit belong to list": command != "list" and is_limited,
        "--all belongs to replay and discard": everything and not changes,
        "--payload belongs to replay, with the id of the one entry whose text it replaces": (
            arguments.payload and (command != "replay" or len(ids) != 1)
        ),
        "list takes filters; show takes ids": ids and command == "list",
        "show needs the ids of the entries, or their beginnings; list prints them": command == "show" and not ids,
        "name entries by ids, or choose them by filters, or take --all": ways > 1,
        f"{command} needs ids, a filter (--rule, --file, --run, --dataset) or --all": changes and not ways,
        f"--dataset {selection.dataset}: {not_replayable(selection.dataset)}": (
            command == "replay" and selection.dataset not in {None, REPLAYABLE}
        ),
    }
    return next((problem for problem, is_so in wrong.items() if is_so), None)


def not_replayable(dataset: str | None) -> str:
    """Why the entries of a dataset cannot be replayed, and what to do instead."""
    if dataset in {"users", "products"}:
        return "a line of CSV says nothing of its columns: correct the file, and jobs/orders.py reads it again"
    return "jobs/value_props.py reads all of its files in every run: correct the rule or the file and run it"


def _record_id(text: str) -> str:
    if not _RECORD_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of an entry, nor the beginning of one: 0-9 and a-f")
    return text


def _limit(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
