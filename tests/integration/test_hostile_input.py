"""Hostile input through the real job: nothing invalid is loaded, nothing is lost, and good neighbours come through."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DIM_ORDER, QUARANTINE
from tests.hostile import (
    PLACEMENTS,
    Record,
    good,
    hostile_cases,
    large_cases,
    numbered,
    placed,
    placed_at,
)
from tests.job import Job
from tests.oracle import RecordError, read_order

LARGE = 21_000_000
"""Bytes: more than most parsers take in one text."""


@dataclass(frozen=True)
class ArrayFile:
    """An array of a good record, a hostile one and a good one."""

    path: Path
    before: str
    record: Record
    after: str

    @property
    def content(self) -> bytes:
        return b"[" + good(self.before) + b",\n" + self.record.raw + b" ,\n" + good(self.after) + b"]"


@dataclass(frozen=True)
class Landed:
    """What one run made of all hostile cases: a file of lines with a good neighbour behind each, and many arrays."""

    job: Job
    records: list[Record]
    neighbours: list[str]
    arrays: list[ArrayFile]
    loaded: set[str]
    quarantined: dict[str, list[bytes]]
    """By the name of the file, in the order of position, each as often as it occurred."""

    @property
    def refused_lines(self) -> list[bytes]:
        return [
            record.raw for record in self.records if not is_blank(record.raw) and record.order_id not in self.loaded
        ]


def is_blank(raw: bytes) -> bool:
    return not raw.replace(b"\xef\xbb\xbf", b"").strip(b" \t\r\n")


def is_order(raw: bytes) -> bool:
    """Whether the oracle takes a record."""
    try:
        read_order(raw.decode("utf-8"))
    except (RecordError, UnicodeDecodeError):
        return False
    return True


def quarantined(job: Job) -> dict[str, list[bytes]]:
    """The texts in quarantine by the name of their file, as the bytes that they are."""
    columns = ("source_file", "occurrences", F.col("raw").cast("binary").alias("raw"))
    found: dict[str, list[bytes]] = {}
    for row in job.read(QUARANTINE).orderBy("source_file", "position").select(*columns).collect():
        found.setdefault(Path(row["source_file"]).name, []).extend([bytes(row["raw"])] * row["occurrences"])
    return found


@pytest.fixture(scope="module")
def landed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Landed:
    job = Job(spark, tmp_path_factory.mktemp("hostile"))
    folder = job.landing / "orders"
    folder.mkdir(parents=True)
    cases = hostile_cases()
    ids = numbered("line-")
    records = [record for case in cases for record in placed(case, ids)]
    neighbours = [f"beside-{record.order_id}" for record in records]
    lines = [
        good("first"),
        *(line for pair in zip(records, neighbours, strict=True) for line in (pair[0].raw, good(pair[1]))),
    ]
    (folder / "lines.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    inside = [placement for placement in PLACEMENTS if placement != "whole"]
    arrays = [
        ArrayFile(folder / f"{n:04}.json", f"before-{n}", placed_at(case, placement, f"array-{n}"), f"after-{n}")
        for n, (case, placement) in enumerate(zip(cases, cycle(inside)))
    ]
    for array in arrays:
        array.path.write_bytes(array.content)
    assert job.run() == 0
    return Landed(job, records, ["first", *neighbours], arrays, job.read_keys(), quarantined(job))


def shown(records: Iterable[Record]) -> list[tuple[str, str, str, bytes]]:
    return [(r.case.category, r.case.label, r.placement, r.raw[-200:]) for r in records]


def test_no_invalid_text_is_loaded_wherever_it_stands(landed: Landed) -> None:
    invalid = [record for record in landed.records if record.case.label == "invalid"]
    assert len(invalid) > 2500
    assert shown(record for record in invalid if record.order_id in landed.loaded) == []


def test_every_valid_order_is_loaded_and_no_other(landed: Landed) -> None:
    valid = [record for record in landed.records if record.case.label == "valid"]
    assert shown(r for r in valid if is_order(r.raw) != (r.order_id in landed.loaded)) == []
    either = [record for record in landed.records if record.case.label == "either"]
    assert shown(r for r in either if r.order_id in landed.loaded and not is_order(r.raw)) == []


def test_a_loaded_text_is_the_one_that_was_sent(landed: Landed) -> None:
    """A number where a text is declared, too: as it was written."""
    promos = {row["order_id"]: row["promo"] for row in landed.job.read(DIM_ORDER).select("order_id", "promo").collect()}
    loaded = [record for record in landed.records if record.order_id in landed.loaded]
    sent = {record.order_id: read_order(record.raw.decode()).promo for record in loaded}
    assert {key: promos[key] for key in sent} == sent
    assert sum(r.placement == "text" and r.case.category == "number" for r in loaded) > 15


def test_good_neighbours_are_loaded(landed: Landed) -> None:
    assert set(landed.neighbours) - landed.loaded == set()
    assert {array.before for array in landed.arrays} - landed.loaded == set()


def test_every_line_that_was_refused_is_in_quarantine_byte_for_byte(landed: Landed) -> None:
    assert Counter(landed.quarantined["lines.jsonl"]) == Counter(landed.refused_lines)


def test_of_an_array_everything_that_was_not_loaded_is_in_quarantine(landed: Landed) -> None:
    """But for the white space, brackets and commas between the elements, whose places the parts do not tell."""
    wrong = []
    for array in landed.arrays:
        rest = array.content
        for text in (good(array.before), accepted_part(array, landed.loaded), good(array.after)):
            rest = rest.replace(text, b"", 1) if text is not None and was_loaded(text, landed.loaded) else rest
        kept = b"".join(landed.quarantined.get(array.path.name, []))
        if essence(rest) != essence(kept):
            wrong.append((array.record.case.category, array.content[:300], rest[:300], kept[:300]))
    assert wrong == []


def accepted_part(array: ArrayFile, loaded: set[str]) -> bytes | None:
    """The record of an array, or the beginning of it that is an order itself: what follows is the broken rest."""
    if array.record.order_id not in loaded:
        return None
    raw = array.record.raw
    ends = (match.end() for match in re.finditer(b"}", raw))
    return next(raw[:end] for end in ends if is_order(raw[:end]))


def was_loaded(text: bytes, loaded: set[str]) -> bool:
    return read_order(text.decode()).order_id in loaded


def essence(text: bytes) -> bytes:
    return re.sub(rb"[\[\],\s]", b"", text)


def test_all_records_are_accounted_for(landed: Landed) -> None:
    metrics = landed.job.metrics()
    assert metrics["input_orders"] == sum(metrics["outcomes"].values())
    assert metrics["outcomes"]["rejected"] == sum(map(len, landed.quarantined.values()))
    assert metrics["outcomes"]["inserted"] == len(landed.loaded)
    assert metrics["blank_lines"] == sum(is_blank(record.raw) for record in landed.records)
    on_lines = len(landed.refused_lines) + sum(
        not key.startswith(("array", "before", "after")) for key in landed.loaded
    )
    assert on_lines + metrics["blank_lines"] == len(landed.records) + len(landed.neighbours)
    assert {
        name: metrics["outcomes"][name] for name in ("superseded", "updated", "stale", "unchanged")
    } == dict.fromkeys(("superseded", "updated", "stale", "unchanged"), 0)


@pytest.mark.torture
def test_large_records_are_loaded_or_kept_and_crash_nothing(job: Job) -> None:
    ids = numbered("large-")
    places = cycle(PLACEMENTS)
    records = [placed_at(case, next(places), next(ids)) for case in large_cases(LARGE)]
    (job.landing / "orders" / "large.jsonl").write_bytes(
        b"".join(record.raw + b"\n" + good(f"beside-{record.order_id}") + b"\n" for record in records)
    )
    assert job.run() == 0
    loaded = job.read_keys()
    assert {f"beside-{record.order_id}" for record in records} - loaded == set()
    assert {record.order_id for record in records if record.case.label == "invalid"} & loaded == set()
    refused = [record for record in records if record.order_id not in loaded]
    # Row by row: a batch of the vectorized reader would hold all of them at once.
    job.spark.conf.set("spark.sql.parquet.enableVectorizedReader", "false")
    try:
        kept = job.read(QUARANTINE).select(F.sha2(F.col("raw").cast("binary"), 256)).collect()
    finally:
        job.spark.conf.unset("spark.sql.parquet.enableVectorizedReader")
    assert sorted(row[0] for row in kept) == sorted(hashlib.sha256(record.raw).hexdigest() for record in refused)
    assert job.metrics()["input_orders"] == 2 * len(records)
