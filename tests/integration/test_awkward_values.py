"""Awkward texts and exact money through the real job, into a warehouse whose path is awkward itself."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.tables.schemas import DAILY_SALES, DIM_ORDER, DIM_PRODUCT, DIM_USER, FACT_SALES, QUARANTINE, Table
from tests.job import Job
from tests.oracle import RecordError, read_object, read_order

WAREHOUSE = """it's `here`; DROP TABLE "x" -- /* $HOME {x} $1 %41 #1 ?a=b&c [*] {é} a:b \\n\u202e 😀"""
SEED = 20240501
MANY = 600

TEXTS = [
    *("O'Brien", "''", 'say "x"', '"', "`tick`", "``", "\\", "\\\\n", "\\u0041", "\\\\", "a\\", '\\"'),
    *("x'; DROP TABLE dim_order; --", "' OR 1=1 --", '" OR ""="', "1; DELETE FROM fact_sales", "/* */", "--", ";"),
    *("${env:HOME}", "${x}", "$1", "$$", "%s %d {0}", "{}", "{", "[1", '{"a":1}', "[]", "<script>", "&amp;", "=1+1"),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\temp\\new",
        "file:///x",
        "s3a://b/k",
        "..",
        ".",
        "*",
        "?",
        "#",
        "a=b/c=d",
    ),
    *("%41%2F%00", "a%2Fb", "%", "%zz", "a+b", "__HIVE_DEFAULT_PARTITION__", "null", "NULL", "None", "NaN", "true"),
    *("0", "-0", "007", "1e400", "1.10", "0x1", "2024-05-01", "12345678901234567890", "0.1000000000000000055511151231"),
    *("A", "a", "\u00e9", "e\u0301", "ß", "\u1e9e", "ss", "\u0130", "i", "\u0131", "\ufb01", "fi", "\u212b", "\u00c5"),
    *(
        "😀",
        "👩\u200d👩\u200d👧",
        "🇩🇪",
        "漢字",
        "שלום",
        "مرحبا",
        "\u202eabc\u202c",
        "a\u200bb",
        "\u200d",
        "\u200b",
        "\u2060",
    ),
    *(" leading", "trailing ", " ", "  ", "\tTab\t", "\u00a0", "\u3000", "\ufeffx", "x\ufeff", "\u00ad"),
    *("line\nbreak", "\n", "cr\rlf\r\nend", "\r", "\u2028", "\u0085", "\x0b\x0c", "\x01\x1b[31mred", "\x7f", "\x1f"),
    *("\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000", "a,b", "a;b", "a|b", "a\tb", "x" * 512, "é😀" * 85),
]
"""Texts that something on the way might bend, strip, escape, fold together or take for something else."""


def money_lines() -> list[str]:
    """Orders whose amounts and prices have up to 16 integer digits and 6 decimals, plain, as text, or with exponent."""
    rng = random.Random(SEED)  # noqa: S311 - test data

    def number() -> str:
        digits = rng.choice((1, 2, 5, 10, 13, 14, 14, 14, 15, 16))
        whole = str(rng.randrange(10 ** (digits - 1), 10**digits)) if digits > 1 else str(rng.randrange(10))
        decimals = rng.choice((0, 1, 2, 2, 4, 4, 4, 5, 6))
        written = whole + ("." + "".join(rng.choices("0123456789", k=decimals)) if decimals else "")
        written = rng.choice(("", "", "", "-")) + written + rng.choice(("", "", "", "", "e0", "E-1", "e+1"))
        return f'"{written}"' if rng.random() < 0.2 else written

    def order(at: int) -> str:
        items = [
            f'{{"sku":"sku-{rng.randrange(9)}","qty":{rng.choice((1, 2, 3, 2**31 - 1, -(2**31)))},"price":{number()}}}'
            for _ in range(rng.randrange(3))
        ]
        created_at = f"2024-05-{rng.randrange(1, 4):02}T00:00:00Z"
        return (
            f'{{"order_id":"money-{at}","created_at":"{created_at}","currency":"EUR","amount":{number()},'
            f'"items":[{",".join(items)}]}}'
        )

    return [order(at) for at in range(MANY)]


def written(texts: list[str]) -> Iterator[str]:
    """An order for each text, which is its id, its user, its source, its promo and the sku of its item."""
    for at, text in enumerate(texts):
        items = [{"sku": text, "qty": 1, "price": 1}]
        order = {"order_id": text, "user_id": text, "created_at": "2023-01-01T00:00:00Z", "items": items}
        yield json.dumps({**order, "metadata": {"source": text, "promo": text}}, ensure_ascii=at % 2 == 0)


def csv_bytes(*rows: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


@pytest.fixture(scope="module")
def loaded(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job(spark, tmp_path_factory.mktemp("awkward"), WAREHOUSE)
    with_nul = json.dumps({"order_id": "nul\0", "created_at": "2023-01-01"})
    job.land("orders.jsonl", *written(TEXTS), with_nul, *money_lines())
    users = [[text, "2023-01-01", text, text] for text in [*TEXTS, "nul\0"]]
    (job.landing / "users.csv").write_bytes(csv_bytes(["user_id", "created_at", "email", "country"], *users))
    products = [[text, text, "1", text] for text in [*TEXTS, "nul\0"]]
    (job.landing / "products.csv").write_bytes(csv_bytes(["category", "name", "price", "sku"], *products))
    assert job.run() == 0
    return job


def column_values(job: Job, table: Table, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of all rows but those of the money batch, sorted."""
    rows = job.read(table).where(~F.col(names[0]).rlike("^(money-[0-9]+|sku-[0-9])$")).select(*names).collect()
    return sorted(tuple(row) for row in rows)


def test_texts_come_back_byte_for_byte_as_ids_skus_and_names(loaded: Job) -> None:
    assert len(TEXTS) == len(set(TEXTS))
    ids = [(text,) * 4 for text in sorted(TEXTS)]
    assert column_values(loaded, DIM_ORDER, "order_id", "user_id", "source", "promo") == ids
    assert column_values(loaded, FACT_SALES, "sku", "order_id", "user_id", "sku") == ids
    assert column_values(loaded, DIM_USER, "user_id", "email", "country", "user_id") == ids
    assert column_values(loaded, DIM_PRODUCT, "sku", "name", "category", "sku") == ids


def test_a_nul_is_quarantined_from_json_and_csv(loaded: Job) -> None:
    found = loaded.read(QUARANTINE).where("array_contains(reasons.rule, 'nul_in_text')").select("dataset", "raw")
    assert {row["dataset"]: row["raw"] for row in found.collect()} == {
        "orders": json.dumps({"order_id": "nul\0", "created_at": "2023-01-01"}),
        "users": '"nul\0","2023-01-01","nul\0","nul\0"',
        "products": '"nul\0","nul\0","1","nul\0"',
    }


def test_sales_of_every_category_are_found_under_it(loaded: Job) -> None:
    sales = loaded.read(DAILY_SALES).where("order_date = DATE'2023-01-01'").select("category", "country", "source")
    assert sorted(tuple(row) for row in sales.collect()) == [(text,) * 3 for text in sorted(TEXTS)]


def test_no_digit_of_money_is_lost(loaded: Job) -> None:
    lines = money_lines()
    there = {row["order_id"] for row in loaded.read(DIM_ORDER).select("order_id").collect()}
    applied = [line for line in lines if read_object(line)["order_id"] in there]
    kept = [row["raw"] for row in loaded.read(QUARANTINE).where("raw LIKE '%money-%'").select("raw").collect()]
    assert sorted([*applied, *kept]) == sorted(lines)
    assert min(len(applied), len(kept)) > 100
    headers = loaded.read(DIM_ORDER).where("order_id LIKE 'money-%'").selectExpr("sum(amount)").collect()[0][0]
    items = loaded.read(FACT_SALES).where("order_id LIKE 'money-%'").selectExpr("sum(line_amount)").collect()[0][0]
    sales = loaded.read(DAILY_SALES).where("order_date >= DATE'2024-05-01'").selectExpr("sum(revenue)").collect()[0][0]
    with localcontext(prec=80):
        assert headers == sum(map(amount, applied))
        assert sum(map(amount, lines)) == headers + sum(map(amount, kept))
        assert items == sales == sum(map(line_amount, applied))
        assert sum(map(line_amount, lines)) == items + sum(map(line_amount, kept))


def test_money_is_refused_only_where_it_does_not_fit(loaded: Job) -> None:
    """Beyond 14 integer digits or 4 decimals, or of so many digits with an exponent that no parser holds it exactly."""
    kept = [row["raw"] for row in loaded.read(QUARANTINE).where("raw LIKE '%money-%'").select("raw").collect()]
    assert [line for line in kept if is_order(line) and not re.search(r"[0-9.]{15,}[eE]", line)] == []
    lost = set(kept)
    assert [line for line in money_lines() if line not in lost and not is_order(line)] == []


def is_order(line: str) -> bool:
    """Whether the oracle takes a record."""
    try:
        read_order(line)
    except RecordError:
        return False
    return True


def amount(line: str) -> Decimal:
    """The amount of a record as it is written."""
    return Decimal(read_object(line)["amount"])


def line_amount(line: str) -> Decimal:
    """The sum of the items of a record as they are written."""
    items = read_object(line)["items"]
    return sum((Decimal(item["qty"]) * Decimal(item["price"]) for item in items), Decimal(0))


def test_the_tables_are_where_their_path_says_and_nowhere_else(loaded: Job) -> None:
    folder = loaded.root / WAREHOUSE
    assert (folder / "fact_sales" / "_delta_log").is_dir()
    assert sorted(path.name for path in loaded.root.iterdir()) == sorted(
        [Path(WAREHOUSE).parts[0], "landing", "output"]
    )
    assert loaded.metrics()["tables"]["fact_sales"]["rows_after"] > len(TEXTS)


def test_a_path_that_spark_would_take_for_another_is_refused(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.land("orders.jsonl")
    assert job.run("--set", f"warehouse={job.root}/${{env:HOME}}") == 2
    assert "for a variable: use another path" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        *("a.b; drop table x", "x; drop", "a`.`b", "a.b.c", "a..b", ".b", "a.", "a b", "a-b", "1a", "a'b", 'a"b', ""),
        *("a.b\n", "a/b", "a.${x}", "ä.b", "a.b--", "delta.`/tmp/x`"),
    ],
)
def test_a_catalog_name_that_is_not_plain_is_refused(job: Job, capsys: pytest.CaptureFixture[str], name: str) -> None:
    job.land("orders.jsonl")
    assert job.run("--set", f"warehouse=catalog:{name}") == 2
    assert "is not catalog:<catalog>.<schema> with plain names" in capsys.readouterr().err
