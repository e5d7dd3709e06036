"""Strict JSON: an object of the declared fields, as text and exactly as written, or the reason why not.

The parser is Python's, told to keep numbers as they are written and to refuse what RFC 8259 does not have: `NaN`, equal
keys, anything but white space around the one value. Spark's own are not strict: `from_json` overlooks what follows a
value, takes the last of two equal keys and copies numbers through a double. It runs where the records are, on thousands
of them at a time; what is asked of each record is asked of all at once first, as nearly all pass.
"""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from etl_lib.reading.plain_json import plain_texts

# Executors need not have this package: what runs there travels with the query.
register_pickle_by_value(sys.modules[__name__])

_AT_ONCE = 512
"""Records: so many fit into a processor's cache as objects of Python."""
TOO_DEEP = 1000
"""So many objects and arrays in each other are refused."""
_SURELY_SHALLOW = 500
"""So few brackets need no look at how they are nested, nor a higher limit of Python's."""

# For a text whose escaped backslashes are out of the way: every backslash left begins an escape.
_NUL = re.compile(r"\\u0000")
_HIGH, _LOW = (rf"\\u[dD][{digits}][0-9a-fA-F]{{2}}" for digits in ("89abAB", "c-fC-F"))
_LONE_SURROGATE = re.compile(rf"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")
_TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")

_NONE = type(None)
_TEXTS: set[type] = {str, bool, _NONE}
_BOOLEANS: set[type] = {bool, _NONE}
_OBJECTS: set[type] = {dict, _NONE}
_ARRAYS: set[type] = {list, _NONE}

Decode = Callable[[str], Any]
Objects = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class JsonShape:
    """What a record looks like: its text and boolean fields, its objects of texts and its arrays of such objects."""

    texts: Sequence[str]
    booleans: Sequence[str]
    objects: Mapping[str, Sequence[str]]
    arrays: Mapping[str, Sequence[str]]

    @property
    def leaves(self) -> list[str]:
        """The dotted names of all texts."""
        nested = {**self.objects, **self.arrays}
        return [*self.texts, *(f"{name}.{leaf}" for name, fields in nested.items() for leaf in fields)]

    @property
    def columns(self) -> StructType:
        """What `parse_json` adds."""

        def fields(names: Sequence[str], kind: str) -> list[str]:
            return [f"`{name}`: {kind}" for name in names]

        def struct(parts: Sequence[str]) -> str:
            return f"STRUCT<{', '.join(parts)}>"

        texts = fields(self.texts, "STRING")
        texts += [f"`{name}`: {struct(fields(inner, 'STRING'))}" for name, inner in self.objects.items()]
        texts += [f"`{name}`: ARRAY<{struct(fields(inner, 'STRING'))}>" for name, inner in self.arrays.items()]
        booleans = f"booleans {struct(fields(self.booleans, 'BOOLEAN'))}, " if self.booleans else ""
        ddl = f"parse_error STRING, texts {struct(texts)}, {booleans}unknown_fields ARRAY<STRING>"
        return cast("StructType", StructType.fromDDL(ddl))


def parse_json(records: DataFrame, shape: JsonShape, plain: Sequence[str] = ()) -> DataFrame:
    """Add what each `raw` says: `texts` (the shape with STRING leaves), `booleans` (of a shape that has any),
    `parse_error`, `unknown_fields`.

    `parse_error` is NULL or the first that applies of: the record's `read_error`, `not_utf8`, `malformed_json`,
    `nul_in_text`, `lone_surrogate`, `not_an_object`, `wrong_type`; with one, `texts` and `booleans` are empty.
    `unknown_fields` has the dotted names of members that the shape does not have, NULL where there are none.
    A record that is written in the plain form of the members `plain`, which are all texts, is not parsed here: the two
    say the same of it.
    """

    def parse(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with _no_search_for_cycles():
            for batch in batches:
                for at in range(0, batch.num_rows, _AT_ONCE):
                    some = batch.slice(at, _AT_ONCE)
                    yield parse_rest(some, shape) if plain else parse_batch(some, shape)

    # As bytes, since in texts of Arrow what is not UTF-8 could not be looked at.
    columns = {"raw": F.col("raw").cast("binary")}
    if plain:
        columns["plain"] = F.when(F.col("read_error").isNull(), plain_texts(F.col("raw"), plain))
    binary = records.drop(*shape.columns.names).withColumns(columns)
    parsed = binary.mapInArrow(parse, StructType([*binary.schema, *shape.columns]))
    parsed = parsed.withColumn("raw", F.col("raw").cast("string"))
    if not plain:
        return parsed
    texts = F.when(F.col("plain").isNotNull(), _plain_struct(shape, plain)).otherwise(F.col("texts"))
    return parsed.withColumn("texts", texts).drop("plain")


def _plain_struct(shape: JsonShape, plain: Sequence[str]) -> Column:
    """The texts of a plain record, which stand behind an empty one, as the `texts` of the shape."""
    text = {name: F.get("plain", F.lit(at)) for at, name in enumerate(plain, 1)}
    objects = {
        name: F.struct(*(text[f"{name}.{leaf}"].alias(leaf) for leaf in leaves))
        for name, leaves in shape.objects.items()
    }
    columns = {name: text[name] for name in shape.texts} | objects
    return F.struct(*(column.alias(name) for name, column in columns.items()))


def parse_rest(batch: pa.RecordBatch, shape: JsonShape) -> pa.RecordBatch:
    """What `parse_batch` adds where `plain` is NULL; NULL where it is not."""
    is_rest = batch.column("plain").is_null()
    rest = parse_batch(batch.filter(is_rest), shape)
    places = pc.subtract(pc.cumulative_sum(is_rest.cast(pa.int32())), 1)
    at = pc.if_else(is_rest, places, pa.scalar(None, pa.int32()))
    added = [name for name in rest.schema.names if name not in batch.schema.names]
    columns = [*batch.columns, *(rest.column(name).take(at) for name in added)]
    return pa.RecordBatch.from_arrays(columns, [*batch.schema.names, *added])


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """What JSON gives has no cycles, and looking for them takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parse_batch(batch: pa.RecordBatch, shape: JsonShape) -> pa.RecordBatch:
    """What `parse_json` adds, to a batch of Arrow with `raw` as bytes and `read_error`."""
    decode = strict_decoder()
    errors, objects = [], []
    for raw, read_error in zip(batch.column("raw").to_pylist(), batch.column("read_error").to_pylist(), strict=True):
        error, found = (read_error, {}) if read_error else read_object(raw, decode)
        errors.append(error)
        objects.append(found)
    unknown = _unknown_fields(objects, shape)
    values = _values(objects, shape)
    if values is None:
        for at, one in enumerate(objects):
            if _values([one], shape) is None:
                errors[at], objects[at] = "wrong_type", {}
        values = _values(objects, shape)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns["parse_error"] = pa.array(errors, pa.string())
    columns |= _columns(values or {}, shape)
    columns["unknown_fields"] = pa.array(unknown, pa.list_(pa.string()))
    return pa.RecordBatch.from_pydict(columns)


def strict_decoder() -> Decode:
    """From a text that is one JSON value to that value, its numbers as texts; ValueError for any other."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.JSONDecoder(object_pairs_hook=unique, parse_int=str, parse_float=str, parse_constant=refuse).decode


def read_object(raw: bytes | None, decode: Decode) -> tuple[str | None, dict[str, Any]]:
    """The rule that a record breaks, with nothing; or None, with the members of the object that it is."""
    try:
        text = (raw or b"").decode().removeprefix("\ufeff")  # a byte order mark, where files were joined
    except UnicodeDecodeError:
        return "not_utf8", {}
    try:
        found = decode(text) if text.count("[") + text.count("{") < _SURELY_SHALLOW else _decode_deep(text, decode)
    except (ValueError, RecursionError):
        return "malformed_json", {}
    if "\\u" in text:
        escapes = text.replace("\\\\", "-")
        if _NUL.search(escapes):
            return "nul_in_text", {}
        if _LONE_SURROGATE.search(escapes):
            return "lone_surrogate", {}
    return (None, found) if type(found) is dict else ("not_an_object", {})


def _decode_deep(text: str, decode: Decode) -> Any:
    steps = (1 if bracket in "[{" else -1 for bracket in _BRACKET.findall(_TEXT.sub("", text)))
    if max(accumulate(steps), default=0) >= TOO_DEEP:
        raise ValueError("nested too deeply")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + TOO_DEEP)
    try:
        return decode(text)
    finally:
        sys.setrecursionlimit(limit)


def _member(objects: Iterable[Any], name: str) -> list[Any]:
    return [one.get(name) if one else None for one in objects]


def _values(objects: Objects, shape: JsonShape) -> dict[str, list[Any]] | None:
    """The values of the shape's members by their dotted names; None when any is not what it is declared to be."""
    found: dict[str, list[Any]] = {}

    def are(allowed: set[type], name: str, values: list[Any]) -> bool:
        kinds = set(map(type, values))
        if bool in kinds and allowed is _TEXTS:
            values = [str(value).lower() if type(value) is bool else value for value in values]
        found[name] = values
        return kinds <= allowed

    def all_are(allowed: set[type], names: Iterable[str], of: Sequence[Any], prefix: str = "") -> bool:
        return all(are(allowed, f"{prefix}{name}", _member(of, name)) for name in names)

    of_shape = (
        all_are(_TEXTS, shape.texts, objects)
        and all_are(_BOOLEANS, shape.booleans, objects)
        and all_are(_OBJECTS, shape.objects, objects)
        and all_are(_ARRAYS, shape.arrays, objects)
        and all(all_are(_TEXTS, names, found[name], f"{name}.") for name, names in shape.objects.items())
        and all(
            are(_OBJECTS, f"{name}[]", elements := list(chain.from_iterable(filter(None, found[name]))))
            and all_are(_TEXTS, names, elements, f"{name}.")
            for name, names in shape.arrays.items()
        )
    )
    return found if of_shape else None


def _columns(values: Mapping[str, list[Any]], shape: JsonShape) -> dict[str, pa.Array]:
    """`texts` and, of a shape that has any, `booleans` of the values."""

    def struct(names: Iterable[str], prefix: str = "", parents: Sequence[Any] | None = None) -> pa.StructArray:
        leaves = [pa.array(values[f"{prefix}{name}"], pa.string()) for name in names]
        absent = None if parents is None else pa.array([parent is None for parent in parents], pa.bool_())
        return pa.StructArray.from_arrays(leaves, list(names), mask=absent)

    def array(name: str, fields: Sequence[str]) -> pa.ListArray:
        lengths = (len(elements or ()) for elements in values[name])
        # An absent place is an absent array.
        ends = accumulate(lengths, initial=0)
        places = [None if one is None else end for one, end in zip([*values[name], ()], ends, strict=True)]
        return pa.ListArray.from_arrays(pa.array(places, pa.int32()), struct(fields, f"{name}.", values[f"{name}[]"]))

    parts = {name: pa.array(values[name], pa.string()) for name in shape.texts}
    parts |= {name: struct(fields, f"{name}.", values[name]) for name, fields in shape.objects.items()}
    parts |= {name: array(name, fields) for name, fields in shape.arrays.items()}
    flags = [pa.array(values[name], pa.bool_()) for name in shape.booleans]
    columns = {"texts": pa.StructArray.from_arrays(list(parts.values()), list(parts))}
    if flags:  # a struct without fields would have no length either
        columns["booleans"] = pa.StructArray.from_arrays(flags, list(shape.booleans))
    return columns


def _unknown_fields(objects: Objects, shape: JsonShape) -> list[list[str] | None]:
    """The dotted names of the members of each object that the shape does not have; None where there are none."""
    if not _unknown(objects, shape):
        return [None] * len(objects)
    return [sorted(_unknown([one], shape)) or None for one in objects]


def _unknown(objects: Objects, shape: JsonShape) -> set[str]:
    def beyond(known: Iterable[str], values: Iterable[Any], prefix: str = "") -> set[str]:
        names = set().union(*(value for value in values if type(value) is dict))
        return {f"{prefix}{name}" for name in names.difference(known)}

    found = beyond({*shape.texts, *shape.booleans, *shape.objects, *shape.arrays}, objects)
    for name, fields in shape.objects.items():
        found |= beyond(fields, _member(objects, name), f"{name}.")
    for name, fields in shape.arrays.items():
        arrays = (value for value in _member(objects, name) if type(value) is list)
        found |= beyond(fields, chain.from_iterable(arrays), f"{name}.")
    return found
