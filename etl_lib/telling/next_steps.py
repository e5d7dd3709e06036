"""Whether the numbers of a run can be trusted, in one sentence, and what to do next, each with its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etl_lib.process.errors import InvariantError, QualityGateError
from etl_lib.tables.holds import HELD
from etl_lib.tables.ledger import DONE, FAILED, ORDERS_JOB, PLANNED, REPLAY_JOB, STOPPED, UNDONE
from etl_lib.tables.publishes import DIFFERS

PUBLISH = "publish"
_REPLAYABLE = "orders"
_MOST_REASONS = 3
_EVENTS = ("prints", "taps", "pays")


@dataclass(frozen=True)
class Verdict:
    """The sentence, and its tone: `good`, `look`, `bad` or `plain`."""

    tone: str
    answer: str
    """The first word or words of it."""
    sentence: str


@dataclass(frozen=True)
class NextStep:
    """What to do, and the command to type for it, if there is one."""

    sentence: str
    command: str | None = None


_BY_ERROR = {
    QualityGateError.__name__: Verdict(
        "bad", "Not today's.", "A quality gate is closed: the tables are as they were before the run."
    ),
    InvariantError.__name__: Verdict("bad", "No.", "The tables contradict each other or themselves."),
}
_BY_STATUS = {
    FAILED: Verdict("bad", "No.", "The run failed before it was done. What it had not committed is in no table."),
    STOPPED: Verdict("bad", "Not today's.", "A gate stopped the run: the tables are as they were before it."),
    PLANNED: Verdict("plain", "Nothing has changed.", "This is a plan: it shows what the run would do."),
    UNDONE: Verdict("plain", "It no longer counts.", "A restore has undone this run."),
}
_INCOMPLETE = Verdict("look", "Not yet.", "The run is not complete; the next one finishes it from its stage.")


def verdict(metrics: Mapping[str, Any]) -> Verdict:
    """Whether the numbers in the tables can be trusted after this run."""
    status = metrics.get("status")
    if unwell := unwell_sinks(metrics):
        sinks = f"The {'sink' if len(unwell) == 1 else 'sinks'} {_listed(unwell)}"
        return Verdict(
            "bad", "In the tables, yes.", f"{sinks} {'does' if len(unwell) == 1 else 'do'} not show what they say."
        )
    if metrics.get("publish") == HELD and (status == DONE or metrics.get("job") == PUBLISH):
        return Verdict("look", "In the tables, yes.", "The sinks still show the publish before: a gate holds this one.")
    if status != DONE:
        return _BY_ERROR.get(str(metrics.get("error"))) or _BY_STATUS.get(str(status), _INCOMPLETE)
    if reasons := list(_doubts(metrics)):
        return Verdict("look", "Yes, with a look at", f"{_listed(_few(reasons))}.")
    return Verdict("good", "Yes.", _praise(metrics))


def next_steps(metrics: Mapping[str, Any]) -> list[NextStep]:
    """What to do, the most urgent first; a command stands beside the first step that it carries out."""
    steps, given = [], set[str | None]()
    for step in (*_of_its_end(metrics), *_of_its_records(metrics), *_of_its_surroundings(metrics)):
        steps.append(NextStep(step.sentence) if step.command in given else step)
        given.add(step.command)
    return steps


def rejected(metrics: Mapping[str, Any]) -> dict[str, int]:
    """The rejected records of each dataset that has some."""
    datasets = metrics.get("datasets") or {}
    counts = {name: counts["outcomes"].get("rejected", 0) for name, counts in datasets.items()}
    return {name: number for name, number in counts.items() if number}


def unwell_sinks(metrics: Mapping[str, Any]) -> list[str]:
    """The sinks that do not show what the tables say, as their publish failed or they differ after it."""
    publishes = metrics.get("publishes") or {}
    return [name for name, publish in publishes.items() if publish.get("status") in {FAILED, DIFFERS}]


def command(metrics: Mapping[str, Any], job: str, *words: str) -> str:
    """A command line of a job at the place of this run: with its `--config` and its `--set`."""
    return shlex.join(["./spark-submit.sh", f"jobs/{job}.py", *words, *_place(metrics.get("arguments") or ())])


def _place(arguments: Sequence[str]) -> Iterator[str]:
    """The options of a command line that say where a run works, each value behind an option of its own."""
    option = ""
    for word in arguments:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            if equals and option in {"--config", "--set"}:
                yield from (option, value)
        elif option in {"--config", "--set"} and (option == "--config" or "=" in word):
            yield from (option, word)


def _doubts(metrics: Mapping[str, Any]) -> Iterator[str]:
    if refused := sum(rejected(metrics).values()):
        yield _several(refused, "rejected record")
    if conflicts := metrics.get("conflicts"):
        yield _several(conflicts, "conflict")
    if files := len(metrics.get("set_aside") or ()):
        yield _several(files, "file that cannot be read", "files that cannot be read")
    if closed := [gate for gate in metrics.get("gates") or () if gate["state"] != "passed"]:
        yield _several(len(closed), "gate that did not pass", "gates that did not pass")
    if names := sum(len(of_kind) for kinds in (metrics.get("drift") or {}).values() for of_kind in kinds.values()):
        yield _several(names, "field that drifted", "fields that drifted")
    if shifts := len(metrics.get("profile_shifts") or ()):
        yield _several(shifts, "value that shifted", "values that shifted")
    if warnings := len(metrics.get("warnings") or ()):
        yield _several(warnings, "warning")


def _praise(metrics: Mapping[str, Any]) -> str:
    datasets = metrics.get("datasets") or {}
    if datasets:
        total = sum(counts["records"] for counts in datasets.values())
        return f"Each of {total:,} records has one outcome, none was rejected, and nothing else stands out."
    if "invariants" in metrics:
        return f"All {len(metrics['invariants']):,} invariants of the tables hold."
    if metrics.get("pulls"):
        return "All that was asked for has landed; the orders job loads it."
    if "outcomes" in metrics:
        return "There was nothing new: the tables are as the run before left them."
    if metrics.get("publishes"):
        return "The sinks show what the tables say."
    return "The run is done, and nothing stands out."


def _of_its_end(metrics: Mapping[str, Any]) -> Iterator[NextStep]:
    status, job, run_id = metrics.get("status"), metrics.get("job") or "orders", metrics.get("run_id", "")
    if status == FAILED:
        again = shlex.join(["./spark-submit.sh", f"jobs/{job}.py", *(metrics.get("arguments") or ())])
        yield NextStep("Mend the cause that the message names, then run the same command again.", again)
    elif status == STOPPED and job != PUBLISH:
        by_hand = [ORDERS_JOB, "--apply", run_id] if job in (ORDERS_JOB, REPLAY_JOB) else [job]
        yield NextStep(
            "If the input is right as it is, apply the run by hand. If not, mend the input and run the job again.",
            command(metrics, *by_hand, *_accepting(metrics, STOPPED)),
        )
    elif status == PLANNED and job == "orders":
        yield NextStep("Carry out exactly this plan.", command(metrics, job, "--apply", run_id))
    elif status == PLANNED:
        yield NextStep("To carry it out, give the same command without --plan.")
    if metrics.get("publish") == HELD:
        held = next(iter(metrics.get("held_by") or ()), run_id)
        by_hand = [PUBLISH, "--release", held] if job != "value_props" else [job, *_accepting(metrics, HELD)]
        yield NextStep(
            "Look at the gate that holds the publish. Release it by hand, or let a later run pass the same gate.",
            command(metrics, *by_hand),
        )


def _accepting(metrics: Mapping[str, Any], state: str) -> list[str]:
    """The options that overrule the gates with this state."""
    names = dict.fromkeys(gate["gate"] for gate in metrics.get("gates") or () if gate["state"] == state)
    return [word for name in names for word in ("--accept-gate", name)]


def _of_its_records(metrics: Mapping[str, Any]) -> Iterator[NextStep]:
    job, run_id, refused = metrics.get("job") or "orders", metrics.get("run_id", ""), rejected(metrics)
    if refused and metrics.get("status") == DONE:
        records = [f"{_several(number, 'record')} of {name}" for name, number in refused.items()]
        yield NextStep(
            f"Look at what was rejected: {_listed(records)}.", command(metrics, "quarantine", "list", "--run", run_id)
        )
        if _REPLAYABLE in refused and job != REPLAY_JOB:
            yield NextStep(
                "When a rule is mended, load the rejected orders again.",
                command(metrics, "quarantine", "replay", "--run", run_id),
            )
        if files := [name for name in refused if name != _REPLAYABLE]:
            reader = "value_props" if set(files) & set(_EVENTS) else "orders"
            yield NextStep(
                f"Correct the files of {_listed(files)}; the next run reads them again.", command(metrics, reader)
            )
    if metrics.get("conflicts"):
        yield NextStep(
            "Ask the sender which content of the conflicting orders is right: two came under one version. The later "
            "arrival counts until a newer version comes."
        )


def _of_its_surroundings(metrics: Mapping[str, Any]) -> Iterator[NextStep]:
    if metrics.get("set_aside"):
        yield NextStep(
            "Mend the files that could not be read, or have them sent again; the next run loads them.",
            command(metrics, metrics.get("job") or "orders"),
        )
    if drift := metrics.get("drift"):
        yield NextStep(
            f"Ask the sender of {_listed(drift)} about the fields that drifted. The setting drift says what each kind "
            "of drift does to a run."
        )
    for name in unwell_sinks(metrics):
        yield NextStep(
            f"The sink {name} does not show what the tables say. Mend the cause and publish again.",
            command(metrics, "publish", "--sink", name),
        )
    if any((metrics.get("invariants") or {}).values()):
        yield NextStep(
            "Find the run that broke the tables, and undo it; the report of each run has its tables.",
            command(metrics, "maintain", "restore", "--run", "RUN_ID", "--plan"),
        )


def _several(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def _few(reasons: Sequence[str]) -> list[str]:
    """So many that a headline holds them."""
    return [*reasons] if len(reasons) <= _MOST_REASONS else [*reasons[:2], f"{len(reasons) - 2:,} more points"]


def _listed(several: Iterable[str]) -> str:
    *most, last = several
    return f"{', '.join(most)} and {last}" if most else last
