"""What a job refuses before it starts Spark: local inputs that do not exist, and secrets that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkConf

from etl_lib.process.errors import ConfigError
from etl_lib.settings.config import Settings
from etl_lib.sources import before_spark
from etl_lib.sources.before_spark import check_before_spark, default_is_local
from jobs import orders, publish, pull, query, value_props

DATASETS = ("orders", "users", "products")
NOT_SET = "the environment variable NO_SUCH_SECRET is not set; set it where the job starts"
API = {"url": "https://api.example.com/orders", "paging": "page", "page_parameter": "page"}
JDBC = {"url": "jdbc:postgresql://db/shop", "user": "u", "orders": {"table": "orders", "items": {"column": "items"}}}
POSTGRES = {"url": "jdbc:postgresql://db/shop", "user": "u", "password": "${NO_SUCH_SECRET}"}


@pytest.fixture(autouse=True)
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """No session, which other tests may have made, and nothing that names a Spark or a Hadoop."""
    for name in list(os.environ):
        if name.startswith(("SPARK_", "HADOOP_", "YARN_", "DATABRICKS_")) or name in {
            "PYSPARK_GATEWAY_PORT",
            "PYSPARK_SUBMIT_ARGS",
            "NO_SUCH_SECRET",
        }:
            monkeypatch.delenv(name)
    monkeypatch.setattr(before_spark.SparkSession, "getActiveSession", lambda: None)


def settings_with(**sections: Any) -> Settings:
    values: dict[str, Any] = {"warehouse": "/w", "output": "/o", "rules": "/r.yaml", "input": {}}
    return Settings.model_validate(values | sections)


def refused(settings: Settings, **needed: Any) -> list[str]:
    """The lines of the refusal; none when nothing is refused."""
    try:
        check_before_spark(settings, **needed)
    except ConfigError as error:
        return str(error).split("\n")
    return []


def test_all_inputs_that_do_not_exist_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "users.csv").touch()
    (tmp_path / "a file").touch()
    inputs = {"orders": f"{tmp_path}/none", "users": f"{tmp_path}/users.csv", "products": f"{tmp_path}/a file/p.csv"}
    assert refused(settings_with(input=inputs), inputs=DATASETS) == [
        f"input.orders: there is no file or folder {tmp_path}/none",
        f"input.products: there is no file or folder {tmp_path}/a file/p.csv",
    ]


def test_only_the_datasets_that_the_job_reads_are_looked_for(tmp_path: Path) -> None:
    settings = settings_with(input={"orders": str(tmp_path), "prints": "/no/prints", "taps": "/no/taps"})
    assert refused(settings, inputs=DATASETS) == []
    assert refused(settings) == []
    assert refused(settings, inputs=("prints", "taps", "pays")) == [
        "input.prints: there is no file or folder /no/prints",
        "input.taps: there is no file or folder /no/taps",
    ]


@pytest.mark.parametrize("start", ["", "file:", "file://"])
def test_a_location_is_a_plain_path_with_or_without_its_scheme(tmp_path: Path, start: str) -> None:
    (tmp_path / "50%25 off").mkdir()
    assert refused(settings_with(input={"orders": f"{start}{tmp_path}/50%25 off"}), inputs=DATASETS) == []
    decoded = f"{start}{tmp_path}/50% off"
    expected = [f"input.orders: there is no file or folder {decoded}"]
    assert refused(settings_with(input={"orders": decoded}), inputs=DATASETS) == expected


@pytest.mark.parametrize(
    "location",
    ["/no/*.json", "/no/a?", "/no/[ab]", "/no/{a,b}", "s3a://no/orders", "hdfs:/no/orders", "dbfs:/no"],
)
def test_what_only_spark_can_look_for_is_left_to_it(location: str) -> None:
    assert refused(settings_with(input={"orders": location}), inputs=DATASETS) == []


def test_what_nobody_may_look_at_is_left_to_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(before_spark.os, "stat", refuse)
    assert refused(settings_with(input={"orders": "/no/orders"}), inputs=DATASETS) == []


def test_what_is_pulled_need_not_have_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_SUCH_SECRET", "a token")
    sources = {"orders": "jdbc", "landing": "/no", "jdbc": JDBC | {"password": "${NO_SUCH_SECRET}"}}
    settings = settings_with(sources=sources, input={"orders": "/no/orders", "users": "/no/users.csv"})
    missing = ["input.users: there is no file or folder /no/users.csv"]
    assert refused(settings, inputs=DATASETS, is_pulling=True) == missing


ELSEWHERE = [
    pytest.param({"SPARK_REMOTE": "sc://spark:15002"}, {}, id="Spark Connect"),
    pytest.param({"SPARK_CONNECT_MODE_ENABLED": "1"}, {}, id="Spark Connect, as spark-submit starts it"),
    pytest.param({"DATABRICKS_RUNTIME_VERSION": "17.3"}, {}, id="Databricks"),
    pytest.param({}, {"spark.remote": "sc://spark:15002"}, id="Spark Connect by a setting"),
]
HADOOP = [
    pytest.param({"HADOOP_CONF_DIR": "/etc/hadoop/conf"}, {}, id="Hadoop"),
    pytest.param({"YARN_CONF_DIR": "/etc/hadoop/conf"}, {}, id="YARN"),
    pytest.param({"SPARK_HOME": "/opt/spark"}, {}, id="a Spark with a configuration of its own"),
    pytest.param({"SPARK_CONF_DIR": "/etc/spark"}, {}, id="a configuration of Spark"),
    pytest.param({"PYSPARK_SUBMIT_ARGS": "--properties-file p pyspark-shell"}, {}, id="options of spark-submit"),
    pytest.param({}, {"spark.hadoop.fs.defaultFS": "hdfs://namenode"}, id="a setting"),
    pytest.param({}, {"spark.hadoop.fs.default.name": "hdfs://namenode"}, id="its old name"),
]


@pytest.mark.parametrize(("environment", "spark"), ELSEWHERE)
def test_of_a_spark_elsewhere_no_location_is_looked_for(
    environment: dict[str, str], spark: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(input={"orders": "/no/orders", "users": "file:/no/users"}, spark=spark)
    assert len(refused(settings_with(input=settings.input.model_dump()), inputs=DATASETS)) == 2
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert refused(settings, inputs=DATASETS) == []


def test_a_session_that_is_there_already_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before_spark.SparkSession, "getActiveSession", lambda: "a session")
    assert refused(settings_with(input={"orders": "file:/no/orders"}), inputs=DATASETS) == []


@pytest.mark.parametrize(("environment", "spark"), HADOOP)
def test_where_another_file_system_may_be_the_default_only_file_is_local(
    environment: dict[str, str], spark: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = settings_with(input={"orders": "/no/orders", "users": "file:/no/users"}, spark=spark)
    assert refused(settings, inputs=DATASETS) == ["input.users: there is no file or folder file:/no/users"]


def test_below_spark_submit_its_own_options_and_files_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = SparkConf(loadDefaults=False)
    monkeypatch.setattr(before_spark, "submitted_options", lambda: options)
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    for name in ("SPARK_HOME", "SPARK_CONF_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert default_is_local(settings_with())
    for folder in (tmp_path / "SPARK_HOME" / "conf", tmp_path / "SPARK_CONF_DIR"):
        folder.mkdir(parents=True)
        (folder / "core-site.xml").touch()
        assert not default_is_local(settings_with())
        (folder / "core-site.xml").unlink()
    options.set("spark.hadoop.fs.defaultFS", "hdfs://namenode")
    assert not default_is_local(settings_with())


@pytest.mark.parametrize(
    ("sources", "unreadable"),
    [
        ({"orders": "api", "api": API | {"token": "${NO_SUCH_SECRET}"}}, ["${NO_SUCH_SECRET}"]),
        (
            {"orders": "api", "api": API | {"username": "secret:file/no/user", "password": "${NO_SUCH_SECRET}"}},
            ["secret:file/no/user", "${NO_SUCH_SECRET}"],
        ),
        ({"orders": "jdbc", "jdbc": JDBC | {"password": "${NO_SUCH_SECRET}"}}, ["${NO_SUCH_SECRET}"]),
        ({"orders": "api", "api": API | {"token": "secret:databricks/scope/key"}}, []),
        ({"orders": "api", "api": API}, []),
        ({"orders": "files", "api": API | {"token": "${NO_SUCH_SECRET}"}}, []),
    ],
    ids=["token", "user and password", "database", "Databricks is asked later", "no secret", "not pulled from"],
)
def test_the_secrets_of_the_source_are_read_when_it_is_pulled_from(
    sources: dict[str, Any], unreadable: list[str]
) -> None:
    settings = settings_with(sources=sources | {"landing": "/no"})
    assert [line.partition(": ")[0] for line in refused(settings, is_pulling=True)] == unreadable
    assert refused(settings, inputs=DATASETS) == []


def test_the_secrets_of_the_sinks_that_are_published_to_are_read() -> None:
    publish_to = {"parquet": {"path": "/p"}, "postgres": POSTGRES}
    settings = settings_with(sinks=["parquet", "postgres"], publish=publish_to)
    assert refused(settings, sinks=("parquet", "postgres")) == [f"${{NO_SUCH_SECRET}}: {NOT_SET}"]
    assert refused(settings, sinks=("parquet",)) == []
    assert refused(settings) == []


def test_inputs_and_secrets_are_told_together_and_a_secret_of_two_places_once() -> None:
    sources = {"orders": "jdbc", "landing": "/no", "jdbc": JDBC | {"password": "${NO_SUCH_SECRET}"}}
    settings = settings_with(
        input={"users": "/no/users.csv"}, sources=sources, sinks=["postgres"], publish={"postgres": POSTGRES}
    )
    assert refused(settings, inputs=DATASETS, is_pulling=True, sinks=("postgres",)) == [
        "input.users: there is no file or folder /no/users.csv",
        f"${{NO_SUCH_SECRET}}: {NOT_SET}",
    ]


def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_SUCH_SECRET", "canary with blanks")
    api = API | {"token": "${NO_SUCH_SECRET}"}
    settings = settings_with(sources={"orders": "api", "landing": "/no", "api": api})
    [told] = refused(settings, is_pulling=True)
    assert "has characters that no bearer token has" in told
    assert "canary" not in told


NO_ORDERS = "input.orders: there is no file or folder /no/orders"
NO_TAPS = "input.taps: there is no file or folder /no/taps"
PLAN = ["--apply", "20240501T000000Z-abcdef"]


def sets(*values: str) -> list[str]:
    return [f"--set={value}" for value in values]


FROM_NOWHERE = sets("input.orders=/no/orders")
FROM_API = sets(
    *("sources.orders=api", "sources.api.url=https://h/o", "sources.api.paging=page"),
    *("sources.api.page_parameter=p", "sources.api.token=${NO_SUCH_SECRET}"),
)
TO_POSTGRES = sets(
    *("sinks=[parquet, postgres]", "publish.parquet.path=/no/p", "publish.postgres.url=jdbc:postgresql://h/d"),
    *("publish.postgres.user=u", "publish.postgres.password=${NO_SUCH_SECRET}"),
)


class ReachedSparkError(BaseException):
    """A job got as far as its session; no job catches it."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a job with empty folders, which ends where it would open its session."""

    def reached(*_: object) -> None:
        raise ReachedSparkError

    monkeypatch.setattr("etl_lib.run.run.open_session", reached)
    monkeypatch.setattr("etl_lib.commands.query.open_session", reached)
    return sets(f"warehouse={tmp_path}/w", f"output={tmp_path}/o", f"sources.landing={tmp_path}/l")


@pytest.mark.parametrize(
    ("job", "options", "told"),
    [
        pytest.param(orders, FROM_NOWHERE, NO_ORDERS, id="orders"),
        pytest.param(orders, [*FROM_NOWHERE, "--plan", "--since", "2024-05-01"], NO_ORDERS, id="orders, to be planned"),
        pytest.param(orders, FROM_API, NOT_SET, id="orders from an API"),
        pytest.param(orders, TO_POSTGRES, NOT_SET, id="orders to a sink"),
        pytest.param(orders, [*TO_POSTGRES, *PLAN], NOT_SET, id="a plan to a sink"),
        pytest.param(value_props, sets("input.taps=/no/taps"), NO_TAPS, id="value_props"),
        pytest.param(pull, FROM_API, NOT_SET, id="pull"),
        pytest.param(publish, TO_POSTGRES, NOT_SET, id="publish"),
        pytest.param(publish, [*TO_POSTGRES, "--sink", "postgres"], NOT_SET, id="publish to one sink"),
        pytest.param(query, ["/no/query.sql"], "/no/query.sql: ", id="query"),
    ],
)
def test_a_job_is_refused_before_it_makes_anything(
    job: Any, options: list[str], told: str, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.main([*options, *places]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("job", "options"),
    [
        pytest.param(orders, [*FROM_NOWHERE, *PLAN], id="a plan has read its files"),
        pytest.param(orders, [*FROM_API, *PLAN], id="a plan has been pulled"),
        pytest.param(publish, [*TO_POSTGRES, "--sink", "parquet"], id="another sink"),
        pytest.param(value_props, TO_POSTGRES, id="value_props has no sinks"),
    ],
)
def test_a_job_is_not_refused_for_what_it_does_not_need(job: Any, options: list[str], places: list[str]) -> None:
    with pytest.raises(ReachedSparkError):
        job.main([*options, *places])
