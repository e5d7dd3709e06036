"""What a staged batch would do, counted from the stage: the numbers of the plan, the report and the gates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from functools import partial, reduce
from itertools import chain

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from etl_lib.deciding.drift import changed_types, lost_fields, undeclared
from etl_lib.deciding.ids_alike import SHARED_IDS, IdCount, UnlikeIds, count_ids, ids_of, is_point_zero, unlike_ids
from etl_lib.deciding.outcomes import APPLIED, BLANK, EVENT_OUTCOMES, FILE, HEADER, NO_RECORDS, OUTCOMES, VALID
from etl_lib.deciding.profile import profile_frames, profiles_from
from etl_lib.deciding.stage import Stage, missing_members
from etl_lib.process.concurrently import concurrently
from etl_lib.reading.datasets import Dataset, staged_in
from etl_lib.run.metric_parts import DatasetProfile
from etl_lib.settings.config import Settings
from etl_lib.tables.counting import Sampled, in_buckets, sampled
from etl_lib.tables.ledger import LoadedFile
from etl_lib.tables.schemas import DIMENSIONS, ETL_EVENTS, ETL_STAGE

_SETTLED = (*APPLIED, "unchanged", VALID)
"""The outcomes of records that are in the tables as they are, or are counted in the features."""
_COLUMNS = {
    ETL_STAGE.name: {"date": "orders.order_date", "lines": "orders.line_count"},
    ETL_EVENTS.name: {
        "date": "day",
        "table_date": "CAST(NULL AS DATE)",
        "lines": "CAST(NULL AS INT)",
        "version_at": "CAST(day AS TIMESTAMP)",
        "is_conflict": "false",
        "source_size": "CAST(NULL AS BIGINT)",
        "source_modified_at": "CAST(NULL AS TIMESTAMP)",
    },
}
"""By stage, as SQL: what is counted of its rows and is no column of them."""
_BY_MARK = ("dataset", "rule")
_CONFLICT = "(conflict)"
"""Among the rules that a record broke; no rule has such a name."""


@dataclass
class DatasetCounts:
    """The records of one dataset by outcome; `rules` has the broken ones."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    changed_types: Counter[str] = field(default_factory=Counter)
    lost_fields: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    """Accepted records with a value, by the members that an accepted record may lack."""
    blank: int = 0
    repeated_headers: int = 0
    ids: defaultdict[str, IdCount] = field(default_factory=lambda: defaultdict(IdCount))
    """Records that are settled, by the name of an id that they have."""
    dates: dict[date, Counter[str]] = field(default_factory=dict)
    """Applied orders by outcome, under the dates that they have now and had in the table; valid events by their day."""
    conflicts: int = 0
    conflict_keys: list[str] = field(default_factory=list)
    winners: int = 0
    """Distinct keys that won in the batch."""
    items: int = 0
    """The lines of the winners."""
    newest: datetime | None = None
    """The newest version of an accepted record, in UTC."""

    @property
    def records(self) -> int:
        """All input records: the sum of their outcomes."""
        return sum(self.outcomes.values())

    @property
    def applied(self) -> int:
        """Records that change a table."""
        return sum(self.outcomes[name] for name in APPLIED)

    @property
    def only_inserts(self) -> bool:
        """Whether nothing that is there would change."""
        return self.outcomes["updated"] == 0

    @property
    def days(self) -> dict[date, int]:
        """Valid events by their day."""
        return {day: counts[VALID] for day, counts in self.dates.items()}

    def add(self, row: Row, datasets: Sequence[Dataset]) -> None:
        """Count the records of one row of the tally."""
        outcome, records = row["outcome"], row["records"]
        if outcome in (*OUTCOMES, *EVENT_OUTCOMES):
            self.outcomes[outcome] += records
            if outcome != "rejected" and row["newest"] is not None:
                version = datetime.fromtimestamp(row["newest"] // 1_000_000, UTC)
                self.newest = max(version, self.newest or version)
            self.rules.update(dict.fromkeys(row["broken_rules"] or (), records))
            self.given.update({name: row[name] for name in _members_of(datasets)})
        self.blank += records if outcome == BLANK else 0
        self.repeated_headers += records if outcome == HEADER else 0
        if outcome in (*APPLIED, "stale", "unchanged"):
            self.winners += records
            self.items += row["lines"] or 0
        if outcome in _SETTLED:
            for name in SHARED_IDS:
                self.ids[name].add(row[f"{name}_given"], row[f"{name}_with_point"])
        if outcome in (*APPLIED, VALID):
            for day in {row["date"], row["table_date"]} - {None}:
                self.dates.setdefault(day, Counter())[outcome] += records


@dataclass
class Batch:
    """A stage and what is in it."""

    stage: Stage
    datasets: dict[str, DatasetCounts] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Up to `samples` keys by (dataset, rule), no values."""
    read: dict[str, int] = field(default_factory=dict)
    """The records that were read of each dataset, counted while reading; empty for a stage that was there already."""
    files: list[LoadedFile] = field(default_factory=list)
    """Those that count as loaded when it is applied."""
    unlike_ids: list[UnlikeIds] = field(default_factory=list)
    profile: dict[str, DatasetProfile] = field(default_factory=dict)
    profile_before: Mapping[str, DatasetProfile] = field(default_factory=dict)
    """That of the last complete run of the job."""

    def of(self, dataset: str) -> DatasetCounts:
        """The counts of one dataset, all zero when it had no input."""
        return self.datasets.get(dataset, DatasetCounts())

    @property
    def dates(self) -> dict[date, Counter[str]]:
        """The dates that applied orders have now or had in the table."""
        return self.of("orders").dates


def count_batch(stage: Stage, settings: Settings, marks: Iterable[DataFrame] = ()) -> Batch:
    """Count a stage: one query for all numbers, and one more each for drift and unlike ids, where there are any.

    `marks` are the files that count as loaded, where the stage itself does not have them.
    """
    entries = staged_in(stage.table)
    rows = stage.rows.where(F.col("dataset") != "run")
    rows = rows.withColumns({name: F.expr(sql) for name, sql in _COLUMNS[stage.table.name].items()})
    files = _files_read(reduce(partial(DataFrame.unionByName, allowMissingColumns=True), marks, rows))
    parts = {"tally": _tally(rows, entries), "files": files} | profile_frames(rows, entries, settings.telling.personal)
    marked = {"keys": _marked_keys(rows, settings.samples), "conflicts": _first_in_conflict(rows, settings.samples)}
    # Of few rows all is asked in one query; of many the keys only where there are any.
    counted = _collected(**parts, **(marked if stage.is_held else {}))
    is_marked = any(row["broken_rules"] or row["is_conflict"] for row in counted["tally"])
    counted |= {} if stage.is_held else _collected(**marked) if is_marked else {"keys": [], "conflicts": []}
    datasets: dict[str, DatasetCounts] = {}
    for row in counted["tally"]:
        datasets.setdefault(row["dataset"], DatasetCounts()).add(row, entries)
    keys = sampled(counted["keys"], _BY_MARK, settings.samples)
    for dataset, counts in datasets.items():
        counts.conflicts = keys.pop((dataset, _CONFLICT), Sampled(0, [])).rows
        counts.conflict_keys = sorted(row["key"] for row in counted["conflicts"] if row["dataset"] == dataset)
    looked_at = concurrently(
        unlike=lambda: _unlike_ids(stage, datasets, settings.samples),
        drift=lambda: _count_drift(
            stage, datasets, settings, has_undeclared=any(row["has_drift"] for row in counted["tally"])
        ),
    )
    return Batch(
        stage,
        datasets,
        {(dataset, rule): of_rule.keys for (dataset, rule), of_rule in keys.items()},
        files=[LoadedFile(**{item.name: row[item.name] for item in fields(LoadedFile)}) for row in counted["files"]],
        unlike_ids=looked_at["unlike"],
        profile=profiles_from(counted["profile"], counted["frequent"]),
    )


def missing_counts(batch: Batch) -> dict[str, int]:
    """How many members applying the batch would infer, by dataset."""
    if not batch.of("orders").applied:
        return dict.fromkeys(DIMENSIONS, 0)
    return {dataset: missing_members(batch.stage, dataset).distinct().count() for dataset in DIMENSIONS}


def _tally(rows: DataFrame, entries: Sequence[Dataset]) -> DataFrame:
    """The rows of a stage by all that they are counted by: what `DatasetCounts.add` reads."""
    groups = ("dataset", "outcome", "is_conflict", "broken_rules", "date", "table_date", "has_drift")
    given = [F.count(F.expr(value)).alias(name) for name, value in _members_of(entries).items()]
    return (
        rows.withColumn("has_drift", F.col("unknown_fields").isNotNull())
        .groupBy(*groups)
        .agg(
            F.count("*").alias("records"),
            F.sum("lines").alias("lines"),
            F.unix_micros(F.max("version_at")).alias("newest"),
            *given,
            *chain.from_iterable(count_ids(name, entries) for name in SHARED_IDS),
        )
    )


def _members_of(entries: Iterable[Dataset]) -> dict[str, str]:
    """The members that an accepted record of one of the datasets may lack, with SQL for their values."""
    return {name: value for entry in entries for name, value in entry.values.items()}


def _collected(**parts: DataFrame) -> dict[str, list[Row]]:
    """The rows of several frames by their names, in one query."""
    named = [frame.withColumn("part", F.lit(name)) for name, frame in parts.items()]
    rows: dict[str, list[Row]] = {name: [] for name in parts}
    for row in reduce(partial(DataFrame.unionByName, allowMissingColumns=True), named).collect():
        rows[row["part"]].append(row)
    return rows


def _marked_keys(rows: DataFrame, samples: int) -> DataFrame:
    """Keys of the records that broke a rule, or are in conflict, each key once: for `sampled`."""
    conflict = F.when(F.col("is_conflict"), F.array(F.lit(_CONFLICT))).otherwise(F.array().cast("array<string>"))
    marks = F.concat(F.coalesce("broken_rules", F.array().cast("array<string>")), conflict)
    marked = rows.where(_is_record()).where("key IS NOT NULL").select("dataset", "key", F.explode(marks).alias("rule"))
    return in_buckets(marked.distinct(), _BY_MARK, samples)


def _first_in_conflict(rows: DataFrame, samples: int) -> DataFrame:
    """The first keys of each dataset that are in conflict: dataset, key. Spark keeps no more of them in any task."""
    keys = rows.where(_is_record() & F.col("is_conflict")).select("dataset", "key").distinct()
    place = F.row_number().over(Window.partitionBy("dataset").orderBy("key"))
    return keys.withColumn("place", place).where(F.col("place") <= samples).drop("place")


def _is_record() -> Column:
    return ~F.col("outcome").isin(*NO_RECORDS)


def _files_read(rows: DataFrame) -> DataFrame:
    """The files that were read and marked, with what the stage has of them: the fields of LoadedFile."""
    is_valid = _is_record() & (F.col("outcome") != "rejected")
    is_file = F.col("outcome") == FILE
    return (
        rows.groupBy("dataset", F.col("source_file").alias("path"))
        .agg(
            F.max(F.when(is_file, F.col("source_size"))).alias("size"),
            F.unix_micros(F.max(F.when(is_file, F.col("source_modified_at")))).alias("modified_at"),
            F.count_if(_is_record()).alias("records"),
            F.unix_micros(F.min(F.when(is_valid, F.col("version_at")))).alias("min_version_at"),
            F.unix_micros(F.max(F.when(is_valid, F.col("version_at")))).alias("max_version_at"),
        )
        .where(F.col("size").isNotNull())  # has a row of its own, by which it was marked
    )


def _unlike_ids(stage: Stage, datasets: Mapping[str, DatasetCounts], samples: int) -> list[UnlikeIds]:
    """Where datasets name users or products by other ids than another one; what the batch lacks is in the tables."""
    unlike = []
    entries = staged_in(stage.table)
    settled = stage.rows.where(F.col("outcome").isin(*_SETTLED))
    for name in SHARED_IDS:
        here = {dataset: counts.ids[name] for dataset, counts in datasets.items() if counts.ids[name].records}
        if any(count.with_point for count in here.values()):
            having = [entry for entry in entries if name in entry.ids]
            counts = {entry.name: here.get(entry.name) or _ids_before(stage, entry, name) for entry in having}
            unlike += unlike_ids(name, counts, settled, ids_of(name, entries), samples)
    return unlike


def _ids_before(stage: Stage, entry: Dataset, name: str) -> IdCount:
    """The ids of a dataset in the tables; a batch without records of it has changed none of them."""
    table = entry.ids[name].table
    if table is None:
        return IdCount()
    rows = stage.warehouse.read(table)
    rows = rows.where(~F.col("is_inferred")) if "is_inferred" in rows.columns else rows
    given, with_point = rows.agg(F.count(name), F.count_if(is_point_zero(F.col(name)))).collect()[0]
    return IdCount(given, with_point)


def _count_drift(
    stage: Stage, datasets: Mapping[str, DatasetCounts], settings: Settings, *, has_undeclared: bool
) -> None:
    """Count by name what differs from the declared members; only what there is to look at is looked at."""
    if has_undeclared:
        for row in undeclared(stage).collect():
            datasets[row["dataset"]].unknown_fields[row["name"]] = row["count"]
    for dataset, counts in datasets.items():
        if counts.rules["wrong_type"]:
            counts.changed_types = changed_types(stage, dataset)
        counts.lost_fields = lost_fields(stage, dataset, counts.outcomes, counts.given, settings.drift)
