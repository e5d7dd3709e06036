"""What the mutants say of the tests, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutation.mutants import Judged
from tests.mutation.targets import EQUIVALENT, TESTS

HEADER = """| module | mutants | judged | killed | survived | score |
|---|---|---|---|---|---|"""


def report(found: Sequence[Judged], told: str, left_out: int) -> str:
    """A table of the modules and the survivors; `told` says when and how it was measured."""
    survivors = [one for one in found if one.result and not one.is_killed]
    modules = [module for module in TESTS if any(one.module == module for one in found)]
    return "\n".join(
        [
            f"{told}\n",
            HEADER,
            *(_row(f"`{module}`", [one for one in found if one.module == module]) for module in modules),
            _row("all", found),
            f"\nLeft out: {left_out} mutants of type annotations, which are not evaluated, and of the `*` of "
            "signatures and calls, which is no operator. A mutant whose tests ran too long counts as killed.\n",
            "Survivors:\n" if survivors else "No mutant survived.\n",
            *map(_survivor, survivors),
        ]
    )


def _row(name: str, mutants: Sequence[Judged]) -> str:
    judged = [one for one in mutants if one.result]
    killed = sum(one.is_killed for one in judged)
    score = f"{100 * killed / len(judged):.1f} %" if judged else ""
    return f"| {name} | {len(mutants)} | {len(judged)} | {killed} | {len(judged) - killed} | {score} |"


def _survivor(one: Judged) -> str:
    was, became = one.change
    operator = one.mutation.operator_name.removeprefix("core/")
    place = f"etl_lib/{one.module.replace('.', '/')}.py:{one.mutation.start_pos[0]}"
    line = f"- `{place}` {operator}: `{was}` became `{became}`"
    reason = EQUIVALENT.get(became)
    return f"{line}. Equivalent: {reason}" if reason else line
