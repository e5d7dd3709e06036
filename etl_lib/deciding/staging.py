"""From files to the stage: read, parse, judge, pick winners, compare - one query, written once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch, DatasetCounts, count_batch
from etl_lib.deciding.judge import judge, kind_of_no_record
from etl_lib.deciding.outcomes import VALID, compare, known
from etl_lib.deciding.profile import profile_from
from etl_lib.deciding.stage import file_rows, kept_text, replace_events, staged, write_stage
from etl_lib.deciding.winners import winners
from etl_lib.process.concurrently import concurrently
from etl_lib.process.tuning import is_read_once
from etl_lib.reading.csv_files import surplus_columns
from etl_lib.reading.datasets import DATASETS, Dataset
from etl_lib.reading.first_line import first_lines
from etl_lib.run.run import Run
from etl_lib.settings.arguments import EVERYTHING, Scope
from etl_lib.sources.landing import LandingFile
from etl_lib.sources.new_files import not_loaded
from etl_lib.tables.counting import every_branch_observed, records_read, size_columns, size_read
from etl_lib.tables.schemas import ETL_STAGE, PUBLISHED_TABLES


def stage_batch(run: Run, scope: Scope, files: Mapping[str, Sequence[LandingFile]]) -> Batch:
    """Give every record of the files its outcome and write them to the stage."""
    first = first_lines(run.spark, list(chain(*files.values())))
    headers = {
        dataset: {file.path: first[file.path] for file in some if file.path in first}
        for dataset, some in files.items()
        if DATASETS[dataset].columns
    }
    surplus = {dataset: surplus_columns(lines, DATASETS[dataset].columns) for dataset, lines in headers.items()}
    read = {dataset: DATASETS[dataset].read(run.spark, some, first, run.settings) for dataset, some in files.items()}

    def marks() -> list[DataFrame]:
        marked = not_loaded(run.warehouse, files) if scope.full else files if scope.marks_files else {}
        return [file_rows(run.spark, some, dataset, run.run_id) for dataset, some in marked.items()]

    batch = stage_records(run, read, scope, marks)
    for dataset, columns in surplus.items():
        counts = batch.of(dataset)
        counts.unknown_fields.update(columns)
        counts.repeated_headers = max(counts.repeated_headers - len(headers[dataset]), 0)
    return batch


def stage_records(
    run: Run, read: Mapping[str, DataFrame], scope: Scope, marks: Callable[[], Sequence[DataFrame]] = tuple
) -> Batch:
    """Give the records of each dataset their outcome and write them to the stage, counted on the way in and from there.

    `marks` gives the files that count as loaded, as rows of etl_stage.
    """
    counted = {dataset: Observation(dataset) for dataset in read}

    def part(dataset: str, records: DataFrame) -> DataFrame:
        observed = records.observe(counted[dataset], _record_count(records), *size_columns())
        return staged(_outcomes(run, scope, DATASETS[dataset], observed), dataset, run.run_id)

    parts = {dataset: partial(part, dataset, records) for dataset, records in read.items()}
    with every_branch_observed(run.spark):
        if any(DATASETS[dataset].stage is ETL_STAGE for dataset in read):
            versions = partial(run.warehouse.versions, PUBLISHED_TABLES)
            made = concurrently(versions=versions, marks=marks, **parts)
            run.manifest = replace(run.manifest, versions=made.pop("versions"))
            stage, marked = write_stage(run.warehouse, run.manifest, [*made.pop("marks"), *made.values()]), ()
        else:
            written = partial(replace_events, run.warehouse, run.run_id, concurrently(**parts).values())
            done = concurrently(stage=written, marks=marks)
            stage, marked = done["stage"], done["marks"]
    size = size_read(counted.values())
    batch = count_batch(replace(stage, is_held=size is not None and is_read_once(size)), run.settings, marked)
    batch.profile_before = profile_from(run.ledger.last_metrics.get(run.manifest.job))
    for dataset, observation in counted.items():
        counts, count = batch.datasets.setdefault(dataset, DatasetCounts()), _record_count(read[dataset])
        batch.read[dataset] = records_read(read[dataset], observation, count, counts.records)
    return batch


def _outcomes(run: Run, scope: Scope, entry: Dataset, records: DataFrame) -> DataFrame:
    window = scope.window if entry.has_versions else EVERYTHING
    judged = judge(entry.parse(records, run.settings), run.rules.of(entry.name), window)
    if entry.table is None:
        return judged.withColumn("outcome", F.coalesce("outcome", F.lit(VALID)))
    # The stage keeps no other text either; here it spares the shuffle the largest column of nearly all rows.
    judged = judged.withColumn("raw", kept_text())
    table_rows = known(run.warehouse.read(entry.table), entry.table.key[0])
    return compare(winners(judged), table_rows, versioned=entry.has_versions)


def _record_count(lines: DataFrame) -> Column:
    return F.count_if(kind_of_no_record(lines).isNull()).alias("records")
