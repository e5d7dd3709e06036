"""CSV records: columns by header name, exact raw text, the line on which each begins."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import SchemaError
from etl_lib.reading.csv_files import CsvRecord, Header, read_csv_records, read_headers, split_csv, surplus_columns
from etl_lib.reading.first_line import FirstLine, first_lines
from etl_lib.reading.whole_files import RECORD_COLUMNS
from etl_lib.settings.rules import STRUCTURAL
from etl_lib.sources.landing import LandingFile, landing_files
from tests.frames import assert_same, collected, frame

COLUMNS = ("sku", "name", "price")
MALFORMED, WRONG_COUNT = "malformed_csv", "wrong_column_count"


def good(raw: str, line: int, *fields: str | None) -> CsvRecord:
    return raw, line, None, list(fields)


def bad(raw: str, line: int, error: str) -> CsvRecord:
    return raw, line, error, [None, None, None]


@pytest.mark.parametrize(
    ("text", "records"),
    [
        pytest.param(
            "sku,name,price\ns1,Lamp,1.10\ns2,Desk,2\n",
            [good("s1,Lamp,1.10", 2, "s1", "Lamp", "1.10"), good("s2,Desk,2", 3, "s2", "Desk", "2")],
            id="plain",
        ),
        pytest.param(
            "price,note,name,sku\n1.10,x,Lamp,s1", [good("1.10,x,Lamp,s1", 2, "s1", "Lamp", "1.10")], id="other order"
        ),
        pytest.param("sku,name,price\n", [], id="a header alone"),
        pytest.param(" sku ,name, price\ns1, Lamp ,1", [good("s1, Lamp ,1", 2, "s1", " Lamp ", "1")], id="spaces"),
        pytest.param(
            '"sku",name,price\ns1,"Lamp, big",1', [good('s1,"Lamp, big",1', 2, "s1", "Lamp, big", "1")], id="comma"
        ),
        pytest.param(
            'sku,name,price\ns1,"Lamp\nbig",1\ns2,Desk,2',
            [good('s1,"Lamp\nbig",1', 2, "s1", "Lamp\nbig", "1"), good("s2,Desk,2", 4, "s2", "Desk", "2")],
            id="newline in quotes",
        ),
        pytest.param(
            'sku,name,price\ns1,"a ""b"" c",1', [good('s1,"a ""b"" c",1', 2, "s1", 'a "b" c', "1")], id="quotes"
        ),
        pytest.param(
            'sku,name,price\ns1,a "b" c,1', [good('s1,a "b" c,1', 2, "s1", 'a "b" c', "1")], id="quotes within"
        ),
        pytest.param(
            'sku,name,price\r\ns1,"Lamp\r\nbig",1\r\ns2,Desk,2\r\n',
            [good('s1,"Lamp\r\nbig",1', 2, "s1", "Lamp\r\nbig", "1"), good("s2,Desk,2", 4, "s2", "Desk", "2")],
            id="CRLF",
        ),
        pytest.param(
            "\ufeffsku,name,price\ns1,Lamp,1", [good("s1,Lamp,1", 2, "s1", "Lamp", "1")], id="byte order mark"
        ),
        pytest.param(
            '\ufeff"sku",name,price\ns1,Lamp,1', [good("s1,Lamp,1", 2, "s1", "Lamp", "1")], id="mark and quote"
        ),
        pytest.param(
            "sku,name,price\ns1,a\u2028b\x0bc\x85d,1",
            [good("s1,a\u2028b\x0bc\x85d,1", 2, "s1", "a\u2028b\x0bc\x85d", "1")],
            id="separators that end no line",
        ),
        pytest.param('sku,name,price\ns1,,""', [good('s1,,""', 2, "s1", None, None)], id="empty is NULL"),
        pytest.param(
            "\n\nsku,name,price\n\ns1,Lamp,1\n\n\ns2,Desk,2\n\n",
            [good("s1,Lamp,1", 5, "s1", "Lamp", "1"), good("s2,Desk,2", 8, "s2", "Desk", "2")],
            id="blank lines",
        ),
        pytest.param(
            " \nsku,name,price\ns1,Lamp,1\n \t\ns2,Desk,2",
            [good("s1,Lamp,1", 3, "s1", "Lamp", "1"), good("s2,Desk,2", 5, "s2", "Desk", "2")],
            id="lines with nothing but white space",
        ),
        pytest.param(
            "sku,name,price\ns1,Lamp\ns2,Desk,2,x\ns3,Bed,3",
            [
                bad("s1,Lamp", 2, WRONG_COUNT),
                bad("s2,Desk,2,x", 3, WRONG_COUNT),
                good("s3,Bed,3", 4, "s3", "Bed", "3"),
            ],
            id="fewer and more fields",
        ),
        pytest.param(
            'sku,name,price\ns1,"La"mp,1\ns2,Desk,2',
            [bad('s1,"La"mp,1', 2, MALFORMED), good("s2,Desk,2", 3, "s2", "Desk", "2")],
            id="text after a quote",
        ),
        pytest.param(
            'sku,name,price\ns1,Lamp,1\ns2,"Desk,2\ns3,Bed,3\n',
            [good("s1,Lamp,1", 2, "s1", "Lamp", "1"), bad('s2,"Desk,2\ns3,Bed,3', 3, MALFORMED)],
            id="a quote that is never closed takes the rest",
        ),
        pytest.param(
            'sku,name,price\ns1,"La\nmp"x,1\ns2,Desk,2',
            [bad('s1,"La\nmp"x,1', 2, MALFORMED), good("s2,Desk,2", 4, "s2", "Desk", "2")],
            id="an error on the second line of a record",
        ),
        pytest.param("", [], id="nothing"),
        pytest.param("\ufeff\n", [], id="nothing but a mark"),
    ],
)
def test_csv_is_split_into_records_with_their_exact_text(text: str, records: list[CsvRecord]) -> None:
    assert list(split_csv(text, COLUMNS)) == records


def test_a_field_may_be_longer_than_what_the_reader_takes_by_default() -> None:
    name = "x" * 200_000
    assert list(split_csv(f"sku,name,price\ns1,{name},1", COLUMNS)) == [good(f"s1,{name},1", 2, "s1", name, "1")]


def landed(spark: SparkSession, folder: Path, contents: Mapping[str, bytes]) -> list[LandingFile]:
    """Files with these contents, as the job finds them."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return collected(landing_files(spark, str(folder), "input.products"))


def test_headers_may_have_any_order_and_further_columns_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    files = landed(
        spark,
        tmp_path,
        {
            "a.csv": b"price,sku,note,name\n1,s1,x,Lamp\n",
            "b.csv": '\ufeff"sku", name ,price,note,colour\r\n'.encode(),
            "c.csv.gz": gzip.compress(b"\nsku,name,price\n"),
            "empty.csv": b"",
            "blank.csv": b"\n\n",
        },
    )
    assert surplus_columns(first_lines(spark, files), COLUMNS) == {"note": 2, "colour": 1}
    assert surplus_columns({}, COLUMNS) == {}


def test_a_header_gives_the_names_of_its_columns_in_their_order() -> None:
    lines = {
        "a": "price,sku,note,name",
        "b": '\ufeff"sku", name ,price',
        "c": 'sku,name,price,"a ""b"", c"',
        "d": 'SKU, "Name",\tprice\u00a0, "x, y"',
        "e": "SKU,sku,name,price",
    }
    found = read_headers({path: FirstLine(line) for path, line in lines.items()}, COLUMNS)
    assert found == {
        "a": Header(["price", "sku", "note", "name"], ["note"]),
        "b": Header(["sku", "name", "price"], []),
        "c": Header(["sku", "name", "price", 'a "b", c'], ['a "b", c']),
        "d": Header(["sku", "name", "price", "x, y"], ["SKU", "Name", "x, y"]),
        "e": Header(["SKU", "sku", "name", "price"], ["SKU"]),
    }
    assert read_headers({}, COLUMNS) == {}


def test_every_header_that_does_not_fit_is_told_at_once(spark: SparkSession, tmp_path: Path) -> None:
    files = landed(
        spark,
        tmp_path,
        {
            "a.csv": b"sku,Name,name,sku\n",
            "b.csv": b"s1;Lamp;1\n",
            "d.csv": b'Sku;"name"; price\n',
            "e.csv": b"sku\tname\tprice\n",
            "f.csv": b"sku|name|price|x\n",
            "g.csv": "sku,name,price\n".encode("utf-32"),
            "h.csv": "sku,name,price\n".encode("utf-16-le"),
            "i.csv": b"sku,name,price,SKU,Price\n",
            "j.csv": b"Sku,SKU,name,price\n",
            "good.csv": b"sku,name,price\n",
            "c.csv": b'"sku" x,name,price\n',
        },
    )
    with pytest.raises(SchemaError) as caught:
        surplus_columns(first_lines(spark, files), COLUMNS)
    a, b, c, d, e, f, g, h, _, j = (file.path for file in files if "good" not in file.path)
    head, *told = str(caught.value).splitlines()
    assert head == "CSV headers do not name the columns that are needed:"
    assert [line.strip() for line in told[:5]] == [
        f"{a}: column price is missing (found sku, Name, name, sku)",
        f"{a}: column sku stands twice",
        f"{b}: column sku is missing (found s1;Lamp;1)",
        f"{b}: column name is missing (found s1;Lamp;1)",
        f"{b}: column price is missing (found s1;Lamp;1)",
    ]
    assert told[5].strip().startswith(f"{c}: the header is not CSV")
    assert [line.strip() for line in told[6:]] == [
        f"{d}: its columns are separated by semicolons; write commas between them",
        f"{e}: its columns are separated by tabs; write commas between them",
        f"{f}: its columns are separated by bars (|); write commas between them",
        f"{g}: {STRUCTURAL['not_utf8']}",
        f"{h}: {STRUCTURAL['not_utf8']}",
        f"{j}: column sku stands twice",
    ]


def test_the_records_of_all_files_are_read_with_their_place(spark: SparkSession, tmp_path: Path) -> None:
    files = landed(
        spark,
        tmp_path,
        {
            "a b+1%.csv": "price,sku,name\n1.10,s1,Lämp\n\n2,s2\n".encode(),
            "b.csv.gz": gzip.compress(b'sku,name,price\ns3,"a\nb",3\ns4,\xff,4\n'),
        },
    )
    a, b = files
    actual = read_csv_records(spark, files, COLUMNS)
    assert actual.drop("given").schema == frame(spark, RECORD_COLUMNS).schema
    assert_same(
        actual.select(F.hex(F.col("raw").cast("binary")).alias("raw"), "source_file", "row", "read_error", "given.*"),
        frame(
            spark,
            "raw STRING, source_file STRING, row BIGINT, read_error STRING, sku STRING, name STRING, price STRING",
            ("1.10,s1,Lämp".encode().hex().upper(), a.path, 2, None, "s1", "Lämp", "1.10"),
            (b"2,s2".hex().upper(), a.path, 4, WRONG_COUNT, None, None, None),
            (b's3,"a\nb",3'.hex().upper(), b.path, 2, None, "s3", "a\nb", "3"),
            (b"s4,\xff,4".hex().upper(), b.path, 4, None, "s4", "?", "4"),
        ),
    )


@pytest.mark.classic  # the texts that it collects are no UTF-8, which a client of Spark Connect refuses
def test_marks_encodings_and_the_header_s_case_change_no_record(spark: SparkSession, tmp_path: Path) -> None:
    text = 'SKU, "name" ,price,Note\ns1,"Lämp\n1",1\ns2,😀,2,x\n'
    half = "x\ud83d".encode("utf-16-le", "surrogatepass")
    contents = {
        "little.csv": f"\ufeff{text}".encode("utf-16-le"),
        "big.csv": f"\ufeff{text}".encode("utf-16-be"),
        "utf-8.csv": text.encode(),
        "marks.csv": text.replace("s1", "\ufeffs1").replace("s2", "\ufeffs2").encode(),
        "cut off.csv": text.encode("utf-16") + b"s",
        "half.csv": text.encode("utf-16").replace("😀".encode("utf-16-le"), half),
    }
    files = landed(spark, tmp_path, contents)
    assert surplus_columns(first_lines(spark, files), COLUMNS) == {"SKU": 6, "Note": 6}
    rows = read_csv_records(spark, files, COLUMNS).collect()
    found: dict[str, list[tuple[str | None, ...]]] = {}
    for row in sorted(rows, key=lambda row: (row["source_file"], row["row"])):
        found.setdefault(Path(row["source_file"]).name, []).append(tuple(row["given"]))
    whole = [(None, None, None), ("s2", "😀", "2")]
    assert found == {
        **dict.fromkeys(("little.csv", "big.csv", "utf-8.csv", "marks.csv"), whole),
        "cut off.csv": [*whole, (None, None, None)],
        "half.csv": [whole[0], ("s2", "x?", "2")],
    }
    texts = read_csv_records(spark, files, COLUMNS).where(F.is_valid_utf8("raw")).groupBy("source_file").count()
    assert {Path(row[0]).name: row[1] for row in texts.collect()} == {**dict.fromkeys(contents, 2), "half.csv": 1}


def test_without_files_there_are_no_records(spark: SparkSession) -> None:
    empty = frame(spark, f"{RECORD_COLUMNS}, given STRUCT<sku: STRING, name: STRING, price: STRING>")
    assert_same(read_csv_records(spark, [], COLUMNS), empty)
