"""The rules of the configuration: thresholds, and what Spark says of a check before any record is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession

from etl_lib.deciding.judge import check_rules
from etl_lib.process.errors import ConfigError
from etl_lib.reading.datasets import DATASETS
from etl_lib.settings.config import Inputs, Settings
from etl_lib.settings.rules import Rule, RuleBook, Threshold
from etl_lib.tables.schemas import Table

SETTINGS = Settings(warehouse="/w", output="/o", rules="/r", input=Inputs())


def rules(**checks: str) -> dict[str, Rule]:
    return {name: Rule(severity="warn", check=check, message="") for name, check in checks.items()}


@pytest.mark.parametrize(
    ("about", "problem"),
    [
        pytest.param({"severity": "reject", "threshold": {"count": 1}}, "never depends on the others", id="on reject"),
        pytest.param({"severity": "warn", "threshold": {}}, "give either share or count", id="neither"),
        pytest.param(
            {"severity": "fail", "threshold": {"share": 0.1, "count": 1}}, "give either share or count", id="both"
        ),
        pytest.param({"severity": "fail", "threshold": {"share": 1.1}}, "less than or equal to 1", id="no share"),
        pytest.param({"severity": "fail", "threshold": {"count": -1}}, "greater than or equal to 0", id="no count"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(about: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Rule(check="true", message="", **about)


def test_a_threshold_allows_what_it_names() -> None:
    assert [Threshold(share=0.1).is_exceeded(failed, 20) for failed in (2, 3)] == [False, True]
    assert [Threshold(count=2).is_exceeded(failed, 20) for failed in (2, 3)] == [False, True]
    assert [Threshold(share=0).is_exceeded(failed, 0) for failed in (0, 1)] == [False, True]


def test_records_that_break_a_rule_with_a_threshold_are_kept() -> None:
    about: dict[str, Any] = {"check": "true", "message": ""}
    refusing = [
        Rule(severity=severity, threshold=threshold, **about).is_refusing
        for severity, threshold in (("warn", None), ("reject", None), ("fail", None), ("fail", Threshold(count=0)))
    ]
    assert refusing == [False, True, True, False]


def test_every_rule_that_cannot_be_asked_is_named_before_anything_is_read(spark: SparkSession) -> None:
    book = RuleBook(
        orders=rules(
            good="amount > 0", gone="amuont > 0", open="coalesce(amount", number="amount", summed="sum(amount) > 0"
        ),
        users=rules(item="items IS NULL"),
        pays=rules(not_asked="nothing > 0"),
    )
    with pytest.raises(ConfigError) as refused:
        check_rules(spark, book, ("orders", "users", "products"))
    head, *problems = str(refused.value).splitlines()
    assert head == "rules that cannot be asked:"
    assert [problem.strip().partition(":")[0] for problem in problems] == [
        "orders.gone.check",
        "orders.open.check",
        "orders.number.check",
        "orders.summed.check",
        "users.item.check",
    ]
    assert "`amuont`" in problems[0]
    assert problems[2].strip() == "orders.number.check: it is decimal(18,4), and not true or false"
    check_rules(spark, RuleBook(orders=rules(good="amount > 0", never="NULL")), DATASETS)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_columns_that_rules_may_speak_of_are_those_of_a_parsed_record(spark: SparkSession, dataset: str) -> None:
    entry = DATASETS[dataset]
    parsed = entry.parse(entry.read(spark, [], {}, SETTINGS), SETTINGS)
    declared = Table("parsed", "", entry.parsed, ()).schema
    assert dict(parsed.dtypes) == {field.name: field.dataType.simpleString() for field in declared}
