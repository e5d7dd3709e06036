"""The session: settings that results depend on are put in force, or reported where that is not allowed."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from etl_lib.process.session import NEEDED, open_session, settings_not_in_force, temporary_settings
from etl_lib.process.tuning import INTERPRETED
from etl_lib.tables.counting import LEFT_OUT, every_branch_observed


class FixedSettings:
    """The settings of a session that refuses to change some of them, and to tell some at all."""

    def __init__(self, values: dict[str, str], refused: set[str], hidden: Collection[str]) -> None:
        self.values = values
        self.refused = refused
        self.hidden = hidden

    def get(self, name: str, default: str | None) -> str | None:
        if name in self.hidden:
            raise AnalysisException(f"[CONFIG_NOT_AVAILABLE] Configuration {name} is not available.")
        return self.values.get(name, default)

    def set(self, name: str, value: str) -> None:
        if name in self.refused:
            raise AnalysisException(f"cannot modify {name}")
        self.values[name] = value

    def unset(self, name: str) -> None:
        del self.values[name]


class FixedSession:
    """As much of a session as its settings."""

    def __init__(self, values: dict[str, str], refused: set[str], hidden: Collection[str] = ()) -> None:
        self.conf = FixedSettings(values, refused, hidden)


def test_what_is_not_in_force_is_put_in_force(spark: SparkSession) -> None:
    before = {name: spark.conf.get(name) for name in NEEDED}
    assert before == NEEDED
    wrong = {
        "spark.sql.session.timeZone": "America/New_York",
        "spark.sql.ansi.enabled": "false",
        "spark.sql.variant.allowDuplicateKeys": "true",
        "spark.sql.datetime.java8API.enabled": "false",
        "spark.sql.parquet.outputTimestampType": "INT96",
    }
    assert wrong.keys() == NEEDED.keys()
    try:
        for name, value in wrong.items():
            spark.conf.set(name, value)
        assert settings_not_in_force(spark) == {}
        assert {name: spark.conf.get(name) for name in NEEDED} == NEEDED
    finally:
        for name, value in NEEDED.items():
            spark.conf.set(name, value)


@pytest.mark.parametrize(
    ("values", "refused", "reported"),
    [
        pytest.param(dict(NEEDED), set(NEEDED), {}, id="in force and fixed"),
        pytest.param({}, set(), {}, id="unset and free"),
        pytest.param(
            {**NEEDED, "spark.sql.ansi.enabled": "false"},
            {"spark.sql.ansi.enabled"},
            {"spark.sql.ansi.enabled": "false"},
            id="another value and fixed",
        ),
        pytest.param({}, set(NEEDED), dict.fromkeys(NEEDED), id="unset and fixed"),
    ],
)
def test_what_cannot_be_put_in_force_is_reported_with_what_is_there(
    values: dict[str, str], refused: set[str], reported: dict[str, str | None]
) -> None:
    session = FixedSession(values, refused)
    assert settings_not_in_force(session) == reported  # type: ignore[arg-type]
    free = NEEDED.keys() - refused
    assert {name: session.conf.values[name] for name in free} == {name: NEEDED[name] for name in free}


@pytest.mark.parametrize(
    "refused", [set(), {"spark.sql.adaptive.enabled"}, set(INTERPRETED)], ids=["free", "one", "all"]
)
def test_settings_are_in_force_for_as_long_as_they_are_needed(refused: set[str]) -> None:
    of_the_user = {"spark.sql.adaptive.enabled": "true", "spark.sql.codegen.factoryMode": "FALLBACK", "other": "x"}
    session = FixedSession(dict(of_the_user), refused)
    kept = {name: value for name, value in of_the_user.items() if name in refused or name not in INTERPRETED}
    interpreted = {name: value for name, value in INTERPRETED.items() if name not in refused}
    with temporary_settings(session, INTERPRETED):  # type: ignore[arg-type]
        assert session.conf.values == {**kept, **interpreted}
    assert session.conf.values == of_the_user


def test_a_session_that_does_not_even_tell_its_settings_stays_as_it_is() -> None:
    """As on Databricks' serverless compute."""
    names = {*NEEDED, *INTERPRETED, LEFT_OUT}
    session = cast("SparkSession", FixedSession({}, names, names))
    assert settings_not_in_force(session) == dict.fromkeys(NEEDED)
    with temporary_settings(session, INTERPRETED), every_branch_observed(session):
        assert session.conf.values == {}  # type: ignore[attr-defined]


def test_spark_takes_the_settings_for_few_data(spark: SparkSession) -> None:
    before = {name: spark.conf.get(name) for name in INTERPRETED}
    try:
        for name in INTERPRETED:
            spark.conf.unset(name)
        usual = {name: spark.conf.get(name) for name in INTERPRETED}
        with temporary_settings(spark, INTERPRETED):
            assert {name: spark.conf.get(name) for name in INTERPRETED} == INTERPRETED
        assert {name: spark.conf.get(name) for name in INTERPRETED} == usual
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def test_the_active_session_is_used_and_keeps_its_own_settings(spark: SparkSession) -> None:
    setting = "spark.sql.files.maxPartitionBytes"
    before = spark.conf.get(setting)
    assert open_session({setting: "1234567", "spark.app.name": "another"}) is spark
    assert spark.conf.get(setting) == before != "1234567"


def test_a_session_that_is_built_here_has_delta(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.extensions") == "io.delta.sql.DeltaSparkSessionExtension"
    assert spark.conf.get("spark.sql.catalog.spark_catalog") == "org.apache.spark.sql.delta.catalog.DeltaCatalog"
