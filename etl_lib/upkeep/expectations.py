"""The rules as suites of Great Expectations, checked on a staged batch, with its JSON reports and Data Docs.

Each rule is an expectation about a column of its own that says of every record whether it holds, as it was judged when
the batch was staged. So no value of a record is in any report.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl_lib.deciding.stage import Stage
from etl_lib.process.errors import LakehouseError
from etl_lib.reading.datasets import DATASETS
from etl_lib.settings.rules import STRUCTURAL, Rule, RuleBook
from etl_lib.tables.schemas import ETL_EVENTS, ETL_STAGE
from etl_lib.tables.warehouse import Warehouse

TELEMETRY = "GX_ANALYTICS_ENABLED"
SITE = "data_docs"
_SEVERITIES = {"warn": "warning", "reject": "critical", "fail": "critical"}


@dataclass(frozen=True)
class Checked:
    """What the checkpoint said of one dataset."""

    dataset: str
    records: int
    expectations: int
    broken: tuple[str, ...]
    """The rules that some, or too many, records broke."""


def staged_batch(warehouse: Warehouse, run_id: str | None) -> Stage:
    """The stage of a run, or of the last one that has a stage; LakehouseError when there is none."""
    for table in warehouse.present((ETL_STAGE, ETL_EVENTS)):
        rows = warehouse.read(table)
        staged = rows.agg(F.max("run_id")) if run_id is None else rows.where(F.col("run_id") == run_id).limit(1)
        found = staged.select(F.col(staged.columns[0]).alias("run_id")).collect()
        if found and found[0]["run_id"] is not None:
            return Stage(warehouse, run_id or found[0]["run_id"], table)
    of_it = f"of run {run_id}" if run_id else "of any run"
    raise LakehouseError(f"{warehouse.location} has no stage {of_it}: purge may have taken it, or it read no record")


def check_batch(stage: Stage, rules: RuleBook, folder: Path) -> list[Checked]:
    """Make a suite for each dataset of a stage, run them as one checkpoint, and write into the folder the suites, the
    results, and the site of Data Docs.
    """
    os.environ[TELEMETRY] = "false"  # Great Expectations asks for it when it is imported
    import great_expectations as gx  # noqa: PLC0415 - an extra
    from great_expectations.checkpoint import UpdateDataDocsAction  # noqa: PLC0415 - of the same extra
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # its own choice is more
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.add_data_docs_site(site_name=SITE, site_config=_site(folder / SITE))
    source = context.data_sources.add_spark(name="orders_lakehouse")
    frames = dict(_frames(stage, rules))
    definitions, counts = [], {}
    for dataset, (frame, asked) in frames.items():
        counts[dataset] = records = frame.count()
        suite = context.suites.add(gx.ExpectationSuite(name=dataset))
        for name, rule in asked.items():
            suite.add_expectation(_expectation(name, rule, records))
        asset = source.add_dataframe_asset(name=dataset)
        batch = asset.add_batch_definition_whole_dataframe("staged")
        definitions.append(gx.ValidationDefinition(name=dataset, data=batch, suite=suite))
        _write(folder / "suites" / f"{dataset}.json", suite.to_json_dict())
    found: list[Checked] = []
    for definition in definitions:
        added = context.validation_definitions.add(definition)
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name=definition.name,
                validation_definitions=[added],
                actions=[UpdateDataDocsAction(name=SITE, site_names=[SITE])],
                result_format="BASIC",
            )
        )
        frame, asked = frames[definition.name]
        [result] = checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()
        _write(folder / "results" / f"{definition.name}.json", result.to_json_dict())
        broken = tuple(each.expectation_config.kwargs["column"] for each in result.results if not each.success)
        found.append(Checked(definition.name, counts[definition.name], len(asked), broken))
    return found


def _frames(stage: Stage, rules: RuleBook) -> Iterator[tuple[str, tuple[DataFrame, Mapping[str, Rule | None]]]]:
    """By dataset of the stage: a column for each rule that says whether a record holds it, and the rules."""
    staged = {row["dataset"] for row in stage.records().select("dataset").distinct().collect()}
    for dataset, entry in DATASETS.items():
        if dataset in staged:
            asked: dict[str, Rule | None] = {**dict.fromkeys(entry.structural), **rules.of(dataset)}
            broken = F.coalesce("broken_rules", F.array().cast("array<string>"))
            columns = [(~F.array_contains(broken, name)).alias(name) for name in asked]
            yield dataset, (stage.records(dataset).select(*columns), asked)


def _expectation(name: str, rule: Rule | None, records: int) -> Any:
    """That the column of a rule is true, of as many records as its threshold asks for."""
    from great_expectations import expectations as gxe  # noqa: PLC0415 - an extra

    severity, message = (rule.severity, rule.message) if rule else ("reject", STRUCTURAL[name])
    mostly, threshold = 1.0, rule.threshold if rule else None
    if threshold is not None:
        share = threshold.share if threshold.share is not None else (threshold.count or 0) / max(records, 1)
        mostly = max(1 - share, 0.0)
    about = {"severity": severity, "owner": rule and rule.owner, "reason": rule and rule.reason}
    return gxe.ExpectColumnValuesToBeInSet(
        column=name,
        value_set=[True],
        mostly=mostly,
        severity=_SEVERITIES[severity],
        description=message,
        meta={"orders_lakehouse": {key: value for key, value in about.items() if value}},
    )


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
    }


def _write(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")
