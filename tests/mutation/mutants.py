"""The mutants of the modules: made by cosmic-ray, kept in its database, each judged by the tests of its module."""

from __future__ import annotations

import ast
import random
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

from tests.mutation import client

SECONDS = 600
"""The runner ends a child that takes too long; this is for a runner that does not answer at all."""

Position = tuple[int, int]


@dataclass(frozen=True)
class Judged:
    """One mutant and what the tests made of it; `result` is None for one that was not drawn or not reached."""

    mutation: MutationSpec
    result: WorkResult | None

    @property
    def module(self) -> str:
        return _module(self.mutation)

    @property
    def is_killed(self) -> bool:
        return self.result is not None and self.result.test_outcome == TestOutcome.KILLED

    @property
    def change(self) -> tuple[str, str]:
        """The line as it was and as it became."""
        lines = (self.result.diff if self.result else None) or ""
        changed = [line for line in lines.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]
        removed, added = ([line[1:].strip() for line in changed if line[0] == sign] for sign in "-+")
        return " ".join(removed), " ".join(added)


def _module(mutation: MutationSpec) -> str:
    """The mutated module, as it is named below etl_lib."""
    parts = mutation.module_path.with_suffix("").parts
    return ".".join(parts[len(parts) - parts[::-1].index("etl_lib") :])


def make_mutants(db: WorkDB, project: Path, modules: Iterable[str]) -> int:
    """All mutants of the modules but those that are none; gives how many those are.

    Annotations are not evaluated (`from __future__ import annotations`), so whatever stands in them is equivalent. And
    cosmic-ray takes the `*` and `**` of signatures and calls for operators: what it makes of them is no Python.
    """
    paths = [project / "etl_lib" / f"{module.replace('.', '/')}.py" for module in modules]
    init(paths, db, {})
    places = {path: Places(path) for path in paths}
    skipped = [
        item.job_id for item in db.work_items for one in item.mutations if not places[one.module_path].are_mutable(one)
    ]
    db.set_multiple_results(skipped, WorkResult(WorkerOutcome.SKIPPED))
    return len(skipped)


class Places:
    """Where in a module annotations and binary operators are."""

    def __init__(self, path: Path) -> None:
        """Read a module."""
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        found = [getattr(node, name, None) for node in nodes for name in ("annotation", "returns")]
        self.annotations = [(_start(node), _end(node)) for node in found if isinstance(node, ast.expr)]
        self.operators = [(_end(node.left), _start(node.right)) for node in nodes if isinstance(node, ast.BinOp)]

    def are_mutable(self, mutation: MutationSpec) -> bool:
        """Whether a mutation changes what is evaluated."""
        if mutation.operator_name.startswith("core/ReplaceBinaryOperator") and not _is_in(mutation, self.operators):
            return False
        return not _is_in(mutation, self.annotations)


def _start(node: ast.expr) -> Position:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> Position:
    return node.end_lineno or 0, node.end_col_offset or 0


def _is_in(mutation: MutationSpec, spans: Sequence[tuple[Position, Position]]) -> bool:
    return any(start <= mutation.start_pos and mutation.end_pos <= end for start, end in spans)


def judge_mutants(db: WorkDB, *, address: Path, sample: int | None, seed: int, seconds: float) -> Iterator[Judged]:
    """Judge the mutants in an order drawn with `seed`: `sample` of them, or as many as fit into `seconds`."""
    end = time.monotonic() + seconds
    for item in _drawn(db, sample, seed):
        if time.monotonic() > end:
            return
        (mutation,) = item.mutations
        command = shlex.join([sys.executable, client.__file__, str(address), _module(mutation)])
        result = mutate_and_test(item.mutations, command, SECONDS)
        if result.worker_outcome != WorkerOutcome.NORMAL or result.output is None:
            raise RuntimeError(f"{mutation}: {result}")
        db.set_result(item.job_id, result)
        yield Judged(mutation, result)


def _drawn(db: WorkDB, sample: int | None, seed: int) -> list[WorkItem]:
    """In an order that only the seed decides: the ids of the database are random."""
    items = sorted(db.pending_work_items, key=lambda item: _place(item.mutations[0]))
    random.Random(seed).shuffle(items)  # noqa: S311 - repeatable, not secret
    return items[:sample]


def _place(mutation: MutationSpec) -> tuple[str, Position, str, int]:
    return _module(mutation), mutation.start_pos, mutation.operator_name, mutation.occurrence


def judged(db: WorkDB) -> list[Judged]:
    """All mutants that are some by their place, with their results."""
    results = dict(db.results)
    found = [Judged(item.mutations[0], results.get(item.job_id)) for item in db.work_items]
    wanted = [one for one in found if one.result is None or one.result.worker_outcome == WorkerOutcome.NORMAL]
    return sorted(wanted, key=lambda one: _place(one.mutation))
