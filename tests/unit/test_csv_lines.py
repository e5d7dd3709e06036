"""CSV of which every line is a record: fields by the names in the header of their file, strictly."""

from __future__ import annotations

import csv
import gzip
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from etl_lib.process.errors import SchemaError
from etl_lib.reading.csv_files import Header, surplus_columns
from etl_lib.reading.csv_lines import HeaderGroup, by_name, header_groups, read_csv_lines
from etl_lib.reading.first_line import first_lines
from etl_lib.reading.whole_files import RECORD_COLUMNS
from etl_lib.sources.landing import LandingFile, landing_files
from tests.frames import assert_same, collected, frame

COLUMNS = ("a", "b", "c")
MALFORMED, WRONG_COUNT = "malformed_csv", "wrong_column_count"
READ = "raw STRING, a STRING, b STRING, c STRING, is_header BOOLEAN, read_error STRING"
LINES = 500


def lines_of(spark: SparkSession, raws: Iterable[str | bytes]) -> DataFrame:
    """Lines as they are read from a file: `at` is their place, and bytes need not be UTF-8."""
    rows = ((at, raw if isinstance(raw, bytes) else raw.encode()) for at, raw in enumerate(raws))
    return frame(spark, "at INT, given BINARY", *rows).select("at", F.col("given").cast("string").alias("raw"))


def read(spark: SparkSession, raws: Iterable[str | bytes], header: Sequence[str] = COLUMNS) -> list[Row]:
    """What is added to each line of a file with this header."""
    group = HeaderGroup([], ",".join(header), Header(header), is_whole=False)
    return sorted(by_name(lines_of(spark, raws), group, COLUMNS).drop("raw").collect())


def assert_fields(
    spark: SparkSession, cases: Mapping[str, Sequence[str | None] | str], header: Sequence[str] = COLUMNS
) -> None:
    """Each line has the fields, or the error, beside it."""
    rows = zip(cases.items(), read(spark, cases, header), strict=True)
    found = {raw: row["read_error"] or list(row["given"]) for (raw, _), row in rows}
    assert found == {raw: expected if isinstance(expected, str) else list(expected) for raw, expected in cases.items()}


def test_fields_are_what_stands_between_commas(spark: SparkSession) -> None:
    assert_fields(
        spark,
        {
            "1,2,3": ["1", "2", "3"],
            " 1,2 ,\t3 ": [" 1", "2 ", "\t3 "],
            "é,漢,😀": ["é", "漢", "😀"],
            "\\,\\n,'3'": ["\\", "\\n", "'3'"],
            "1;2,$1,#3": ["1;2", "$1", "#3"],
            "\u2028,\x85,\x0b": ["\u2028", "\x85", "\x0b"],
            "\x01,\x7f,\ufeff": ["\x01", "\x7f", "\ufeff"],
            "NULL,null,NaN": ["NULL", "null", "NaN"],
        },
    )


def test_an_empty_field_is_null(spark: SparkSession) -> None:
    assert_fields(
        spark,
        {
            ",2,3": [None, "2", "3"],
            "1,,3": ["1", None, "3"],
            "1,2,": ["1", "2", None],
            ",,": [None, None, None],
            '"",2,3': [None, "2", "3"],
            '1,"",3': ["1", None, "3"],
            '1,2,""': ["1", "2", None],
            '"","",""': [None, None, None],
            ',"2",': [None, "2", None],
            '"1",,': ["1", None, None],
            ',,"3"': [None, None, "3"],
            " , ,'": [" ", " ", "'"],
        },
    )


def test_quotes_may_hold_commas_and_doubled_quotes(spark: SparkSession) -> None:
    assert_fields(
        spark,
        {
            '"1","2","3"': ["1", "2", "3"],
            '"1",2,3': ["1", "2", "3"],
            '1,2,"3"': ["1", "2", "3"],
            '"1,2",3,4': ["1,2", "3", "4"],
            '1,",,,",3': ["1", ",,,", "3"],
            '1,2,",3"': ["1", "2", ",3"],
            '"a ""b"" c",2,3': ['a "b" c', "2", "3"],
            '"""",2,""""""': ['"', "2", '""'],
            '1,"""2""",3': ["1", '"2"', "3"],
            '1,""",""",3': ["1", '","', "3"],
            '" 1 "," ",3': [" 1 ", " ", "3"],
            '"\\",2,"\\"""': ["\\", "2", '\\"'],
            '"é""漢",2,"😀,"': ['é"漢', "2", "😀,"],
            '"$1","\u2028","\x85"': ["$1", "\u2028", "\x85"],
        },
    )


def test_quotes_that_do_not_open_and_close_a_field_are_malformed(spark: SparkSession) -> None:
    malformed = [
        *('"1,2,3', '1,"2,3', '1,2,"3', '1,2,"', '"', '1,"2""","3', '1,2,"3""'),  # never closed
        *('"1"x,2,3', '1,"2" ,3', '1,2,"3"x', '"1""2"3,2,3', '1,"2"",3'),  # closed too early
        *('1,2,"3""x', '"1"";2,3'),
    ]
    assert_fields(spark, dict.fromkeys(malformed, MALFORMED))


def test_a_quote_within_a_field_is_a_quote_as_it_is_to_the_other_reader(spark: SparkSession) -> None:
    cases = {'1,a "b" c,3': ["1", 'a "b" c', "3"], ' "1",2"",3"': [' "1"', '2""', '3"']}
    assert [next(csv.reader([raw], strict=True)) for raw in cases] == list(cases.values())
    assert_fields(spark, cases)


def test_a_line_has_as_many_fields_as_its_header(spark: SparkSession) -> None:
    wrong = ["1", "1,2", ",", "1,2,3,", ",1,2,3", "1,2,3,4", ",,,", '"1,2,3"', '"1,2",3', '"1","2","3",""', "x" * 99]
    assert_fields(spark, dict.fromkeys(wrong, WRONG_COUNT))
    assert_fields(spark, {"1,2,3,4": ["1", "2", "3"], "1,2,3": WRONG_COUNT, ",,,": [None] * 3}, ("a", "b", "c", "d"))


def test_a_line_with_another_count_keeps_the_fields_that_it_has(spark: SparkSession) -> None:
    rows = read(spark, ["1,2", "1,2,3,4", '"1'])
    assert [list(row["given"]) for row in rows] == [["1", "2", None], ["1", "2", "3"], [None] * 3]


def test_blank_lines_are_no_error(spark: SparkSession) -> None:
    blank = ["", " ", "\t", "\r", " \t \r", "\ufeff"]
    assert [(row["read_error"], row["is_header"]) for row in read(spark, blank)] == [(None, False)] * len(blank)


def test_fields_have_the_names_that_stand_over_them(spark: SparkSession) -> None:
    assert_fields(spark, {"3,x,1,2": ["1", "2", "3"], '"3",,"1",': ["1", None, "3"]}, ("c", "x", "a", "b"))
    assert_fields(spark, {"y,3,x,2,1": ["1", "2", "3"]}, ("x", "c", "x", "b", "a"))
    assert_fields(spark, {"0,1,2,3": ["1", "2", "3"]}, ("A", "a", "b", "c"))


def test_the_header_line_is_told_wherever_it_stands(spark: SparkSession) -> None:
    group = HeaderGroup([], '"a", b ,c', Header(COLUMNS), is_whole=False)
    raws = ['"a", b ,c', "1,2,3", '"a", b ,c', "a,b,c", '"a", b ,c ']
    rows = sorted(by_name(lines_of(spark, raws), group, COLUMNS).collect())
    assert [row["is_header"] for row in rows] == [True, False, True, False, False]
    assert [row["read_error"] for row in rows] == [None] * 5


def test_a_line_of_a_blank_file_is_neither_a_header_nor_an_error(spark: SparkSession) -> None:
    rows = sorted(
        by_name(lines_of(spark, ["", " ", "\t"]), HeaderGroup([], "", Header(()), is_whole=False), COLUMNS).collect()
    )
    assert [(list(row["given"]), row["read_error"]) for row in rows] == [([None] * 3, None)] * 3
    assert [row["is_header"] for row in rows] == [False] * 3


def test_what_is_added_stands_beside_the_exact_text(spark: SparkSession) -> None:
    lines = frame(spark, "raw STRING, id INT", (' "1",2 , 3', 7))
    found = by_name(lines, HeaderGroup([], "a,b,c", Header(COLUMNS), is_whole=False), COLUMNS)
    types = {field.name: field.dataType.simpleString() for field in found.schema}
    given = "struct<a:string,b:string,c:string>"
    assert types == {"raw": "string", "id": "int", "given": given, "is_header": "boolean", "read_error": "string"}
    assert found.select("raw", "id").collect() == [Row(raw=' "1",2 , 3', id=7)]


def test_nul_and_bytes_that_are_not_utf8_cost_no_other_field(spark: SparkSession) -> None:
    rows = read(spark, [b"1,\x002,3", b'1,"\x002",3', b"1,\xff,3", b'"1,",\xc3,"3"', b'"1",2,"\xed\xa0\x80'])
    assert [row["read_error"] for row in rows] == [None, None, None, None, MALFORMED]
    assert [row["given"]["b"] for row in rows[:2]] == ["\x002", "\x002"]
    assert [(row["given"]["a"], row["given"]["c"]) for row in rows[2:4]] == [("1", "3"), ("1,", "3")]


def test_long_lines_cost_no_stack(spark: SparkSession) -> None:
    size = 1_000_000
    long, quotes, commas = "x" * size, '"' * size, "," * size
    cases = {
        f"1,{long},3": ["1", long, "3"],
        f'1,"{long}",3': ["1", long, "3"],
        f'1,"{commas}",""': ["1", commas, None],
        f'1,"{quotes}",3': ["1", quotes[: size // 2], "3"],
        f'1,"{quotes}"",3': MALFORMED,
        f'1,"{long},3': MALFORMED,
        commas: WRONG_COUNT,
        '"",' * (size // 10): WRONG_COUNT,
        '"",' * (size // 10) + '"': MALFORMED,
    }
    for (raw, expected), row in zip(cases.items(), read(spark, cases), strict=True):
        found = row["read_error"] or list(row["given"])
        assert found == (expected if isinstance(expected, str) else list(expected)), raw[:20]


# --- agreement with Python's strict csv -------------------------------------------------------------------------------

FIELDS = [
    "",
    "",
    "1",
    "x y",
    " ",
    "a,b",
    ",",
    '"',
    '""',
    'a"b',
    '","',
    "é",
    "\u2028",
    "\x00",
    "\\",
    "'",
    "2020-11-01",
    "-1.5",
]


def random_line(dice: random.Random) -> str:
    """A line of a few fields, some in quotes, and now and then with a character too many or too few."""

    def written(field: str) -> str:
        must = "," in field or '"' in field
        return '"' + field.replace('"', '""') + '"' if must or dice.random() < 0.3 else field

    line = ",".join(written(dice.choice(FIELDS)) for _ in range(dice.choice((1, 2, 3, 3, 3, 3, 4))))
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2))):
        at = dice.randint(0, len(line))
        line = line[:at] + dice.choice(('"', '"', '""', ",", "x", " ", "")) + line[at + dice.choice((0, 0, 1)) :]
    return line


def strict_fields(line: str) -> list[str | None] | str:
    """What Python says to a line; a quote within a field without quotes, which it lets pass, has a test of its own."""
    try:
        fields = next(csv.reader([line], strict=True))
    except csv.Error:
        return MALFORMED
    quoted = [(field, '"' + field.replace('"', '""') + '"') for field in fields]
    forms = (re.escape(text) if '"' in field else f"{re.escape(text)}|{re.escape(field)}" for field, text in quoted)
    if not re.fullmatch(",".join(f"(?:{form})" for form in forms), line):
        return "a quote within a field"
    return [field or None for field in fields] if len(fields) == len(COLUMNS) else WRONG_COUNT


def test_random_lines_are_read_as_python_reads_them(spark: SparkSession) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - told below when it matters
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    expected = {line: strict_fields(line) for line in (random_line(dice) for _ in range(LINES)) if line.strip()}
    lines = [line for line, fields in expected.items() if fields != "a quote within a field"]
    found = {line: row["read_error"] or list(row["given"]) for line, row in zip(lines, read(spark, lines), strict=True)}
    wrong = {line: (found[line], expected[line]) for line in lines if found[line] != expected[line]}
    assert wrong == {}, f"seed {seed}"
    told = [fields for fields in found.values() if isinstance(fields, str)]
    assert min(told.count(MALFORMED), told.count(WRONG_COUNT), len(found) - len(told)) > LINES // 20, f"seed {seed}"


# --- files ------------------------------------------------------------------------------------------------------------


def landed(spark: SparkSession, folder: Path, contents: Mapping[str, bytes]) -> list[LandingFile]:
    """Files with these contents, as the job finds them."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return collected(landing_files(spark, str(folder), "input.pays"))


def names(files: Iterable[LandingFile]) -> list[str]:
    return [Path(file.path).name for file in files]


def test_files_with_the_same_first_line_are_one_group(spark: SparkSession, tmp_path: Path) -> None:
    files = landed(
        spark,
        tmp_path,
        {
            "1.csv": b"a,b,c\n1,2,3\n",
            "2.csv": b"c,x,a,b\n",
            "3.csv": b"\n \na,b,c\n",
            "4.csv": b'"a",b,c',
            "5.csv.gz": gzip.compress(b"c,x,a,b\n3,0,1,2\n"),
            "6.csv": b"\n",
            "7.csv": b" \n\t\n",
            "8.csv": b"x, y ,a,b,c\n",
            "9.csv": b"\xef\xbb\xbfa,b,c\r\n1,2,3\r\n",
            "A.csv": "a,b,c\n1,2,3\n".encode("utf-16"),
            "B.csv": b'x, A,b, "C"\n',
        },
    )
    first = first_lines(spark, files)
    groups = header_groups(files, first, COLUMNS)
    assert {(group.line, tuple(group.header.names), tuple(names(group.files))) for group in groups} == {
        ("", (), ("6.csv", "7.csv")),
        ("a,b,c", COLUMNS, ("1.csv", "3.csv", "9.csv")),
        ('"a",b,c', COLUMNS, ("4.csv",)),
        ("c,x,a,b", ("c", "x", "a", "b"), ("2.csv", "5.csv.gz")),
        ("x, y ,a,b,c", ("x", "y", *COLUMNS), ("8.csv",)),
        ("a,b,c", COLUMNS, ("A.csv",)),
        ('x, A,b, "C"', ("x", *COLUMNS), ("B.csv",)),
    }
    assert [names(group.files) for group in groups if group.is_whole] == [["A.csv"]]
    assert surplus_columns(first, COLUMNS) == {"x": 4, "y": 1, "A": 1, "C": 1}


def test_without_files_there_are_no_lines(spark: SparkSession) -> None:
    columns = f"{RECORD_COLUMNS}, given STRUCT<a: STRING, b: STRING, c: STRING>, is_header BOOLEAN"
    assert_same(read_csv_lines(spark, [], {}, COLUMNS), frame(spark, columns))
    assert surplus_columns({}, COLUMNS) == {}


def test_every_header_that_does_not_fit_is_told_at_once(spark: SparkSession, tmp_path: Path) -> None:
    contents = {
        "1.csv": b"a,b\n",
        "2.csv": b"a,b,c\n",
        "3.csv": b"A;b;c\n",
        "4.csv": b"a,b,c,b\n",
        "5.csv": b'"a"x,b,c\n',
    }
    files = landed(spark, tmp_path, contents)
    with pytest.raises(SchemaError) as caught:
        header_groups(files, first_lines(spark, files), COLUMNS)
    told = [line.strip().removeprefix(str(tmp_path)) for line in str(caught.value).splitlines()]
    told = [re.sub(r"^file:/*.*/(\d\.csv)", r"\1", line) for line in told]
    assert told[1:4] == [
        "1.csv: column c is missing (found a, b)",
        "3.csv: its columns are separated by semicolons; write commas between them",
        "4.csv: column b stands twice",
    ]
    assert len(told) == 5
    assert told[4].startswith("5.csv: the header is not CSV")


def test_each_file_is_read_by_its_own_header(spark: SparkSession, tmp_path: Path) -> None:
    files = landed(
        spark,
        tmp_path,
        {
            "1 %.csv": b'\xef\xbb\xbfa,b,c\r\n1,2,3\r\n\r\n\xef\xbb\xbfa,b,c\r\n\xef\xbb\xbf4,"5\r\n6",7\r\n8,9,',
            "2.csv.gz": gzip.compress('c,b,x,A\n3,"é, ""2""",,1\n'.encode()),
        },
    )
    found = read_csv_lines(spark, files, first_lines(spark, files), COLUMNS)
    assert_same(
        found.select("raw", "given.*", "is_header", "read_error"),
        frame(
            spark,
            READ,
            ("a,b,c", "a", "b", "c", True, None),
            ("1,2,3", "1", "2", "3", False, None),
            ("", None, None, None, False, None),
            ("\ufeffa,b,c", "a", "b", "c", True, None),
            ('\ufeff4,"5', None, None, None, False, MALFORMED),  # no field holds a line break
            ('6",7', '6"', "7", None, False, WRONG_COUNT),
            ("8,9,", "8", "9", None, False, None),
            ("c,b,x,A", "A", "b", "c", True, None),
            ('3,"é, ""2""",,1', "1", 'é, "2"', "3", False, None),
        ),
    )
