"""Strict JSON: an object of the declared fields, as text and exactly as written, or the reason why not.

Why two parsers. `from_json` alone is lenient about what follows a value, takes the last of two equal keys, turns a
lone surrogate into `?`, copies floating-point numbers through a double, and gives an object as text where text is
wanted. `try_parse_json` (variant) is exact and refuses the first two. So each record passes both, and the few whose
text could be bent (a number of 16 digits or more, a text that begins like an object) are taken from the variant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_OPTIONS = {
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": "corrupt",
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
}

# For a text whose escaped backslashes are out of the way: every backslash left begins an escape.
_NUL = r"\\u0000|\x00"
_HIGH, _LOW = (rf"\\u[dD][{digits}][0-9a-fA-F]{{2}}" for digits in ("89abAB", "c-fC-F"))
_LONE_SURROGATE = rf"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}"
# What from_json's double may bend: a number of 16 digits or more, or an exponent of three. What a variant's double
# may have bent: such digits with an exponent, such an exponent, or more digits than a variant's decimal has.
_MAY_BEND = r"[:,\[]\s*-?[0-9][0-9.]{15}|[0-9][eE][+-]?[0-9]{3}"
_BENT_DOUBLE = r"[:,\[]\s*-?[0-9][0-9.]{15,}[eE]|[0-9][eE][+-]?[0-9]{3}|[0-9.]{39}"


@dataclass(frozen=True)
class JsonShape:
    """What a record looks like: its text and boolean fields, its objects of texts and its arrays of such objects."""

    texts: Sequence[str]
    booleans: Sequence[str]
    objects: dict[str, Sequence[str]]
    arrays: dict[str, Sequence[str]]

    @property
    def leaves(self) -> list[str]:
        """The dotted names of all texts."""
        nested = {**self.objects, **self.arrays}
        return [*self.texts, *(f"{name}.{leaf}" for name, fields in nested.items() for leaf in fields)]

    def ddl(self, leaf: str, further: str = "") -> str:
        """The shape as a Spark struct whose texts have one type, with `further` fields at its end."""

        def struct(names: Sequence[str]) -> str:
            return ", ".join(f"`{name}`: {leaf}" for name in names)

        parts = [struct(self.texts)]
        parts += [f"`{name}`: STRUCT<{struct(fields)}>" for name, fields in self.objects.items()]
        parts += [f"`{name}`: ARRAY<STRUCT<{struct(fields)}>>" for name, fields in self.arrays.items()]
        return f"STRUCT<{', '.join(filter(None, [*parts, further]))}>"


def parse_json(records: DataFrame, shape: JsonShape) -> DataFrame:
    """Add what each `raw` says: `texts` (the shape with STRING leaves), `booleans`, `parse_error`, `unknown_fields`.

    `parse_error` is NULL or the first that applies of: the record's `read_error`, `not_utf8`, `malformed_json`,
    `nul_in_text`, `lone_surrogate`, `not_an_object`, `wrong_type`. `unknown_fields` has the dotted names of members
    that the shape does not have, NULL where there are none.
    """
    raw = F.col("raw")
    wrapped = F.concat(F.lit('{"record":'), raw, F.lit("}"))
    flags = ", ".join(f"`{name}`: BOOLEAN" for name in shape.booleans)
    schema = f"record {shape.ddl('STRING', flags)}, corrupt STRING"
    parsed = records.withColumns(
        {
            "fast": F.from_json(wrapped, schema, _OPTIONS),
            "variant": F.try_parse_json(F.concat(F.lit("["), raw, F.lit(",null]"))),
        }
    )
    like_structure = _any_leaf(F.col("fast.record"), shape, lambda leaf: leaf.startswith("{") | leaf.startswith("["))
    parsed = parsed.withColumn("exact", F.when(raw.rlike(_MAY_BEND) | like_structure, _from_variant(shape)))
    is_exact = F.col("exact").isNotNull()
    texts = F.when(is_exact, _as_texts(F.col("exact"), shape)).otherwise(_texts_of(F.col("fast.record"), shape))
    not_texts = F.when(is_exact, _any_leaf(F.col("exact"), shape, lambda leaf: _is_no_text(leaf, raw)))
    has_escapes = raw.contains("\\u") | raw.contains("\x00")
    escapes = F.replace(raw, F.lit("\\\\"), F.lit("-"))
    # The null behind the record is where it was put, so the record is one value and nothing follows it. What could
    # follow in an array, further values, is an error in the object of the other parser; so good records are not asked
    # for a third element, which they do not have and which is slow to miss.
    second, third = (F.try_variant_get("variant", path, "variant") for path in ("$[1]", "$[2]"))
    one_value = F.coalesce(F.is_variant_null(second), F.lit(False)) & (F.col("fast.corrupt").isNull() | third.isNull())
    parse_error = (
        F.when(F.col("read_error").isNotNull(), F.col("read_error"))
        .when(~F.is_valid_utf8(raw), "not_utf8")
        .when(~one_value, "malformed_json")
        .when(has_escapes & escapes.rlike(_NUL), "nul_in_text")
        .when(has_escapes & escapes.rlike(_LONE_SURROGATE), "lone_surrogate")
        .when(~raw.rlike(r"^\s*\{"), "not_an_object")
        .when(F.col("fast.corrupt").isNotNull() | F.coalesce(not_texts, F.lit(False)), "wrong_type")
    )
    return parsed.withColumns(
        {
            "parse_error": parse_error,
            "texts": texts,
            "booleans": F.struct(*(F.col(f"fast.record.{name}") for name in shape.booleans)),
            "unknown_fields": _unknown_fields(shape),
        }
    ).drop("fast", "variant", "exact")


def _from_variant(shape: JsonShape) -> Column:
    return F.try_variant_get("variant", "$[0]", shape.ddl("VARIANT"))


def _is_no_text(leaf: Column, raw: Column) -> Column:
    """Whether a variant is an object, an array, or a number that it may not hold exactly."""
    kind = F.schema_of_variant(leaf)
    return kind.rlike("^(OBJECT|ARRAY)") | ((kind == "DOUBLE") & raw.rlike(_BENT_DOUBLE))


def _leaves(record: Column, names: Sequence[str]) -> list[Column]:
    return [record[name] for name in names]


def _any_leaf(record: Column, shape: JsonShape, broken: Callable[[Column], Column]) -> Column:
    """Whether any text of the record is `broken`; what is not there is not."""

    def any_of(leaves: Sequence[Column]) -> Column:
        return reduce(or_, (F.coalesce(broken(leaf), F.lit(False)) for leaf in leaves))

    leaves = _leaves(record, shape.texts)
    for name, fields in shape.objects.items():
        leaves += _leaves(record[name], fields)
    found = [any_of(leaves)]
    for name, fields in shape.arrays.items():
        in_any_item = F.exists(record[name], _each(lambda item, names: any_of(_leaves(item, names)), fields))
        found.append(F.coalesce(in_any_item, F.lit(False)))
    return reduce(or_, found)


def _each(of_item: Callable[[Column, Sequence[str]], Column], fields: Sequence[str]) -> Callable[[Column], Column]:
    """A function of an item alone: Spark tells by the number of parameters whether it wants an index too."""
    return lambda item: of_item(item, fields)


def _texts_of(record: Column, shape: JsonShape) -> Column:
    names = [*shape.texts, *shape.objects, *shape.arrays]
    return F.when(record.isNotNull(), F.struct(*(record[name].alias(name) for name in names)))


def _as_texts(record: Column, shape: JsonShape) -> Column:
    def struct(whole: Column, names: Sequence[str]) -> Column:
        return F.struct(*(whole[name].cast("string").alias(name) for name in names))

    parts = [record[name].cast("string").alias(name) for name in shape.texts]
    for name, fields in shape.objects.items():
        parts.append(F.when(record[name].isNotNull(), struct(record[name], fields)).alias(name))
    for name, fields in shape.arrays.items():
        item_texts = _each(lambda item, names: F.when(item.isNotNull(), struct(item, names)), fields)
        parts.append(F.transform(record[name], item_texts).alias(name))
    return F.struct(*parts)


def _unknown_fields(shape: JsonShape) -> Column:
    def surplus(keys: Column, known: Sequence[str], prefix: str) -> Column:
        names = F.array_except(keys, F.array(*map(F.lit, known)))
        told = F.transform(names, lambda name: F.concat(F.lit(prefix), name)) if prefix else names
        return F.coalesce(told, F.array().cast("array<string>"))

    def keys(path: str) -> Column:
        return F.map_keys(F.try_variant_get("variant", path, "map<string,variant>"))

    known = [*shape.texts, *shape.booleans, *shape.objects, *shape.arrays]
    found = [surplus(keys("$[0]"), known, "")]
    found += [surplus(keys(f"$[0].{name}"), fields, f"{name}.") for name, fields in shape.objects.items()]
    for name, fields in shape.arrays.items():
        items = F.try_variant_get("variant", f"$[0].{name}", "array<map<string,variant>>")
        names = F.transform(items, lambda item: F.coalesce(F.map_keys(item), F.array().cast("array<string>")))
        found.append(surplus(F.flatten(names), fields, f"{name}."))
    every = F.array_distinct(F.concat(*found))
    return F.when(F.size(every) > 0, every)


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
    found = [_members(raw, shape, lambda member: _is_no_text(member, raw))]
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
