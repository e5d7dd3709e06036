"""From the files of prints, taps and pays to the stage, reading them once.

The first look reads what is plain and breaks no rule, nearly everything, and sets the rest aside with its text.
The second look parses what was set aside strictly and judges it by name; it is left out where nothing was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from etl_lib.deciding.judge import holds_all, judge
from etl_lib.deciding.stage import BLANK, HEADER, kept_text, stage_columns
from etl_lib.process.concurrently import concurrently
from etl_lib.process.errors import ConfigError
from etl_lib.reading.csv_lines import Layout, by_name, csv_layouts, surplus_columns
from etl_lib.reading.event_records import DATASETS, PAY_COLUMNS, parse_pays, parse_plain_views, parse_views
from etl_lib.reading.json_files import split_lines
from etl_lib.reading.texts import decoded, encoding_of, is_blank, is_cut_object
from etl_lib.reading.whole_files import plain_lines, read_records
from etl_lib.run.run import Run
from etl_lib.sources.damaged import without_set_aside
from etl_lib.sources.landing import LandingFile, collected, landing_files
from etl_lib.tables.counting import records_read
from etl_lib.tables.schemas import ETL_EVENTS
from etl_lib.tables.values_frame import values_frame
from etl_lib.value_props.event_batch import SET_ASIDE, VALID, EventBatch, EventStage, count_events

VIEWS, PAYS = ("prints", "taps"), ("pays",)
_START = 4096
"""Bytes of a first line that are looked at."""

Files = Mapping[str, Sequence[LandingFile]]


def event_files(run: Run) -> dict[str, list[LandingFile]]:
    """All files of each dataset, as the features are computed from all of their input every time; but those that were
    set aside wait until they change.
    """

    def listed(dataset: str) -> list[LandingFile]:
        location = run.settings.input.location(dataset)
        return collected(landing_files(run.spark, location, f"input.{dataset}"))

    files = concurrently(**{name: partial(listed, name) for name in DATASETS})
    run.metrics.unmatched = {name: run.settings.input.location(name) for name in DATASETS if not files[name]}
    if twice := {file.path for file in files["prints"]} & {file.path for file in files["taps"]}:
        raise ConfigError(f"input.prints and input.taps name the same file: {min(twice)}")
    return without_set_aside(run, files)


@dataclass(frozen=True)
class _Source:
    """Files that one look reads alike: those of prints and taps, or pays with the same header."""

    datasets: Sequence[str]
    lines: DataFrame
    layout: Layout | None = None


def stage_events(run: Run, files: Files, whole: Collection[str] = ()) -> EventBatch:
    """Give every record its outcome, `valid` or `rejected`, and put them in place of those of the run before.

    Counted on the way in and from the stage. `whole` are the paths of prints and taps that Spark cannot read line by
    line: the first look finds them, and then all begins again.
    """
    layouts = csv_layouts(run.spark, files["pays"], PAY_COLUMNS)
    sources = [(source, Observation()) for source in _sources(run, files, layouts, whole)]
    looked_at = [
        _first_look(run, source, source.lines.observe(seen, *map(_lines_of, source.datasets)))
        for source, seen in sources
    ]
    run.warehouse.overwrite(ETL_EVENTS, _all_of(run, looked_at), F.lit(True))
    stage = EventStage(run.warehouse, run.run_id, ETL_EVENTS)
    batch = count_events(stage, run.settings)
    if any(counts.set_aside for counts in batch.datasets.values()):
        if not whole and (found := _no_lines(stage)):
            return stage_events(run, files, found)
        second = _all_of(run, [_second_look(run, source, stage) for source, _ in sources])
        run.warehouse.append(ETL_EVENTS, second)
        batch = count_events(stage, run.settings)
    for dataset, counts in batch.datasets.items():
        read = [(source.lines, seen) for source, seen in sources if dataset in source.datasets]
        batch.read[dataset] = records_read(read, _lines_of(dataset), dataset, counts.lines) - counts.no_records
    with_header = sum(len(layout.files) for layout in layouts if layout.line)
    batch.repeated_headers = max(batch.datasets["pays"].headers - with_header, 0)
    batch.datasets["pays"].unknown_fields.update(surplus_columns(layouts))
    return batch


def _no_lines(stage: EventStage) -> set[str]:
    """The files of prints and taps that Spark cannot read line by line, as their first lines were set aside."""
    at_first = stage.set_aside(VIEWS).where(F.col("block") == 0)
    start = F.substring(F.col("raw").cast("binary"), 1, _START)
    found = at_first.groupBy("source_file").agg(F.min_by(start, "row").alias("start")).collect()
    starts = {row["source_file"]: bytes(row["start"]) for row in found}
    return {
        path
        for path, start in starts.items()
        if encoding_of(start) != "utf-8" or (len(start) < _START and is_cut_object(decoded(start)[0]))
    }


def _sources(run: Run, files: Files, layouts: Sequence[Layout], whole: Collection[str]) -> Iterator[_Source]:
    if views := [file for dataset in VIEWS for file in files[dataset]]:
        is_tap = F.col("source_file").isin([file.path for file in files["taps"]])
        no_lines = [file for file in views if file.is_hidden or file.path in whole]
        lines = [file for file in views if not (file.is_hidden or file.path in whole)]
        dataset = F.when(is_tap, "taps").otherwise("prints")
        read = read_records(run.spark, lines, no_lines, split_lines)
        yield _Source(VIEWS, read.withColumns({"dataset": dataset, "is_header": F.lit(False)}))
    for layout in layouts:
        in_lines, whole_files = ((), layout.files) if layout.is_whole else (layout.files, ())
        read = read_records(run.spark, in_lines, whole_files, plain_lines)
        yield _Source(PAYS, read.withColumn("dataset", F.lit("pays")), layout)


def _all_of(run: Run, parts: Sequence[DataFrame]) -> DataFrame:
    nothing = stage_columns(values_frame(run.spark, [], "dataset STRING"), ETL_EVENTS)
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
        .when(F.col("read_error").isNull() & is_blank(F.col("raw")), BLANK)
        .otherwise(SET_ASIDE)
    )
    told = parsed.withColumns({"run_id": F.lit(run.run_id), "outcome": outcome})
    kept = {
        "raw": F.when(F.col("outcome") == SET_ASIDE, F.col("raw")),
        "key": F.lit(None),
        "broken_rules": F.when(F.col("read_error").isNotNull(), F.array("read_error")),
    }
    return stage_columns(told.withColumns(kept), ETL_EVENTS)


def _second_look(run: Run, source: _Source, stage: EventStage) -> DataFrame:
    lines = stage.set_aside(source.datasets).withColumn("read_error", F.get("broken_rules", F.lit(0)))
    if source.layout is not None:
        of_layout = lines.where(F.col("source_file").isin([file.path for file in source.layout.files]))
        judged = judge(parse_pays(by_name(of_layout, source.layout, PAY_COLUMNS)), run.rules.of("pays"))
    else:
        views = parse_views(lines)
        prints, taps = (judge(views.where(F.col("dataset") == name), run.rules.of(name)) for name in VIEWS)
        judged = prints.unionByName(taps)
    looked_at = judged.withColumn("outcome", F.coalesce("outcome", F.lit(VALID)))
    return stage_columns(looked_at.withColumn("raw", kept_text()), ETL_EVENTS)
