"""From the files of prints, taps and pays to the stage, reading them once.

The first look reads what is plain and breaks no rule, nearly everything, and sets the rest aside with its text.
The second look parses what was set aside strictly and judges it by name; it is left out where nothing was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from etl_lib.batch import records_read
from etl_lib.csv_lines import Layout, by_name, csv_layouts, surplus_columns
from etl_lib.errors import ConfigError
from etl_lib.event_batch import SET_ASIDE, VALID, EventBatch, EventStage, count_events
from etl_lib.event_records import DATASETS, PAY_COLUMNS, parse_pays, parse_plain_views, parse_views
from etl_lib.judge import holds_all, judge
from etl_lib.landing import LandingFile, collected, is_blank, landing_files, read_text
from etl_lib.local_rows import local_rows
from etl_lib.run import Run
from etl_lib.schemas import ETL_EVENTS
from etl_lib.stage import BLANK, HEADER, kept_text, stage_columns
from etl_lib.together import together

VIEWS, PAYS = ("prints", "taps"), ("pays",)

Files = Mapping[str, Sequence[LandingFile]]


def event_files(run: Run) -> dict[str, list[LandingFile]]:
    """All files of each dataset: the features are computed from all of their input, every time."""

    def listed(dataset: str) -> list[LandingFile]:
        location = run.settings.input.location(dataset)
        return collected(landing_files(run.spark, location, f"input.{dataset}"))

    files = dict(zip(DATASETS, together(*(lambda name=name: listed(name) for name in DATASETS)), strict=True))
    if twice := {file.path for file in files["prints"]} & {file.path for file in files["taps"]}:
        raise ConfigError(f"input.prints and input.taps name the same file: {min(twice)}")
    return files


@dataclass(frozen=True)
class _Source:
    """Files that one look reads alike: those of prints and taps, or pays with the same header."""

    datasets: Sequence[str]
    lines: DataFrame
    layout: Layout | None = None


def stage_events(run: Run, files: Files) -> EventBatch:
    """Give every record its outcome, `valid` or `rejected`, and put them in place of those of the run before.

    Counted on the way in and from the stage.
    """
    layouts = csv_layouts(run.spark, files["pays"], PAY_COLUMNS)
    sources = [(source, Observation()) for source in _sources(run, files, layouts)]
    looked_at = [
        _first_look(run, source, source.lines.observe(seen, *map(_lines_of, source.datasets)))
        for source, seen in sources
    ]
    run.warehouse.overwrite(ETL_EVENTS, _all_of(run, looked_at), F.lit(True))
    stage = EventStage(run.warehouse, run.run_id, ETL_EVENTS)
    batch = count_events(stage, run.settings)
    if any(counts.set_aside for counts in batch.datasets.values()):
        second = _all_of(run, [_second_look(run, source, stage) for source, _ in sources])
        run.warehouse.append(ETL_EVENTS, second)
        batch = count_events(stage, run.settings)
    for dataset, counts in batch.datasets.items():
        read = [(source.lines, seen) for source, seen in sources if dataset in source.datasets]
        batch.read[dataset] = records_read(read, _lines_of(dataset), dataset, counts.lines) - counts.no_records
    with_header = sum(len(layout.files) for layout in layouts if layout.line)
    batch.repeated_headers = max(batch.datasets["pays"].headers - with_header, 0)
    batch.datasets["pays"].unknown_fields.update(surplus_columns(layouts, PAY_COLUMNS))
    return batch


def _sources(run: Run, files: Files, layouts: Sequence[Layout]) -> Iterator[_Source]:
    if views := [file for dataset in VIEWS for file in files[dataset]]:
        is_tap = F.col("source_file").isin([file.path for file in files["taps"]])
        lines = read_text(run.spark, views).withColumns(
            {
                "dataset": F.when(is_tap, "taps").otherwise("prints"),
                "read_error": F.lit(None).cast("string"),
                "is_header": F.lit(False),
            }
        )
        yield _Source(VIEWS, lines)
    for layout in layouts:
        yield _Source(PAYS, read_text(run.spark, layout.files).withColumn("dataset", F.lit("pays")), layout)


def _all_of(run: Run, parts: Sequence[DataFrame]) -> DataFrame:
    nothing = stage_columns(local_rows(run.spark, [], "dataset STRING"), ETL_EVENTS)
    return reduce(DataFrame.unionByName, parts, nothing)


def _lines_of(dataset: str) -> Column:
    return F.count_if(F.col("dataset") == dataset).alias(dataset)


def _first_look(run: Run, source: _Source, lines: DataFrame) -> DataFrame:
    if source.layout is not None:
        parsed, holds = parse_pays(by_name(lines, source.layout, PAY_COLUMNS)), holds_all(run.rules.of("pays"))
    else:
        prints, taps = (holds_all(run.rules.of(dataset)) for dataset in VIEWS)
        is_same = run.rules.of("prints") == run.rules.of("taps")
        parsed = parse_plain_views(lines)
        holds = prints if is_same else F.when(F.col("dataset") == "prints", prints).otherwise(taps)
    complete = F.col("key").isNotNull() & F.col("version_at").isNotNull()
    outcome = (
        F.when(F.col("parse_error").isNull() & complete & holds, VALID)
        .when(F.col("is_header"), HEADER)
        .when(is_blank(F.col("raw")), BLANK)
        .otherwise(SET_ASIDE)
    )
    told = parsed.withColumns({"run_id": F.lit(run.run_id), "outcome": outcome})
    kept = {"raw": F.when(F.col("outcome") == SET_ASIDE, F.col("raw")), "key": F.lit(None)}
    return stage_columns(told.withColumns(kept), ETL_EVENTS)


def _second_look(run: Run, source: _Source, stage: EventStage) -> DataFrame:
    lines = stage.set_aside(source.datasets).withColumn("read_error", F.lit(None).cast("string"))
    if source.layout is not None:
        of_layout = lines.where(F.col("source_file").isin([file.path for file in source.layout.files]))
        judged = judge(parse_pays(by_name(of_layout, source.layout, PAY_COLUMNS)), run.rules.of("pays"))
    else:
        views = parse_views(lines)
        prints, taps = (judge(views.where(F.col("dataset") == name), run.rules.of(name)) for name in VIEWS)
        judged = prints.unionByName(taps)
    looked_at = judged.withColumn("outcome", F.coalesce("outcome", F.lit(VALID)))
    return stage_columns(looked_at.withColumn("raw", kept_text()), ETL_EVENTS)
