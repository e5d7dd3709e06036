"""Schema drift: where the members of the records differ from the declared ones, by kind and name.

What drifted is told, never read by guess: a new field and one in another case have no place in a table, a record with a
member of another type is rejected, and a field that no record has is NULL everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.stage import Stage
from etl_lib.reading.datasets import DATASETS
from etl_lib.reading.strict_json import JsonShape
from etl_lib.settings.config import DriftKind, DriftPolicies
from etl_lib.settings.rules import STRUCTURAL

NAMES_SHOWN = 100
"""So many undeclared names of a run are counted: those in another case first, then the most frequent."""

Names = Mapping[str, int]


_OPTIONAL = ("updated_at", "deleted")
"""What most records lack: never lost."""

_UNREADABLE = [name for name in STRUCTURAL if name not in {"wrong_type", "no_key"}]


def undeclared(stage: Stage) -> DataFrame:
    """The members that no shape has: dataset, name, count; at most NAMES_SHOWN, those in another case first."""
    names = stage.records().select("dataset", F.explode("unknown_fields").alias("name"))
    lower = {name.lower() for entry in DATASETS.values() for name in entry.members}
    in_other_case = F.lower("name").isin(sorted(lower))
    counted = names.groupBy("dataset", "name").count()
    return counted.orderBy(in_other_case.desc(), F.desc("count"), "name").limit(NAMES_SHOWN)


def changed_types(stage: Stage, dataset: str) -> Counter[str]:
    """The members of another type than the declared one, with the records that were rejected for it."""
    shape = DATASETS[dataset].shape
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
    entry = DATASETS[dataset]
    records, rejected = sum(outcomes.values()), outcomes.get("rejected", 0)
    accepted = records - rejected
    if entry.shape is None or records < policies.min_records:
        return Counter()
    missing = {name for name in entry.shape.leaves if name not in _OPTIONAL}
    if accepted:
        missing = {name for name in missing & entry.values.keys() if not given.get(name)}
    if missing and rejected:
        objects, given_there = _given_in_rejected(stage, dataset, entry.shape)
        accepted += objects
        missing -= given_there
    if accepted < policies.min_records:
        return Counter()
    lost = {name for name in missing if not {name, _parent(name)} & set(policies.optional)}
    return Counter(dict.fromkeys({_as_whole(name, missing, entry.shape) for name in lost}, accepted))


def _given_in_rejected(stage: Stage, dataset: str, shape: JsonShape) -> tuple[int, set[str]]:
    """How many rejected records are JSON objects, and the members for which any of them has a value."""
    is_readable = (F.col("outcome") == "rejected") & ~F.arrays_overlap(
        "broken_rules", F.array(*map(F.lit, _UNREADABLE))
    )
    members = stage.records(dataset).where(is_readable).select(members_given(F.col("raw"), shape).alias("members"))
    every = F.array_distinct(F.flatten(F.collect_set("members")))
    row = members.agg(F.count("members").alias("objects"), every.alias("names")).collect()[0]
    return row["objects"], set(row["names"])


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _as_whole(name: str, missing: Iterable[str], shape: JsonShape) -> str:
    siblings = {leaf for leaf in shape.leaves if _parent(leaf) == _parent(name)}
    return _parent(name) if _parent(name) and siblings <= set(missing) else name


def by_kind(dataset: str, unknown: Names, types: Names, lost: Names) -> dict[str, dict[str, int]]:
    """The drift of one dataset: names and counts by kind, of the kinds that there are."""
    lower = {name.lower() for name in DATASETS[dataset].members}
    kinds: dict[DriftKind, Names] = {
        "new_field": {name: n for name, n in unknown.items() if name.lower() not in lower},
        "lost_field": lost,
        "changed_type": types,
        "changed_case": {name: n for name, n in unknown.items() if name.lower() in lower},
    }
    return {kind: dict(sorted(names.items())) for kind, names in kinds.items() if names}


# Which members rejected JSON records have is asked of few, for the report alone; so Spark's variants answer, which need
# no parser of our own.


def members_given(raw: Column, shape: JsonShape) -> Column:
    """ARRAY<STRING>: the dotted names of the texts for which a JSON object has a value; NULL for any other text."""
    return _members(raw, shape, lambda member: member.isNotNull() & ~F.is_variant_null(member))


def members_of_other_types(raw: Column, shape: JsonShape) -> Column:
    """ARRAY<STRING>: the dotted names of a JSON object's members that are not what the shape says; NULL as above.

    An array with an element that is no object is named itself.
    """

    def is_other(kinds: Sequence[str]) -> Callable[[Column], Column]:
        return lambda member: ~F.schema_of_variant(member).rlike(f"^({'|'.join(kinds)}|VOID)")

    def has_other_element(member: Column) -> Column:
        return F.exists(member.try_cast("array<variant>"), is_other(["OBJECT"]))

    root = F.try_parse_json(raw)
    other = [_members(raw, shape, lambda member: F.schema_of_variant(member).rlike("^(OBJECT|ARRAY)"))]
    for members, kinds in ((shape.booleans, ["BOOLEAN"]), (shape.objects, ["OBJECT"]), (shape.arrays, ["ARRAY"])):
        other += [_named(name, is_other(kinds)(_member(root, name))) for name in members]
    other += [_named(name, has_other_element(_member(root, name))) for name in shape.arrays]
    return F.array_distinct(F.concat(*other))


def _members(raw: Column, shape: JsonShape, is_so: Callable[[Column], Column]) -> Column:
    """The names of the texts for which `is_so` of the variant, or of one in an array; NULL if `raw` is no object."""
    root = F.try_parse_json(raw)
    flat = [*shape.texts, *(f"{name}.{leaf}" for name, fields in shape.objects.items() for leaf in fields)]
    names = [_named(name, is_so(_member(root, name))) for name in flat]
    for name, fields in shape.arrays.items():
        elements = _member(root, name).try_cast("array<variant>")
        names += [_named(f"{name}.{leaf}", F.exists(elements, _in_element(leaf, is_so))) for leaf in fields]
    return F.when(F.schema_of_variant(root).startswith("OBJECT"), F.concat(*names))


def _in_element(leaf: str, is_so: Callable[[Column], Column]) -> Callable[[Column], Column]:
    return lambda element: F.coalesce(is_so(_member(element, leaf)), F.lit(False))


def _member(variant: Column, name: str) -> Column:
    return F.try_variant_get(variant, f"$.{name}", "variant")


def _named(name: str, condition: Column) -> Column:
    return F.when(condition, F.array(F.lit(name))).otherwise(F.array().cast("array<string>"))
