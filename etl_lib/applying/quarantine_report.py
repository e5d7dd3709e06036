"""What the quarantine job shows of entries: in short, or an entry whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TextIO

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.table import Table as Grid

from etl_lib.process.streams import console_on

ID_SHOWN = 12
"""So many characters of an id are enough to name an entry."""
IN_SHORT = (
    "record_id",
    "dataset",
    "source_file",
    "position",
    "occurrences",
    "reasons",
    "status",
    "first_run_id",
    "last_run_id",
)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def print_entries(entries: DataFrame, limit: int, stream: TextIO, *, as_json: bool) -> None:
    """Entries in the order of their files, without their texts: a table, or a JSON object a line."""
    total = entries.count()
    rows = entries.select(*IN_SHORT).orderBy("dataset", "source_file", "position", "record_id").limit(limit).collect()
    if as_json:
        for row in rows:
            stream.write(json.dumps(row.asDict(recursive=True), ensure_ascii=False) + "\n")
        return
    console = console_on(stream)
    if not rows:
        console.print("No entry of the quarantine is like that.")
        return
    grid = Grid("record", "dataset", "file: position", "times", "rules", "status", "run")
    for row in rows:
        name = row["source_file"].rpartition("/")[2]
        rules = ", ".join(reason["rule"] for reason in row["reasons"])
        times, run = str(row["occurrences"]), row["first_run_id"].partition("-")[0]
        cells = (row["record_id"][:ID_SHOWN], row["dataset"], f"{name}: {row['position']}", times, rules)
        grid.add_row(*(visible(cell) for cell in (*cells, row["status"], run)))
    console.print(grid, markup=False)
    console.print(f"{len(rows):,} of {total:,} entries" + (", --limit N shows more" if total > len(rows) else ""))


def print_whole(entries: DataFrame, stream: TextIO, *, as_json: bool) -> None:
    """Entries with every column and their exact text: a JSON object a line, or for a person.

    Bytes that are not UTF-8 are shown as `\\xff`; for a person so are control characters, which a terminal would obey.
    """
    console = console_on(stream)
    texts = {name: F.col(name).cast("binary") for name in ("raw", "payload")}
    for row in entries.withColumns(texts).orderBy("dataset", "source_file", "position", "record_id").collect():
        entry = {name: _text(value) for name, value in row.asDict(recursive=True).items()}
        if as_json:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            continue
        for line in _lines(entry):
            console.print(visible(line), markup=False, soft_wrap=True)


def visible(text: str) -> str:
    r"""A text with control characters as `\x1b`, except for tabs and line breaks."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _text(value: Any) -> Any:
    return bytes(value).decode("utf-8", "backslashreplace") if isinstance(value, bytes | bytearray) else value


def _lines(entry: Mapping[str, Any]) -> list[str]:
    plain = ("record_id", "dataset", "source_file", "position", "occurrences", "status", "first_run_id", "last_run_id")
    lines = [f"{name:<13} {entry[name]}" for name in plain]
    lines += [f"{'reason':<13} {reason['rule']}: {reason['message']}" for reason in entry["reasons"]]
    lines += ["raw", entry["raw"] or ""]
    return [*lines, *(["payload", entry["payload"]] if entry["payload"] is not None else []), ""]
