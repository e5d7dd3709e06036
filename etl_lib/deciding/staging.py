"""From files to the stage: read, parse, judge, pick winners, compare - one query, written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from etl_lib.deciding.counts import Batch, count_batch
from etl_lib.deciding.judge import judge
from etl_lib.deciding.outcomes import compare, known
from etl_lib.deciding.stage import file_rows, kept_text, staged, write_stage
from etl_lib.deciding.winners import winners
from etl_lib.process.concurrently import concurrently
from etl_lib.process.tuning import is_read_once
from etl_lib.reading.csv_files import check_headers, read_csv_records
from etl_lib.reading.dimension_records import PRODUCT_COLUMNS, USER_COLUMNS, parse_products, parse_users
from etl_lib.reading.first_line import FirstLine, first_lines
from etl_lib.reading.json_files import read_json_records
from etl_lib.reading.order_records import parse_orders
from etl_lib.reading.texts import is_blank
from etl_lib.run.run import Run
from etl_lib.settings.arguments import EVERYTHING, Scope
from etl_lib.sources.intake import not_loaded
from etl_lib.sources.landing import LandingFile
from etl_lib.tables.counting import records_read, size_columns, size_read
from etl_lib.tables.schemas import DIM_ORDER, DIMENSIONS, PUBLISHED_TABLES

TABLES = {"orders": DIM_ORDER, **DIMENSIONS}
CSV = {"users": (USER_COLUMNS, parse_users), "products": (PRODUCT_COLUMNS, parse_products)}


def stage_batch(run: Run, scope: Scope, files: Mapping[str, Sequence[LandingFile]]) -> Batch:
    """Give every record of the files its outcome and write them to the stage."""
    first = first_lines(run.spark, list(chain(*files.values())))
    read = {dataset: _read(run, dataset, some, first) for dataset, some in files.items()}
    extra = {
        dataset: check_headers({file.path: first[file.path] for file in files[dataset] if file.path in first}, columns)
        for dataset, (columns, _) in CSV.items()
        if dataset in files
    }
    marked = not_loaded(run.warehouse, files) if scope.full else files if scope.marks_files else {}
    marks = [file_rows(run.spark, some, dataset, run.run_id) for dataset, some in marked.items()]
    batch = stage_records(run, read, scope, marks)
    for dataset, names in extra.items():
        batch.of(dataset).unknown_fields.update(names)
    return batch


def stage_records(run: Run, read: Mapping[str, DataFrame], scope: Scope, marks: Sequence[DataFrame] = ()) -> Batch:
    """Give the records of each dataset their outcome and write them to the stage, counted on the way in and from there.

    `marks` are further rows of the stage: the files that count as loaded.
    """
    counted = {dataset: Observation(dataset) for dataset in read}

    def part(dataset: str, records: DataFrame) -> DataFrame:
        observed = records.observe(counted[dataset], _record_count(records), *size_columns())
        return staged(_outcomes(run, scope, dataset, observed), dataset, run.run_id)

    parts = concurrently(
        versions=partial(run.warehouse.versions, PUBLISHED_TABLES),
        **{dataset: partial(part, dataset, records) for dataset, records in read.items()},
    )
    run.manifest = replace(run.manifest, versions=parts.pop("versions"))
    stage = write_stage(run.warehouse, run.manifest, [*marks, *parts.values()])
    size = size_read(counted.values())
    batch = count_batch(replace(stage, is_held=size is not None and is_read_once(size)), run.settings)
    for dataset, observation in counted.items():
        count = _record_count(read[dataset])
        batch.read[dataset] = records_read([(read[dataset], observation)], count, "records", batch.of(dataset).records)
    return batch


def _read(run: Run, dataset: str, files: Sequence[LandingFile], first: Mapping[str, FirstLine]) -> DataFrame:
    if dataset == "orders":
        return read_json_records(run.spark, files, run.settings.layout, first)
    return read_csv_records(run.spark, files, CSV[dataset][0])


def _outcomes(run: Run, scope: Scope, dataset: str, records: DataFrame) -> DataFrame:
    window = scope.window if dataset == "orders" else EVERYTHING
    parse = CSV[dataset][1] if dataset in CSV else lambda frame: parse_orders(frame, run.settings.version_fields)
    judged = judge(parse(records), run.rules.of(dataset), window)
    # The stage keeps no other text either; here it spares the shuffle the largest column of nearly all rows.
    judged = judged.withColumn("raw", kept_text())
    table = TABLES[dataset]
    table_rows = known(run.warehouse.read(table), table.key[0])
    return compare(winners(judged), table_rows, versioned=dataset == "orders")


def _record_count(records: DataFrame) -> Column:
    is_record = records["read_error"].isNotNull() | ~is_blank(records["raw"])
    return F.count_if(is_record).alias("records")
