"""Which data files the commits of a table have added and removed, from Delta's log on this machine's disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FileChanges:
    """Data files that commits added and removed; one that only got another deletion vector is neither."""

    files_added: int = 0
    files_removed: int = 0
    bytes_added: int = 0
    bytes_removed: int = 0

    def __add__(self, other: FileChanges) -> FileChanges:
        """Those of both."""
        return FileChanges(
            self.files_added + other.files_added,
            self.files_removed + other.files_removed,
            self.bytes_added + other.bytes_added,
            self.bytes_removed + other.bytes_removed,
        )


def file_changes(log: Path, before: int, after: int) -> FileChanges | None:
    """What the commits after the version `before` up to `after` changed; None where the log does not have them all."""
    if after < before:
        return None
    try:
        commits = [_of_commit(log / f"{version:020}.json") for version in range(before + 1, after + 1)]
    except (OSError, ValueError, KeyError, TypeError):  # nothing depends on it
        return None
    return sum(commits, FileChanges())


def _of_commit(commit: Path) -> FileChanges:
    actions = [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines()]
    added, removed = (_sizes(actions, kind) for kind in ("add", "remove"))
    new, gone = added.keys() - removed.keys(), removed.keys() - added.keys()
    return FileChanges(len(new), len(gone), sum(added[path] for path in new), sum(removed[path] for path in gone))


def _sizes(actions: Iterable[dict[str, Any]], kind: str) -> dict[str, int]:
    """The sizes of the files of these actions, by their paths."""
    return {action[kind]["path"]: action[kind].get("size") or 0 for action in actions if kind in action}
