"""What the templates of the report draw beside the metrics themselves: the tiles, and the charts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from etl_lib.run.job import DRIFT_MEANINGS, EVENT_MEANINGS, MEANINGS
from etl_lib.settings.telling_settings import PERSONAL
from etl_lib.tables.ledger import DONE, UNDONE
from etl_lib.telling import charts
from etl_lib.telling.next_steps import next_steps, rejected, verdict
from etl_lib.telling.state import BUSY, Attempt, JobState

Json = Mapping[str, Any]
Path = tuple[str | int, ...]

LAST_RUNS = 30
MOST_IN_INDEX = 1000
TITLES = {
    "orders": "Orders",
    "value_props": "Value propositions",
    "quarantine": "Quarantine",
    "maintain": "Upkeep",
    "pull": "Pull",
    "publish": "Publish",
}
_LABELS = {
    "input_orders": "orders read",
    "blank_lines": "blank lines",
    "valid_orders": "valid orders",
    "deduped_orders": "distinct orders that won",
    "items": "lines of those orders",
    "dim_user": "users in the table",
    "dim_product": "products in the table",
    "conflicts": "conflicts",
    "replayed": "entries replayed",
    "discarded": "entries discarded",
    "commit_retries": "commits done again",
    "repeated_headers": "repeated headers",
    "pays_before_windows": "pays before the windows",
    "pays_after_windows": "pays after the windows",
    "clicked_rows": "rows with a click",
    "files_new_again": "files that are new again",
}
"""How numbers at the top of the metrics are called; others are called by their key."""
_APART = {"duration_s"}


@dataclass(frozen=True)
class Tile:
    """A big number: the places of what it adds up, its label, and its tone."""

    label: str
    paths: Sequence[Path]
    tone: str = "plain"


@dataclass(frozen=True)
class Bars:
    """A small chart over time: a bar for each point, and its numbers as texts beside their labels."""

    title: str
    columns: Sequence[charts.Column]
    points: Sequence[tuple[str, str, str, str]]
    """The label, the number, the tone and the status of each."""


def report_view(values: Json, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """All variables of the template of a report, but the numbers."""
    steps = values.get("steps") or []
    return {
        "m": values,
        "job_title": title_of(values.get("job", "")),
        "verdict": verdict(values),
        "steps_next": next_steps(values),
        "tiles": _tiles(values),
        "is_applied": _is_applied(values),
        "flow": _flow(values),
        "outcome_rows": _outcome_rows(values),
        "rules": _rules(values),
        "counted": _counted(values),
        "gantt": charts.spans([(step["began_s"], step["seconds"]) for step in steps], values.get("duration_s") or 0),
        "gantt_ticks": charts.ticks(_whole(values)),
        "revenue": _revenue(values),
        "tops": _tops(values),
        "history": history(attempts[-LAST_RUNS:]),
        "command_line": shlex.join([f"jobs/{values.get('job', '')}.py", *(values.get("arguments") or ())]),
        "drift_meanings": DRIFT_MEANINGS,
        "personal": PERSONAL,
    }


def index_view(states: Mapping[str, JobState]) -> dict[str, Any]:
    """All variables of the template of the index."""
    attempts = [attempt for state in states.values() for attempt in state.attempts]
    newest = sorted(attempts, key=lambda each: (each.started_at, each.run_id), reverse=True)
    shown = newest[:MOST_IN_INDEX]
    days = [(day, list(of_day)) for day, of_day in groupby(shown, key=lambda each: each.started_at[:10])]
    jobs = [
        (name, state, duration_bars(state.attempts[-LAST_RUNS:]), state.attempts[-1]) for name, state in states.items()
    ]
    return {
        "jobs": jobs,
        "days": days,
        "left_out": len(newest) - len(shown),
        "title_of": title_of,
        "job_numbers": {name: number for number, name in enumerate(states)},
        "tone_of": tone_of,
        "rejected_of": rejected_of,
        "busy": BUSY,
    }


def title_of(job: str) -> str:
    """What a job is called on a page."""
    return TITLES.get(job, job.replace("_", " ").capitalize() or "Run")


def tone_of(status: str) -> str:
    """The tone of a status: `good`, `bad`, `look` or `plain`."""
    tones = {"done": "good", "failed": "bad", "stopped": "bad", "applying": "look", "held": "look"}
    return tones.get(status, "plain")


def rejected_of(attempt: Attempt) -> int:
    """The rejected records of an attempt."""
    return attempt.outcomes.get("rejected", 0)


def history(attempts: Sequence[Attempt]) -> list[Bars]:
    """Small charts over the last runs of a job, the oldest first; those that say nothing are left out."""
    ran = [attempt for attempt in attempts if attempt.status != BUSY]
    if ran == ran[:1]:
        return []
    measures = (
        ("Records read", [each.records for each in ran]),
        ("Rejected", [rejected_of(each) for each in ran]),
        ("Conflicts", [each.conflicts for each in ran]),
    )
    drawn = [_bars(title, ran, numbers) for title, numbers in measures if any(numbers)]
    return [*drawn, duration_bars(ran)]


def duration_bars(attempts: Sequence[Attempt]) -> Bars:
    """How long the last runs took."""
    ran = [attempt for attempt in attempts if attempt.status != BUSY]
    return _bars("Seconds", ran, [each.duration_s for each in ran])


def _bars(title: str, attempts: Sequence[Attempt], numbers: Sequence[float]) -> Bars:
    points = [
        (each.started_at[:16].replace("T", " "), f"{number:,}", tone_of(each.status), each.status)
        for each, number in zip(attempts, numbers, strict=True)
    ]
    return Bars(title, charts.columns(numbers, slots=LAST_RUNS), points)


def _tiles(values: Json) -> list[Tile]:
    """The four or five numbers that say the most about a run of its job."""
    tiles = _record_tiles(values) if "outcomes" in values else []
    if "conflicts" in values:
        tiles.append(Tile("conflicts", [("conflicts",)], "look" if values["conflicts"] else "plain"))
    if "rows" in values:
        tiles.append(Tile("rows of features", [("rows",)]))
    if "invariants" in values:
        broken = [("invariants", name) for name in values["invariants"]]
        tone = "bad" if any(values["invariants"].values()) else "plain"
        tiles.append(Tile("rows that break an invariant", broken, tone))
    if pulls := values.get("pulls"):
        tiles += [Tile(f"{unit} pulled", [("pulls", name, unit) for name in pulls]) for unit in ("pages", "records")]
    publishes = values.get("publishes") or {}
    if publishes and "outcomes" not in values:
        rows = [
            ("publishes", sink, "rows", name) for sink, of_it in publishes.items() for name in of_it.get("rows") or {}
        ]
        tiles.append(Tile("rows published", rows))
    if values.get("duration_s") is not None:
        tiles.append(Tile("seconds", [("duration_s",)]))
    return tiles


def _record_tiles(values: Json) -> list[Tile]:
    """How many records came in, how many of them are in the tables now, and how many were rejected."""
    datasets = values.get("datasets") or {}
    records: list[Path] = [("datasets", name, "records") for name in datasets]
    refused: list[Path] = [("datasets", name, "outcomes", "rejected") for name in datasets]
    applied: list[Path] = [
        ("datasets", name, "outcomes", outcome)
        for name, counts in datasets.items()
        for outcome in ("inserted", "updated", "valid")
        if outcome in counts["outcomes"]
    ]
    label = "new or updated" if _is_applied(values) else "would be new or updated"
    return [
        Tile("records read", records),
        Tile("valid" if "input_prints" in values else label, applied),
        Tile("rejected", refused, "look" if rejected(values) else "plain"),
    ]


def _is_applied(values: Json) -> bool:
    """Whether the records are in the tables; also when just a sink failed after that."""
    return values.get("status") in {DONE, UNDONE} or bool(values.get("tables"))


def _flow(values: Json) -> charts.Flow | None:
    counts = {name: each["outcomes"] for name, each in (values.get("datasets") or {}).items() if each["records"]}
    return charts.flow(counts, [*dict.fromkeys([*MEANINGS, *EVENT_MEANINGS])]) if counts else None


def _outcome_rows(values: Json) -> list[tuple[str, str]]:
    """The outcomes that the job knows, with what each means."""
    known = values.get("outcomes") or {}
    meanings = EVENT_MEANINGS if "valid" in known else MEANINGS
    return [(name, meanings.get(name, "")) for name in known]


def _rules(values: Json) -> list[tuple[str, str, Path, charts.Span]]:
    """The rules that fired: dataset, rule, the place of its number, and a bar; those that fired the most come first."""
    fired: list[tuple[str, str, Path, int]] = [
        (dataset, rule, ("datasets", dataset, "rules", rule), number)
        for dataset, counts in (values.get("datasets") or {}).items()
        for rule, number in counts["rules"].items()
    ]
    members = {"users": "user_known", "products": "sku_known"}
    fired += [
        ("orders", members.get(dataset, dataset), ("inferred", dataset), number)
        for dataset, number in (values.get("inferred") or {}).items()
        if number
    ]
    fired.sort(key=lambda one: -one[-1])
    most = max([1, *(number for *_, number in fired)])
    return [(dataset, rule, path, charts.bar(number, most)) for dataset, rule, path, number in fired]


def _counted(values: Json) -> list[tuple[str, Path]]:
    """The single numbers at the top of the metrics, also such as this module does not know, each with its label."""
    single: list[tuple[str, Path]] = [
        (_LABELS.get(key, key.replace("_", " ")), (key,))
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in _APART
    ]
    return single + [(f"{name} inferred", ("inferred", name)) for name in values.get("inferred") or {}]


def _whole(values: Json) -> float:
    ends = [step["began_s"] + step["seconds"] for step in values.get("steps") or []]
    return float(max([values.get("duration_s") or 0, *ends]))


def _revenue(values: Json) -> list[tuple[str, list[charts.Column], list[tuple[int, Json]]]]:
    """For each currency the bars of its days, and the rows with their places; the highest revenue first."""
    rows = list(enumerate((values.get("sales") or {}).get("days") or []))
    drawn = []
    for currency, of_it in _by_currency(rows):
        drawn.append((currency, charts.columns([float(_amount(row["revenue"])) for _, row in of_it]), of_it))
    return drawn


def _tops(values: Json) -> list[tuple[str, str, str, list[tuple[int, Json, charts.Span]]]]:
    """The tables of the most sold: heading, list in the metrics, key, and rows with their places and bars."""
    drawn = []
    for heading, name, key in (("Products", "products", "sku"), ("Countries", "countries", "country")):
        for currency, rows in _by_currency(enumerate((values.get("sales") or {}).get(name) or [])):
            most = max(float(_amount(row["revenue"])) for _, row in rows)
            bars = [(place, row, charts.bar(float(_amount(row["revenue"])), most)) for place, row in rows]
            drawn.append((f"{heading}, {currency}", name, key, bars))
    return drawn


def _by_currency(rows: Iterable[tuple[int, Json]]) -> list[tuple[str, list[tuple[int, Json]]]]:
    found: dict[str, list[tuple[int, Json]]] = {}
    for place, row in rows:
        found.setdefault(str(row["currency"]), []).append((place, row))
    return list(found.items())


def _amount(text: object) -> Decimal:
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal(0)
