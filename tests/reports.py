"""Metrics and states of runs, made of the types that jobs fill, for tests of the report: a rich day, a life of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etl_lib.run.metric_parts import (
    ChangeMetrics,
    CheckMetrics,
    DatasetMetrics,
    DatasetProfile,
    EventMetrics,
    FeatureMetrics,
    FieldProfile,
    OrderMetrics,
    ProfileShift,
    PublishMetrics,
    PullMetrics,
    SalesMetrics,
    StepMetrics,
    TableMetrics,
    UpkeepMetrics,
    WindowMetrics,
)
from etl_lib.run.metrics import Metrics, as_json
from etl_lib.tables.ledger import GateResult, SetAside
from etl_lib.telling.report import pointer
from etl_lib.telling.state import Attempt, JobState

RUN_ID, STARTED = "20240531T060012Z-c14f8d", "2024-05-31T06:00:12.000+00:00"
HOSTILE = "<script>alert(1)</script>\"' onload=x \x1b[31m\u202etxt.exe\x00 {{ m }} &lt; " + "x" * 400
_NONE = dict.fromkeys(("inserted", "updated", "unchanged", "stale", "superseded", "out_of_window", "rejected"), 0)
_RULES = {
    "amount_matches_items": 803,
    "malformed_json": 312,
    "qty_positive": 97,
    **dict.fromkeys(("amount_is_exact", "broken_array", "created_at_given", "currency_given", "items_given"), 4),
    **dict.fromkeys(("price_given", "time_zone_given", "user_id_given", "wrong_type"), 1),
}
_STEPS = (
    ("session", 0.001, 6.2, {}),
    ("tables", 6.2, 2.114, {}),
    ("files", 8.3, 1.27, {"files": 12}),
    ("stage", 9.6, 31.884, {"records": 1249316}),
    ("fact_sales", 41.5, 17.402, {"orders": 1193522}),
    ("quarantine", 41.5, 3.1, {"records": 1204}),
    ("dim_user", 41.5, 8.92, {"records": 2100, "inferred": 37}),
    ("dim_product", 41.5, 5.377, {"records": 11}),
    ("dim_order", 58.9, 9.006, {"orders": 1193522}),
    ("daily_sales", 68.0, 4.551, {"dates": 31}),
    ("ledger", 72.6, 0.411, {}),
)
_TABLES = {
    "fact_sales": (48120331, 50318774, 211, 212),
    "dim_order": (21998120, 23170031, 211, 212),
    "dim_user": (812440, 814203, 198, 199),
    "dim_product": (4120, 4131, 97, 98),
    "daily_sales": (190422, 196080, 211, 212),
    "quarantine": (20411, 21615, 180, 181),
}


def values_of(metrics: Metrics) -> dict[str, Any]:
    """The metrics as a reader of metrics.json finds them."""
    found: dict[str, Any] = json.loads(as_json(metrics))
    return found


def rich_metrics() -> Metrics:
    """A good run of orders with a little of everything that is told."""
    outcomes = _NONE | {"inserted": 1171911, "updated": 21611, "unchanged": 40377, "stale": 612, "superseded": 11402}
    outcomes["rejected"] = 1203
    users = _NONE | {"inserted": 1726, "updated": 374, "unchanged": 88, "rejected": 1}
    datasets = {
        "orders": DatasetMetrics(1247116, outcomes, _RULES, {"gift_note": 41}),
        "products": DatasetMetrics(11, _NONE | {"inserted": 11}, {}, {}),
        "users": DatasetMetrics(2189, users, {}, {}),
    }
    batch = OrderMetrics(
        input_orders=1247116, blank_lines=14, valid_orders=1245913, deduped_orders=1234511, items=2610044,
        dim_user=814203, dim_product=4131, outcomes=outcomes, conflicts=2, conflict_orders=["B-2002", "K-91773"],
        datasets=datasets, drift={"orders": {"new_field": {"gift_note": 41, "items.tin": 3}}}, warnings=[_warning()],
        dates=["2024-05-29", "2024-05-30", "2024-05-31"],
    )  # fmt: skip
    changes = ChangeMetrics(
        is_full=False, reason=None, previous="p-0", versions={"fact_sales": 212}, groups={"fact_sales": 31}, dates={}
    )
    tables = {
        name: TableMetrics(*numbers, files_added=n, files_removed=n - 2, bytes_added=n * 9120331, bytes_removed=71)
        for n, (name, numbers) in enumerate(_TABLES.items(), start=3)
    }
    return Metrics(
        RUN_ID, "done", "orders", ("--set", "warehouse=/lake/w", "output=/lake/o"), STARTED, batch=batch,
        inferred={"users": 37, "products": 0}, commit_retries=1, duration_s=73.108,
        tables=tables,
        steps=[StepMetrics(*step) for step in _STEPS], sales=_sales(), profile=_profile(),
        set_aside=(SetAside("orders", "/landing/2024-05-30.jsonl.gz", 88122, 1, "it ends in the middle of a block"),),
        gates=(GateResult("rejected", "orders", "stop", "passed"),
               GateResult("volume", "orders", "warn", "warned", "1,247,116 records, 18% above the last 7 days")),
        profile_shifts=(ProfileShift("orders", "currency", "distinct", 3.0, 4.0),),
        publishes={
            "postgres": PublishMetrics("postgresql://db:5432/shop", changes, "p-1", {"fact_sales": 2198443}, "complete")
        },
    )  # fmt: skip


def rich_day() -> dict[str, Any]:
    """The same, as a reader of metrics.json finds it."""
    return values_of(rich_metrics())


def failed_run() -> dict[str, Any]:
    """A run of orders that a full disk ended."""
    steps = [StepMetrics(*step) for step in _STEPS[:4]]
    message = "a disk is full: warehouse /lake/w has 1.2 MB free. Make room and run the same command again"
    return values_of(
        Metrics(
            RUN_ID,
            "failed",
            "orders",
            (),
            STARTED,
            steps=steps,
            message=message,
            error="DiskFullError",
            duration_s=41.9,
        )
    )


def stopped_run() -> dict[str, Any]:
    """A run that a gate stopped, and one of whose gates holds the sinks."""
    gates = (GateResult("rejected", "orders", "stop", "stopped", "12.0% rejected, above 5.0%"),)
    return values_of(Metrics(RUN_ID, "stopped", "orders", ("--set", "output=/lake/o"), STARTED, gates=gates))


def held_run() -> dict[str, Any]:
    """A run whose tables are right and whose sinks wait."""
    return rich_day() | {"publish": "held"}


def pulled() -> dict[str, Any]:
    """A pull of orders."""
    pulls = {"orders": PullMetrics("p-7", "complete", 12, 1180, 1, resumed=True, folder="/lake/landing/orders/p-7")}
    return values_of(Metrics(RUN_ID, "done", "pull", (), STARTED, pulls=pulls, duration_s=4.1))


def checked() -> dict[str, Any]:
    """A check that found keys of users."""
    check = CheckMetrics(
        {"keys_of_dim_user": 2, "weeks_are_mondays": 0}, {"keys_of_dim_user": ["U-1044", "U-1045"]}, ["x"]
    )
    message = "1 of 2 invariants do not hold:\n  keys_of_dim_user: 2 (its key is unique), e.g. U-1044, U-1045"
    metrics = Metrics(RUN_ID, "failed", "maintain", ("check",), STARTED, duration_s=9.5)
    metrics.upkeep, metrics.message, metrics.error = UpkeepMetrics("check", check=check), message, "InvariantError"
    return values_of(metrics)


def compacted() -> dict[str, Any]:
    """What compact did."""
    tables = {
        "fact_sales": {"files_before": 1210, "files_after": 31},
        "dim_user": {"files_before": 3, "files_after": 3},
    }
    return values_of(
        Metrics(RUN_ID, "done", "maintain", ("compact",), STARTED, upkeep=UpkeepMetrics("compact", tables))
    )


def features() -> dict[str, Any]:
    """A run of value_props over one week."""
    datasets = {
        name: DatasetMetrics(number, {"valid": number - 2, "rejected": 2}, {"wrong_type": 2}, {})
        for name, number in (("prints", 4211), ("taps", 391), ("pays", 120))
    }
    batch = EventMetrics(
        outcomes={"valid": 4716, "rejected": 6}, input_prints=4211, valid_prints=4209, rejected_prints=2,
        input_taps=391, valid_taps=389, rejected_taps=2, input_pays=120, valid_pays=118, rejected_pays=2, blank_lines=1,
        repeated_headers=3, datasets=datasets, drift={}, warnings=[],
    )  # fmt: skip
    windows = WindowMetrics(
        reference_date="2024-05-26", target_week="2024-05-20", target_week_complete=False, target_weeks=["2024-05-20"],
        window="calendar", window_weeks=3, window_first_day="2024-04-29", window_last_day="2024-05-19",
        pays_before_windows=4, pays_after_windows=5,
    )  # fmt: skip
    written = FeatureMetrics(811, 77, 6, 7, 8, ["/lake/o/value_props/final.csv"], {"value_prop_features": 12})
    return values_of(
        Metrics(
            RUN_ID, "done", "value_props", ("--as-of", "2024-05-26"), STARTED, batch=batch, windows=windows,
            features=written, weeks={"2024-05-20": {"rows": 811, "clicked": 77}}, duration_s=21.5,
        )
    )  # fmt: skip


def a_life(job: str = "orders", runs: int = 41) -> dict[str, JobState]:
    """The state of a job after many runs, one of which failed; the last one is RUN_ID."""
    state = JobState()
    for attempt in _attempts(job, runs):
        state = state.after(attempt)
    return {job: state}


def hostile_day(text: str) -> dict[str, Any]:
    """A day on which everything that comes from outside is `text`."""
    values = rich_day()
    values |= {"message": text, "error": text, "conflict_orders": [text], "warnings": [text], "arguments": [text]}
    values |= {"unmatched": {"orders": text}, "drift": {"orders": {"new_field": {text: 1}}}, "dates": [text]}
    values["datasets"]["orders"]["rules"] = {text: 1}
    values["set_aside"][0] |= {"path": text, "reason": text}
    values["gates"][0] |= {"gate": text, "message": text}
    values["sales"]["products"][0]["sku"] = values["sales"]["countries"][0]["country"] = text
    for row in values["sales"]["days"][:30]:
        row["currency"] = text
    fields = values["profile"]["orders"]["fields"]
    values["profile"]["orders"]["fields"] = {text: {**fields["currency"], "frequent": [[text, 1]], "least": text}}
    values["publishes"]["postgres"] |= {"address": text, "message": text, "reason": text, "is_full": True}
    return values


def leaves(value: Any, *path: str | int) -> Iterator[tuple[str, Any]]:
    """Every number of some JSON, and every text that is one, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, *path, key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, *path, number)
    elif (isinstance(value, int | float) and not isinstance(value, bool)) or path[-1] == "revenue":
        yield pointer(path), value


KINDS: list[Callable[[], dict[str, Any]]] = [
    rich_day,
    failed_run,
    stopped_run,
    held_run,
    pulled,
    checked,
    compacted,
    features,
]


def _attempts(job: str, runs: int) -> Iterable[Attempt]:
    for number in range(runs):
        day = f"2024-{4 + (number + 20) // 31:02}-{(number + 20) % 31 + 1:02}"
        is_last, is_bad = number == runs - 1, number == runs - 9
        yield Attempt(
            run_id=RUN_ID if is_last and job == "orders" else f"{day.replace('-', '')}T060000Z-{number:06x}",
            job=job,
            status="failed" if is_bad else "done",
            started_at=STARTED if is_last else f"{day}T06:00:00.000+00:00",
            ended_at=f"{day}T06:01:20.000+00:00",
            duration_s=12.5 if is_bad else 73.108 if is_last else round(61 + number % 7 * 2.3 + number / 5, 3),
            message="the disk is full" if is_bad else None,
            records=0 if is_bad else 1249316 if is_last else 1010000 + number % 7 * 21000 + number * 4000,
            outcomes={"rejected": 0 if is_bad else 1204 if is_last else 900 + number * 17 % 400},
            conflicts=2 if is_last else number % 5 // 4,
        )


def _warning() -> str:
    return (
        "orders: 3 of 1,247,116 records have a user_id that is a number with .0 (98702.0), and none of users has: "
        "these are other ids, so the records do not find each other"
    )


def _sales() -> SalesMetrics:
    days = [
        {
            "date": f"2024-05-{day:02}",
            "currency": currency,
            "units": 900 + day * 13 % 97,
            "revenue": f"{base * (60 + day * 13 % 29 + 25 * (day % 7 > 4)) // 60}.{day:02}00",
        }
        for currency, base in (("BRL", 812000), ("ARS", 91204000), ("EUR", 1800))
        for day in range(2, 32)
    ]
    countries = [
        {"country": name, "currency": "BRL", "units": 51000 // place, "revenue": f"{19812331 // place}.5000"}
        for place, name in enumerate(("BR", "PT", None), start=1)
    ]
    products = [
        {"sku": name, "currency": "BRL", "units": 9100 // place, "revenue": f"{4112000 // place}.1200"}
        for place, name in enumerate(("SKU-100", "SKU-7", "COFFEE-1KG", "MUG"), start=1)
    ]
    return SalesMetrics(sorted(days, key=lambda row: (str(row["date"]), str(row["currency"]))), countries, products)


def _profile() -> dict[str, DatasetProfile]:
    fields = {
        "user_id": FieldProfile(0, 301222, "U-1", "U-99999"),
        "amount": FieldProfile(3, 88120, "0.0100", "99120.5000", ("12.5000", "41.9900", "120.0000")),
        "currency": FieldProfile(0, 3, "ARS", "EUR", (), (("BRL", 901223), ("ARS", 300120), ("EUR", 44570))),
    }
    return {"orders": DatasetProfile(1245913, fields)}
