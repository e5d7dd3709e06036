"""What the accepted records of a batch look like, field by field, and what differs from the run before.

All is asked of the stage, in the query of its counts. Of a personal field, and of an id, no value is kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from etl_lib.deciding.outcomes import NO_RECORDS
from etl_lib.reading.datasets import Dataset, Profiled
from etl_lib.run.metric_parts import DatasetProfile, FieldProfile, ProfileShift
from etl_lib.settings.telling_settings import PERSONAL

TOLD_SHIFT = 0.25
"""A shift is told from here on, or from a lower limit of the gate."""
_QUANTILES = (0.25, 0.5, 0.75)
_FREQUENT = 5
_ACCURACY = 1_000
"""Of the quantiles: their rank is off by at most a thousandth."""


def profile_frames(rows: DataFrame, entries: Sequence[Dataset], personal: Iterable[str]) -> dict[str, DataFrame]:
    """Two frames of the columns `dataset` and `profile`, a text: what `profiles_from` reads."""
    hidden = {*PERSONAL, *personal}
    accepted = rows.where(~F.col("outcome").isin(*NO_RECORDS, "rejected"))
    fields = {f"{entry.name}.{name}": field for entry in entries for name, field in entry.profiled.items()}
    measures = [_measures(field, name.rpartition(".")[2] in hidden).alias(name) for name, field in fields.items()]
    columns = F.struct("records", *(F.col(f"`{name}`") for name in fields))
    numbers = accepted.groupBy("dataset").agg(F.count("*").alias("records"), *measures)
    return {
        "profile": numbers.select("dataset", F.to_json(columns).alias("profile")),
        "frequent": _frequent(accepted, entries, hidden),
    }


def _measures(field: Profiled, is_hidden: bool) -> Column:
    value = F.expr(field.value)
    measures = [F.count(value).alias("given"), F.approx_count_distinct(value).alias("distinct")]
    if field.kind != "id" and not is_hidden:
        measures += [F.min(value).cast("string").alias("least"), F.max(value).cast("string").alias("greatest")]
    if field.kind == "number" and not is_hidden:
        quantiles = F.percentile_approx(value, list(_QUANTILES), _ACCURACY)
        measures.append(quantiles.cast("array<string>").alias("quantiles"))
    return F.struct(*measures)


def _frequent(accepted: DataFrame, entries: Sequence[Dataset], hidden: Iterable[str]) -> DataFrame:
    """The most frequent values of each category; where two are equally frequent, the lesser one."""
    pairs = F.array().cast("array<struct<name: string, value: string>>")
    for entry in entries:
        shown = {name: each for name, each in entry.profiled.items() if each.kind == "category" and name not in hidden}
        if shown:
            named = [
                F.struct(F.lit(name).alias("name"), F.expr(each.value).cast("string").alias("value"))
                for name, each in shown.items()
            ]
            pairs = F.when(F.col("dataset") == entry.name, F.array(*named)).otherwise(pairs)
    values = accepted.select("dataset", F.inline(pairs)).where("value IS NOT NULL")
    counted = values.groupBy("dataset", "name", "value").agg(F.count("*").alias("records"))
    place = F.row_number().over(Window.partitionBy("dataset", "name").orderBy(F.desc("records"), "value"))
    most = counted.withColumn("place", place).where(F.col("place") <= _FREQUENT)
    return most.select("dataset", F.to_json(F.struct("name", "value", "records")).alias("profile"))


def profiles_from(numbers: Iterable[Row], frequent: Iterable[Row]) -> dict[str, DatasetProfile]:
    """The profiles by dataset, from the rows of `profile_frames`."""
    often: defaultdict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for row in frequent:
        value = json.loads(row["profile"])
        often[row["dataset"], value["name"]].append((value["value"], value["records"]))
    profiles = {}
    for row in numbers:
        dataset, fields = row["dataset"], json.loads(row["profile"])
        records = fields.pop("records")
        of_dataset = {
            name.removeprefix(f"{dataset}."): each for name, each in fields.items() if name.startswith(f"{dataset}.")
        }
        profiles[dataset] = DatasetProfile(
            records,
            {
                name: FieldProfile(
                    nulls=records - each.pop("given"),
                    **each,
                    frequent=tuple(sorted(often[dataset, name], key=lambda pair: (-pair[1], pair[0]))),
                )
                for name, each in of_dataset.items()
            },
        )
    return dict(sorted(profiles.items()))


def profile_from(text: str | None) -> dict[str, DatasetProfile]:
    """The profile that the metrics of a run hold, as JSON; empty where they hold none."""
    kept: Mapping[str, Mapping[str, object]] = json.loads(text).get("profile", {}) if text else {}
    return {
        dataset: DatasetProfile(
            profile["records"],  # type: ignore[arg-type]
            {name: FieldProfile(**fields) for name, fields in profile["fields"].items()},  # type: ignore[attr-defined]
        )
        for dataset, profile in kept.items()
    }


def profile_shifts(
    before: Mapping[str, DatasetProfile], now: Mapping[str, DatasetProfile], *, least: float, min_records: int
) -> list[ProfileShift]:
    """What differs by at least `least` between two profiles of a dataset: shares by their difference, a median by its
    part of the greater one. Of few records, fewer than `min_records`, nothing is told.
    """
    shifts = []
    for dataset in before.keys() & now.keys():
        old, new = before[dataset], now[dataset]
        if min(old.records, new.records) >= min_records:
            for field in old.fields.keys() & new.fields.keys():
                for measure, was, has in _comparable(old, new, field):
                    scale = max(abs(was), abs(has)) if measure == "median" else 1.0
                    if scale and round(abs(has - was) / scale, 6) >= least:
                        shifts.append(ProfileShift(dataset, field, measure, round(was, 4), round(has, 4)))
    return sorted(shifts, key=lambda shift: (shift.dataset, shift.field, shift.measure))


def _comparable(old: DatasetProfile, new: DatasetProfile, field: str) -> Iterator[tuple[str, float, float]]:
    """The measures that both profiles of a field have: their name, and what they were and are."""
    was, now = old.fields[field], new.fields[field]
    yield "share of nulls", was.nulls / old.records, now.nulls / new.records
    if was.quantiles and now.quantiles:
        yield "median", float(was.quantiles[1]), float(now.quantiles[1])
    shares, shares_now = (
        {value: n / profile.records for value, n in each.frequent} for profile, each in ((old, was), (new, now))
    )
    # A value that is not among the most frequent ones is at most as frequent as the last of them: taken as none.
    for value in shares.keys() | shares_now.keys():
        yield f"share of {value}", shares.get(value, 0.0), shares_now.get(value, 0.0)
