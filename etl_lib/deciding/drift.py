"""Schema drift: where the members of the records differ from the declared ones, by kind and name.

What drifted is told, never read by guess: a new field and one in another case have no place in a table, a record with a
member of another type is rejected, and a field that no record has is NULL everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.json_members import members_given, members_of_other_types
from etl_lib.deciding.stage import Stage
from etl_lib.reading.dimension_records import PRODUCT_COLUMNS, USER_COLUMNS
from etl_lib.reading.event_records import PAY_COLUMNS, VIEW_SHAPE
from etl_lib.reading.order_records import ORDER_SHAPE
from etl_lib.reading.strict_json import JsonShape
from etl_lib.settings.config import DriftKind, DriftPolicies
from etl_lib.settings.rules import STRUCTURAL

NAMES_SHOWN = 100
"""So many undeclared names of a run are counted: those in another case first, then the most frequent."""

Names = Mapping[str, int]


@dataclass(frozen=True)
class Declared:
    """The members of a dataset. `values` has, of those that an accepted record may lack, the value in its stage."""

    names: frozenset[str]
    shape: JsonShape | None = None
    values: Mapping[str, str] = field(default_factory=dict)


def _json(shape: JsonShape, values: Mapping[str, str]) -> Declared:
    return Declared(frozenset([*shape.leaves, *shape.booleans, *shape.objects, *shape.arrays]), shape, values)


_VIEWS = _json(VIEW_SHAPE, {"event_data.position": "position"})

DECLARED: dict[str, Declared] = {
    "orders": _json(
        ORDER_SHAPE,
        {
            **{name: f"orders.{name}" for name in ("user_id", "amount", "currency")},
            **{f"metadata.{name}": f"orders.{name}" for name in ("source", "promo")},
            # a line has always a sku and a qty
            **{f"items.{name}": "get(orders.lines.qty, 0)" for name in ("sku", "qty")},
            "items.price": "get(array_compact(orders.lines.unit_price), 0)",
        },
    ),
    "users": Declared(frozenset(USER_COLUMNS)),
    "products": Declared(frozenset(PRODUCT_COLUMNS)),
    "prints": _VIEWS,
    "taps": _VIEWS,
    "pays": Declared(frozenset(PAY_COLUMNS)),
}

_OPTIONAL = ("updated_at", "deleted")
"""What most records lack: never lost."""

_UNREADABLE = [name for name in STRUCTURAL if name not in {"wrong_type", "no_key"}]


def values_given(dataset: str) -> list[Column]:
    """How many staged records have a value, for each member that an accepted record may lack."""
    return [F.count(F.expr(value)).alias(name) for name, value in DECLARED[dataset].values.items()]


def undeclared(stage: Stage) -> DataFrame:
    """The members that no shape has: dataset, name, count; at most NAMES_SHOWN, those in another case first."""
    names = stage.records().select("dataset", F.explode("unknown_fields").alias("name"))
    lower = {name.lower() for declared in DECLARED.values() for name in declared.names}
    in_other_case = F.lower("name").isin(sorted(lower))
    counted = names.groupBy("dataset", "name").count()
    return counted.orderBy(in_other_case.desc(), F.desc("count"), "name").limit(NAMES_SHOWN)


def changed_types(stage: Stage, dataset: str) -> Counter[str]:
    """The members of another type than the declared one, with the records that were rejected for it."""
    shape = DECLARED[dataset].shape
    if shape is None:
        return Counter()
    refused = stage.records(dataset).where(F.array_contains("broken_rules", "wrong_type"))
    names = refused.select(F.explode(members_of_other_types(F.col("raw"), shape)).alias("name"))
    return Counter({row["name"]: row["count"] for row in names.groupBy("name").count().collect()})


def lost_fields(
    stage: Stage, dataset: str, outcomes: Mapping[str, int], given: Names, policies: DriftPolicies
) -> Counter[str]:
    """The members for which no record has a value, with the number of records; none where there are too few of them.

    `given` has the accepted records with a value. What none of these has is looked for in the rejected ones. An object
    or array of which nothing is left is named as a whole.
    """
    declared = DECLARED[dataset]
    records, rejected = sum(outcomes.values()), outcomes.get("rejected", 0)
    accepted = records - rejected
    if declared.shape is None or records < policies.min_records:
        return Counter()
    missing = {name for name in declared.shape.leaves if name not in _OPTIONAL}
    if accepted:
        missing = {name for name in missing & declared.values.keys() if not given.get(name)}
    if missing and rejected:
        objects, found = _given_in_rejected(stage, dataset, declared.shape)
        accepted += objects
        missing -= found
    if accepted < policies.min_records:
        return Counter()
    lost = {name for name in missing if not {name, _parent(name)} & set(policies.optional)}
    return Counter(dict.fromkeys({_as_whole(name, missing, declared.shape) for name in lost}, accepted))


def _given_in_rejected(stage: Stage, dataset: str, shape: JsonShape) -> tuple[int, set[str]]:
    """How many rejected records are JSON objects, and the members for which any of them has a value."""
    is_readable = (F.col("outcome") == "rejected") & ~F.arrays_overlap(
        "broken_rules", F.array(*map(F.lit, _UNREADABLE))
    )
    members = stage.records(dataset).where(is_readable).select(members_given(F.col("raw"), shape).alias("members"))
    every = F.array_distinct(F.flatten(F.collect_set("members")))
    row = members.agg(F.count("members").alias("objects"), every.alias("found")).collect()[0]
    return row["objects"], set(row["found"])


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _as_whole(name: str, missing: Iterable[str], shape: JsonShape) -> str:
    siblings = {leaf for leaf in shape.leaves if _parent(leaf) == _parent(name)}
    return _parent(name) if _parent(name) and siblings <= set(missing) else name


def by_kind(dataset: str, unknown: Names, types: Names, lost: Names) -> dict[str, dict[str, int]]:
    """The drift of one dataset: names and counts by kind, of the kinds that there are."""
    lower = {name.lower() for name in DECLARED[dataset].names}
    kinds: dict[DriftKind, Names] = {
        "new_field": {name: n for name, n in unknown.items() if name.lower() not in lower},
        "lost_field": lost,
        "changed_type": types,
        "changed_case": {name: n for name, n in unknown.items() if name.lower() in lower},
    }
    return {kind: dict(sorted(names.items())) for kind, names in kinds.items() if names}
