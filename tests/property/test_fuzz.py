"""Mutated order lines through the real job: its tables, outcomes and quarantine are those of the oracle.

The seed is printed; FUZZ_SEED repeats a run, FUZZ_LINES makes it longer.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from etl_lib.tables.schemas import QUARANTINE
from tests import oracle
from tests.histories import generate_orders
from tests.job import Job
from tests.tables import assert_data_tables

SEED = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
LINES = int(os.environ.get("FUZZ_LINES") or 10_000)

GOOD = '{"order_id":"first","created_at":"2024-01-01"}'

TOKENS = [
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\\", b"'", b"null", b"true", b"NaN", b"-", b"+", b".", b"0"),
    *(
        b"e9",
        b"1.10",
        b"01",
        b"\\u0000",
        b"\\ud83d",
        b"\\ude00",
        b"\\\\",
        b"\x00",
        b"\x0c",
        b"\t",
        b"\xff",
        b"\xc3\xa9",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xc2\xa0",
        b"//",
        b"/**/",
        b'"order_id":"x",',
        b'"items":[]',
        b',"a":1',
        b"{}",
        b'{"sku":"s"}',
    ),
]

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def span(rng: random.Random, line: bytes) -> tuple[int, int]:
    start = rng.randrange(len(line))
    return start, min(len(line), start + rng.choice((1, 1, 2, 5, 20, 80)))


def flip(rng: random.Random, line: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(line))
    return line[:at] + bytes([line[at] ^ (1 << rng.randrange(8))]) + line[at + 1 :]


def delete(rng: random.Random, line: bytes, _: bytes) -> bytes:
    start, end = span(rng, line)
    return line[:start] + line[end:]


def duplicate(rng: random.Random, line: bytes, _: bytes) -> bytes:
    start, end = span(rng, line)
    return line[:end] + line[start:end] + line[end:]


def move(rng: random.Random, line: bytes, _: bytes) -> bytes:
    start, end = span(rng, line)
    rest = line[:start] + line[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + line[start:end] + rest[at:]


def insert(rng: random.Random, line: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + rng.choice(TOKENS) + line[at:]


def replace(rng: random.Random, line: bytes, _: bytes) -> bytes:
    start, end = span(rng, line)
    return line[:start] + rng.choice(TOKENS) + line[end:]


def splice(rng: random.Random, line: bytes, other: bytes) -> bytes:
    return line[: rng.randrange(len(line) + 1)] + other[rng.randrange(len(other)) :]


MUTATIONS: list[Mutation] = [flip, flip, delete, duplicate, move, insert, insert, replace, splice]


def mutated_lines(seed: int, count: int) -> list[bytes]:
    """Lines of good orders, each mutated one to four times; a line break in one would make it two."""
    rng = random.Random(seed)  # noqa: S311 - test data
    orders = [json.dumps(order, ensure_ascii=False).encode() for order in generate_orders(seed, 500)]
    lines: list[bytes] = []
    while len(lines) < count:
        line = rng.choice(orders)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            line = rng.choice(MUTATIONS)(rng, line or b" ", rng.choice(orders))
        line = line.translate(None, b"\r\n")
        if line.strip(b" \t\xef\xbb\xbf"):
            lines.append(line)
    return lines


def is_from_the_future(text: str) -> bool:
    """Whether the oracle, which knows no clock, takes an order that the job refuses for its time."""
    try:
        order = oracle.read_order(text)
    except oracle.RecordError:
        return False
    return max(order.created_at, order.version_at) > datetime.now(UTC)


@pytest.mark.slow
def test_mutated_lines_give_what_the_oracle_gives(job: Job) -> None:
    print(f"FUZZ_SEED={SEED} FUZZ_LINES={LINES}")  # noqa: T201 - shown when the test fails
    mutated = [line.decode("utf-8", "surrogateescape") for line in mutated_lines(SEED, LINES)]
    # The first line is good: what a reader makes of the beginning of a file is not the matter here.
    texts = [GOOD, *(text for text in mutated if not is_from_the_future(text))]
    path = job.landing / "orders" / "fuzz.jsonl"
    path.write_bytes("".join(f"{text}\n" for text in texts).encode("utf-8", "surrogateescape"))
    expected = oracle.Warehouse()
    result = expected.load([oracle.LandedFile(f"file:{path}", path.stat().st_mtime_ns // 1_000_000, texts)])
    assert job.run() == 0
    entries = job.read(QUARANTINE).select(F.col("raw").cast("binary").alias("raw"), "occurrences").collect()
    assert Counter({bytes(row["raw"]): row["occurrences"] for row in entries}) == Counter(
        {raw.encode("utf-8", "surrogateescape"): told.occurrences for (_, raw), told in expected.quarantine.items()}
    )
    metrics = job.metrics()
    assert metrics["outcomes"] == dict(result.outcomes)
    assert metrics["input_orders"] == len(texts) > LINES * 0.99
    assert min(metrics["outcomes"]["rejected"], metrics["outcomes"]["inserted"]) > LINES / 100
    assert_data_tables(job, expected, {}, {})
