"""The Spark session: built here on a laptop, found ready on a cluster, or remote through Spark Connect."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from pyspark.conf import SparkConf
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

log = structlog.get_logger(__name__)

TESTED_SPARK = ("4.0.", "4.1.", "4.2.")

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
"""Static settings without which Delta tables cannot be merged into; a cluster brings them itself."""

NEEDED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.variant.allowDuplicateKeys": "false",
    "spark.sql.datetime.java8API.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
"""Settings of the session that results depend on: times are UTC, bad casts fail, duplicate keys of a variant are
refused, the dates of a replacement go through `LocalDate`, as `java.sql.Date` lacks the days that Java's own zone left
out, and files have times in microseconds: Spark's own INT96 is nanoseconds to many readers, which bend what is later
than 2262."""


def open_session(spark_settings: Mapping[str, str]) -> SparkSession:
    """The active session if there is one, else one that is built with `spark_settings`.

    Whatever spark-submit or the cluster has set stays as it is. What the results depend on is then put in force where
    the session allows it, and reported where it does not.
    """
    spark = SparkSession.getActiveSession() or _build(spark_settings)
    for name, value in settings_not_in_force(spark).items():
        log.warning("setting not in force", setting=name, needed=NEEDED[name], found=value)
    if not spark.version.startswith(TESTED_SPARK):
        log.warning(
            "untested Spark version", found=spark.version, tested=", ".join(f"{version}x" for version in TESTED_SPARK)
        )
    return spark


def _build(spark_settings: Mapping[str, str]) -> SparkSession:
    builder = SparkSession.builder.appName("orders-lakehouse")
    if "SPARK_REMOTE" not in os.environ:
        submitted = submitted_options()
        # Spark's own bar would run over the lines of others.
        own = {"spark.master": "local[*]", "spark.ui.showConsoleProgress": "false"}
        for name, value in {**own, **DELTA, **spark_settings}.items():
            if not submitted.contains(name):
                builder = builder.config(name, value)
    return builder.getOrCreate()


def submitted_options() -> SparkConf:
    """The options of the spark-submit that started this job, if one did: until it is met, SparkConf knows none of them.

    Where there is none, the builder starts Java itself, with the memory and the options of the settings.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        from pyspark.core.context import SparkContext  # noqa: PLC0415 - a client of Spark Connect has none

        SparkContext._ensure_initialized()
    return SparkConf()


@contextmanager
def temporary_settings(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Put settings in force where the session allows it, and what was there before at the end."""
    before = {name: setting(spark, name) for name in settings}
    refused = settings_not_in_force(spark, settings)
    try:
        yield
    finally:
        for name in settings.keys() - refused.keys():
            if (value := before[name]) is None:
                spark.conf.unset(name)  # back to Spark's own
            else:
                spark.conf.set(name, value)


def settings_not_in_force(spark: SparkSession, wanted: Mapping[str, str] = NEEDED) -> dict[str, str | None]:
    """Put settings in force in this session; what it refuses comes back with the value that it has instead."""
    refused: dict[str, str | None] = {}
    for name, value in wanted.items():
        if setting(spark, name) == value:
            continue
        try:
            spark.conf.set(name, value)
        except PySparkException:
            refused[name] = setting(spark, name)
    return refused


def setting(spark: SparkSession, name: str) -> str | None:
    """A setting's value in this session; None where it has none, or where it may not even be asked for.

    Databricks' serverless compute answers a question for most of them with an error (CONFIG_NOT_AVAILABLE).
    """
    try:
        return spark.conf.get(name, None)
    except PySparkException:
        return None
