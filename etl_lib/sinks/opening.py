"""The sinks that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import SparkSession

from etl_lib.process.errors import ConfigError
from etl_lib.process.secrets import reveal
from etl_lib.settings.config import Settings
from etl_lib.settings.sink_settings import SinkName, SinkSettings
from etl_lib.sinks.changes import Sink


def chosen_sinks(settings: Settings, names: Sequence[str]) -> list[SinkName]:
    """The configured sinks, or those of them that are named; ConfigError for another name, or when there are none."""
    configured = settings.sinks
    if not configured:
        raise ConfigError("sinks: none is configured; name some of parquet, postgres and redshift")
    if unknown := [name for name in names if name not in configured]:
        raise ConfigError(f"--sink {unknown[0]}: not among the configured sinks ({', '.join(configured)})")
    return [name for name in configured if not names or name in names]


def open_sinks(spark: SparkSession, settings: Settings, names: Sequence[SinkName]) -> list[Sink]:
    """These sinks; nothing is asked of them yet. ConfigError, or SecretError, for what can be told before that."""
    return [_open(spark, settings.publish, name) for name in names]


def _open(spark: SparkSession, settings: SinkSettings, name: str) -> Sink:
    """A sink; its module is imported only here, as each has needs of its own."""
    if name == "parquet" and settings.parquet is not None:
        from etl_lib.sinks.parquet.sink import ParquetSink  # noqa: PLC0415

        return ParquetSink(settings.parquet)
    if name == "postgres" and settings.postgres is not None:
        from etl_lib.sinks.sql.postgres_sink import PostgresSink  # noqa: PLC0415

        return PostgresSink(spark, settings.postgres, reveal)
    if name == "redshift" and settings.redshift is not None:
        from etl_lib.sinks.sql.redshift_sink import RedshiftSink  # noqa: PLC0415

        return RedshiftSink(settings.redshift)
    raise ConfigError(f"publish.{name}: missing")
