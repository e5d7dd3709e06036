"""The members of JSON records that were rejected, by name: which have a value, and which have another type.

Asked of few records, for the report of schema drift; so Spark's variants answer, which need no parser of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

from etl_lib.reading.strict_json import JsonShape


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
    found = [_members(raw, shape, lambda member: F.schema_of_variant(member).rlike("^(OBJECT|ARRAY)"))]
    for names, kinds in ((shape.booleans, ["BOOLEAN"]), (shape.objects, ["OBJECT"]), (shape.arrays, ["ARRAY"])):
        found += [_named(name, is_other(kinds)(_member(root, name))) for name in names]
    found += [_named(name, has_other_element(_member(root, name))) for name in shape.arrays]
    return F.array_distinct(F.concat(*found))


def _members(raw: Column, shape: JsonShape, is_so: Callable[[Column], Column]) -> Column:
    """The names of the texts for which `is_so` of the variant, or of one in an array; NULL if `raw` is no object."""
    root = F.try_parse_json(raw)
    flat = [*shape.texts, *(f"{name}.{leaf}" for name, fields in shape.objects.items() for leaf in fields)]
    found = [_named(name, is_so(_member(root, name))) for name in flat]
    for name, fields in shape.arrays.items():
        elements = _member(root, name).try_cast("array<variant>")
        found += [_named(f"{name}.{leaf}", F.exists(elements, _in_element(leaf, is_so))) for leaf in fields]
    return F.when(F.schema_of_variant(root).startswith("OBJECT"), F.concat(*found))


def _in_element(leaf: str, is_so: Callable[[Column], Column]) -> Callable[[Column], Column]:
    return lambda element: F.coalesce(is_so(_member(element, leaf)), F.lit(False))


def _member(variant: Column, name: str) -> Column:
    return F.try_variant_get(variant, f"$.{name}", "variant")


def _named(name: str, condition: Column) -> Column:
    return F.when(condition, F.array(F.lit(name))).otherwise(F.array().cast("array<string>"))
