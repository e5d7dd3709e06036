"""Schema drift as Columns and as names: which members of a record are not what was declared."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.deciding.drift import by_kind, members_given, members_of_other_types
from etl_lib.reading.datasets import DATASETS
from etl_lib.reading.records import ORDER_SHAPE
from etl_lib.reading.strict_json import parse_json
from etl_lib.run.job import DRIFT_MEANINGS, drift_sentences
from etl_lib.settings.config import DriftKind, DriftPolicies, DriftPolicy, OptionalField
from tests.frames import frame

ITEM = {"sku": "s", "qty": 1, "price": 2.5}

MEMBERS: list[tuple[object, list[str], list[str]]] = [
    ({"order_id": 5, "amount": "1", "deleted": True}, ["order_id", "amount"], []),
    ({"order_id": None, "metadata": None, "items": None, "deleted": None}, [], []),
    (
        {"items": [None, ITEM], "metadata": {"promo": 1}},
        ["metadata.promo", "items.sku", "items.qty", "items.price"],
        [],
    ),
    ({"order_id": ["a"], "amount": {}}, ["order_id", "amount"], ["order_id", "amount"]),
    ({"deleted": "true", "metadata": "", "items": ""}, [], ["deleted", "metadata", "items"]),
    ({"deleted": 1, "metadata": [], "items": {"sku": "s"}}, [], ["deleted", "metadata", "items"]),
    ({"metadata": {"source": {}}}, ["metadata.source"], ["metadata.source"]),
    ({"items": [ITEM, {"sku": [1], "qty": None}]}, ["items.sku", "items.qty", "items.price"], ["items.sku"]),
    ({"items": ["s", 1, []]}, [], ["items"]),
    ({"items": [{"qty": {"n": 1}}, "s"]}, ["items.qty"], ["items.qty", "items"]),
    ({"amount": float("1e300")}, ["amount"], []),
]
"""JSON objects with the members that they give a value for, and those of another type."""


def test_members_are_given_or_of_another_type_as_the_strict_parser_sees_it(spark: SparkSession) -> None:
    raws = [json.dumps(record) for record, _, _ in MEMBERS]
    records = frame(spark, "raw STRING, read_error STRING", *((raw, None) for raw in raws))
    looks = {
        "given": members_given(F.col("raw"), ORDER_SHAPE),
        "other": members_of_other_types(F.col("raw"), ORDER_SHAPE),
    }
    rows = parse_json(records, ORDER_SHAPE).withColumns(looks).select("raw", "parse_error", "given", "other").collect()
    assert [(row["raw"], row["given"], row["other"]) for row in rows] == [
        (raw, given, other) for raw, (_, given, other) in zip(raws, MEMBERS, strict=True)
    ]
    # whatever is refused for its type has a name, and nothing else has
    assert [row["parse_error"] for row in rows] == ["wrong_type" if other else None for _, _, other in MEMBERS]


def test_what_is_no_object_has_no_members(spark: SparkSession) -> None:
    records = frame(spark, "raw STRING", *((raw,) for raw in ("[1]", '"x"', "null", "{broken", "")))
    found = records.select(
        members_given(F.col("raw"), ORDER_SHAPE).alias("given"),
        members_of_other_types(F.col("raw"), ORDER_SHAPE).alias("other"),
    )
    assert [tuple(row) for row in found.collect()] == [(None, None)] * 5


def test_an_undeclared_name_is_new_or_in_another_case() -> None:
    unknown = {"note": 3, "Order_ID": 2, "items.SKU": 1, "SKU": 4, "METADATA": 5, "items.sku ": 6}
    assert by_kind("orders", unknown, {"items": 7}, {}) == {
        "new_field": {"SKU": 4, "items.sku ": 6, "note": 3},
        "changed_type": {"items": 7},
        "changed_case": {"METADATA": 5, "Order_ID": 2, "items.SKU": 1},
    }
    assert by_kind("users", {"Email": 1, "age": 2}, {}, {}) == {"new_field": {"age": 2}, "changed_case": {"Email": 1}}


@pytest.mark.parametrize(
    ("policies", "policy", "told"),
    [
        (
            {},
            ["warn"],
            [
                "orders, fields that no table has: a (2), b (1)",
                "users, fields in another case, read in CSV alone: E (1)",
            ],
        ),
        ({}, ["fail"], []),
        ({"new_field": "fail"}, ["fail"], ["orders, fields that no table has: a (2), b (1)"]),
        ({"new_field": "fail", "changed_case": "ignore"}, ["warn"], []),
        (
            {"new_field": "fail", "changed_case": "ignore"},
            ["warn", "fail"],
            ["orders, fields that no table has: a (2), b (1)"],
        ),
    ],
)
def test_drift_is_told_by_its_policy(policies: dict[str, Any], policy: list[DriftPolicy], told: list[str]) -> None:
    found = {"orders": {"new_field": {"a": 2, "b": 1}}, "users": {"changed_case": {"E": 1}}}
    assert drift_sentences(found, DriftPolicies(**policies), *policy) == told


def test_every_kind_has_a_policy_and_a_meaning_and_optional_fields_are_declared() -> None:
    kinds = set(get_args(DriftKind))
    assert kinds == set(DRIFT_MEANINGS)
    assert kinds < set(DriftPolicies.model_fields)
    declared = {name for entry in DATASETS.values() for name in entry.members}
    assert set(get_args(OptionalField)) <= declared
    for entry in DATASETS.values():
        assert set(entry.values) <= entry.members
