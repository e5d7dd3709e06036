"""A run as events of OpenLineage: START, and COMPLETE or FAIL, with what it read and which tables it wrote.

The events go to a file of JSON lines, or by HTTP to whoever collects lineage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from etl_lib import RELEASE
from etl_lib.process.lock import local_folder
from etl_lib.process.secrets import reveal
from etl_lib.run.job import Job
from etl_lib.run.metric_parts import DatasetProfile, FieldProfile
from etl_lib.run.metrics import Metrics
from etl_lib.settings.config import Settings
from etl_lib.settings.telling_settings import LineageSettings
from etl_lib.tables.holds import PASSED
from etl_lib.tables.ledger import DONE
from etl_lib.tables.schemas import VALUE_PROP_FEATURES, Table
from etl_lib.telling.machines.lineage_columns import COLUMNS, Origin

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent

PRODUCER = f"https://pypi.org/project/orders-lakehouse/{RELEASE}"
READ_BY = {
    "orders": ("orders", "users", "products"),
    "value_props": ("prints", "taps", "pays"),
}
"""The datasets that a job reads from landing files."""


_BETWEEN_COLUMNS = re.compile(r",(?![^(]*\))(?![^<]*>)")
"""A comma outside of all brackets."""


@dataclass(frozen=True)
class Lineage:
    """Sends the events of a run."""

    settings: Settings
    lineage: LineageSettings
    job: Job

    def begin(self, metrics: Metrics) -> None:
        """Send START."""
        self._send(Events(self.settings, self.lineage, self.job).start(metrics))

    def tell(self, metrics: Metrics) -> None:
        """Send COMPLETE or FAIL; a run that was refused has never begun."""
        if not metrics.is_refused:
            self._send(Events(self.settings, self.lineage, self.job).end(metrics))

    def _send(self, event: RunEvent) -> None:
        from openlineage.client.serde import Serde  # noqa: PLC0415 - an extra
        from openlineage.client.transport.http import (  # noqa: PLC0415 - of the same extra
            ApiKeyTokenProvider,
            HttpConfig,
            HttpTransport,
            TokenProvider,
        )

        if self.lineage.file is not None:
            path = Path(self.lineage.file.removeprefix("file:"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as lines:
                lines.write(Serde.to_json(event) + "\n")
        if self.lineage.url is not None:
            key = self.lineage.api_key
            auth = TokenProvider({}) if key is None else ApiKeyTokenProvider({"apiKey": reveal(key)})
            parts = urlsplit(self.lineage.url)
            config = HttpConfig(
                url=f"{parts.scheme}://{parts.netloc}",
                endpoint=parts.path.lstrip("/"),
                timeout=self.lineage.timeout_s,
                auth=auth,
                retry={"total": 1, "backoff_factor": 0.2},
            )
            HttpTransport(config).emit(event)


@dataclass(frozen=True)
class Events:
    """Makes the events of one run."""

    settings: Settings
    lineage: LineageSettings
    job: Job

    def start(self, metrics: Metrics) -> RunEvent:
        """What the run is about to read and to write."""
        return self._event("START", metrics, metrics.started_at)

    def end(self, metrics: Metrics) -> RunEvent:
        """What it has read and written; a failed or stopped run says why."""
        kind = "COMPLETE" if metrics.status == DONE else "FAIL"
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return self._event(kind, metrics, now)

    def _event(self, kind: str, metrics: Metrics, at: str) -> RunEvent:
        from openlineage.client import event_v2, facet_v2  # noqa: PLC0415 - an extra

        facets: dict[str, Any] = {
            "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet(
                version=RELEASE, name="orders-lakehouse", producer=PRODUCER
            )
        }
        if kind == "FAIL":
            facets["errorMessage"] = facet_v2.error_message_run.ErrorMessageRunFacet(
                message=metrics.message or metrics.status, programmingLanguage="PYTHON", producer=PRODUCER
            )
        about = facet_v2.job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="SPARK", jobType="JOB", producer=PRODUCER
        )
        return event_v2.RunEvent(
            eventType=event_v2.RunState[kind],
            eventTime=at,
            run=event_v2.Run(run_uuid(metrics.run_id), facets),
            job=event_v2.Job(self.lineage.namespace, metrics.job, {"jobType": about}),
            producer=PRODUCER,
            inputs=list(self._inputs(metrics)),
            outputs=list(self._outputs(metrics)),
        )

    def _inputs(self, metrics: Metrics) -> Iterator[InputDataset]:
        from openlineage.client import event_v2, facet_v2  # noqa: PLC0415 - an extra

        counted = metrics.batch.datasets if metrics.batch else {}
        for name in READ_BY.get(metrics.job, ()):
            location = self.settings.landing_files(name)
            if location is None or (metrics.batch and name not in counted):
                continue
            facets: dict[str, Any] = {}
            if name in counted:
                facet = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet
                facets["inputStatistics"] = facet(rowCount=counted[name].records, producer=PRODUCER)
            if checks := _checks(metrics, name):
                facets["dataQualityAssertions"] = checks
            if profile := (metrics.profile or {}).get(name):
                facets["dataQualityMetrics"] = _quality(profile)
            yield event_v2.InputDataset(*dataset_name(location), inputFacets=facets)

    def _outputs(self, metrics: Metrics) -> Iterator[OutputDataset]:
        from openlineage.client import event_v2, facet_v2  # noqa: PLC0415 - an extra

        changed = {
            name: table.version_after
            for name, table in (metrics.tables or {}).items()
            if table.version_after != table.version_before
        }
        if metrics.features:
            changed = dict(metrics.features.versions)
        for table in self.job.tables:
            if table.name not in COLUMNS or (metrics.status == DONE and table.name not in changed):
                continue
            facets: dict[str, Any] = {
                "schema": _schema(table),
                "columnLineage": facet_v2.column_lineage_dataset.ColumnLineageDatasetFacet(
                    {column: self._fields(origin) for column, origin in COLUMNS[table.name].items()}, producer=PRODUCER
                ),
            }
            if table.name in changed:
                facets["version"] = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(
                    str(changed[table.name]), producer=PRODUCER
                )
            outputs = {"outputStatistics": statistics} if (statistics := _written(metrics, table.name)) else {}
            yield event_v2.OutputDataset(*self._table(table.name), facets=facets, outputFacets=outputs)

    def _fields(self, origin: Origin) -> Any:
        from openlineage.client import facet_v2  # noqa: PLC0415 - an extra

        lineage = facet_v2.column_lineage_dataset
        how = [lineage.Transformation("DIRECT", origin.subtype)]
        sources = [field.partition(".") for field in origin.fields]
        return lineage.Fields(
            [lineage.InputField(*self._source(source), field, list(how)) for source, _, field in sources]
        )

    def _source(self, name: str) -> tuple[str, str]:
        """Where a dataset of the input, or a table, is."""
        if name in COLUMNS:
            return self._table(name)
        return dataset_name(self.settings.landing_files(name) or name)

    def _table(self, name: str) -> tuple[str, str]:
        warehouse = self.settings.warehouse.rstrip("/")
        if warehouse.startswith("catalog:"):
            return self.lineage.namespace, f"{warehouse.removeprefix('catalog:')}.{name}"
        return dataset_name(f"{warehouse}/{name}")


def run_uuid(run_id: str) -> str:
    """The id of a run as OpenLineage wants it, the same each time."""
    return str(uuid5(NAMESPACE_URL, f"{PRODUCER}/{run_id}"))


def dataset_name(location: str) -> tuple[str, str]:
    """Namespace and name of a location, by the naming rules of OpenLineage."""
    if (folder := local_folder(location)) is not None:
        return "file", str(folder)
    parts = urlsplit(location)
    return f"{parts.scheme.replace('s3a', 's3')}://{parts.netloc}", parts.path.strip("/") or "/"


def _schema(table: Table) -> Any:
    from openlineage.client.facet_v2 import schema_dataset  # noqa: PLC0415 - an extra

    fields = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in declared_columns(table).items()]
    return schema_dataset.SchemaDatasetFacet(fields, producer=PRODUCER)


def declared_columns(table: Table) -> dict[str, str]:
    """The columns of a table with their types, as they are declared; Spark, which could tell too, is not there yet."""
    parts = _BETWEEN_COLUMNS.split(" ".join(table.columns.split()))
    named = (part.strip().removesuffix(" NOT NULL").partition(" ") for part in parts)
    return {name: kind for name, _, kind in named}


def _written(metrics: Metrics, name: str) -> Any:
    """What the run added to a table; None where that is not known."""
    from openlineage.client.facet_v2 import output_statistics_output_dataset  # noqa: PLC0415 - an extra

    numbers: Mapping[str, int | None] = {}
    if metrics.features and name == VALUE_PROP_FEATURES.name:
        numbers = {"rowCount": metrics.features.rows}
    elif table := (metrics.tables or {}).get(name):
        rows = max(table.rows_after - table.rows_before, 0)
        numbers = {"rowCount": rows, "size": table.bytes_added, "fileCount": table.files_added}
    facet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return facet(**numbers, producer=PRODUCER) if numbers else None


def _checks(metrics: Metrics, dataset: str) -> Any:
    """The rules that fired, which do not hold, and what the gates said; None where there is nothing of that."""
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as assertions  # noqa: PLC0415 - an extra

    counted = metrics.batch.datasets if metrics.batch else {}
    fired = counted[dataset].rules if dataset in counted else ()
    said = {f"gate {gate.gate}": gate.state == PASSED for gate in metrics.gates if gate.dataset == dataset}
    holds = {**dict.fromkeys(fired, False), **said}
    checks = [assertions.Assertion(name, success=success) for name, success in holds.items()]
    facet = assertions.DataQualityAssertionsDatasetFacet
    return facet(assertions=checks, producer=PRODUCER) if checks else None


def _quality(profile: DatasetProfile) -> Any:
    from openlineage.client.facet_v2 import data_quality_metrics_input_dataset  # noqa: PLC0415 - an extra

    def column(field: FieldProfile) -> Any:
        numbers = [float(value) for value in field.quantiles]
        quantiles = dict(zip(("0.25", "0.5", "0.75"), numbers, strict=False)) or None
        is_number = bool(numbers) and field.least is not None and field.greatest is not None
        return data_quality_metrics_input_dataset.ColumnMetrics(
            nullCount=field.nulls,
            distinctCount=field.distinct,
            min=float(field.least) if is_number and field.least else None,
            max=float(field.greatest) if is_number and field.greatest else None,
            quantiles=quantiles,
        )

    return data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
        {name: column(field) for name, field in profile.fields.items()}, rowCount=profile.records, producer=PRODUCER
    )
