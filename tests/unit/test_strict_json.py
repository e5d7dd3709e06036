"""Strict JSON: an object of the declared fields exactly as written, or the one reason why not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from etl_lib.order_records import ORDER_SHAPE
from etl_lib.strict_json import JsonShape, parse_batch, parse_json
from tests.frames import frame

GOOD = '{"order_id":"a"}'
DEEP = 100_000


def parsed(spark: SparkSession, raws: Iterable[str | bytes]) -> list[Row]:
    """What these records say, in their order and here as in a worker; bytes are read as a text file would be."""
    rows = [(at, raw.encode() if isinstance(raw, str) else raw) for at, raw in enumerate(raws)]
    columns = {"raw": F.col("given").cast("string"), "read_error": F.lit(None).cast("string")}
    found = parse_json(frame(spark, "at INT, given BINARY", *rows).withColumns(columns), ORDER_SHAPE)
    told = ["at", "parse_error", "texts", "unknown_fields"]
    in_worker = found.select(*told).orderBy("at").collect()
    batch = {
        "at": list(range(len(rows))),
        "raw": [raw for _, raw in rows],
        "read_error": pa.nulls(len(rows), pa.string()),
    }
    here = parse_batch(pa.RecordBatch.from_pydict(batch), ORDER_SHAPE).select(told)
    assert here.to_pylist() == [row.asDict(recursive=True) for row in in_worker]
    return in_worker


def assert_errors(spark: SparkSession, cases: Mapping[Any, str | None]) -> None:
    """Each record has the parse_error beside it."""
    found = zip(cases.items(), parsed(spark, cases), strict=True)
    wrong = {raw: row["parse_error"] for (raw, error), row in found if row["parse_error"] != error}
    assert wrong == {}


def texts(spark: SparkSession, raws: Iterable[str]) -> list[dict[str, Any]]:
    """What the records say, without what they leave out; each must be well-formed."""
    rows = parsed(spark, raws)
    assert [row["parse_error"] for row in rows] == [None] * len(rows)
    return [given(row["texts"].asDict(recursive=True)) for row in rows]


def given(value: Any) -> Any:
    """A record without what is NULL in it."""
    if isinstance(value, dict):
        return {name: given(member) for name, member in value.items() if member is not None}
    return [given(item) for item in value] if isinstance(value, list) else value


def test_what_is_not_exactly_one_json_value_is_malformed(spark: SparkSession) -> None:
    malformed = [
        *(
            "{",
            "}",
            '{"order_id":"a"',
            '{"order_id"}',
            '{"order_id":}',
            '{"order_id" "a"}',
            "{order_id:1}",
            '{"a":tru}',
        ),
        *('{"a":tru}', '{"order_id":"a",}', '{,"order_id":"a"}', '{"items":[1,]}', '{"items":[,1]}', '{"items":[1 2]}'),
        # numbers that JSON does not have
        *('{"amount":01}', '{"amount":1.}', '{"amount":.5}', '{"amount":+1}', '{"amount":0x10}', '{"amount":1e}'),
        *('{"amount":NaN}', '{"amount":Infinity}', '{"amount":-Infinity}', '{"amount":-}', '{"amount":INF}'),
        # other dialects
        *("{'order_id':'a'}", "{\"order_id\":'a'}", f"{GOOD}//x", f"{GOOD}/*x*/", f"#x\n{GOOD}", '{"a":undefined}'),
        # texts that JSON does not have
        *('{"a":"\t"}', '{"a":"\n"}', '{"a":"\x00"}', '{"a":"\\x41"}', '{"a":"\\u12"}', '{"a":"\\a"}'),
        # more than one value
        *(f"{GOOD} x", f"{GOOD}}}", f"{GOOD}]", f"{GOOD} {GOOD}", f"{GOOD}{GOOD}", f"{GOOD},{GOOD}", f"{GOOD},"),
        *(f"{GOOD},null", f"{GOOD}],[{GOOD}", f'{GOOD},"x":1', f"{GOOD}] x", f",{GOOD}", "1 2", "null,null"),
        # white space that is none to JSON
        *(f"\u00a0{GOOD}", f"{GOOD}\u2028", f"\x0b{GOOD}", f"\x0c{GOOD}", f"\ufeff\ufeff{GOOD}"),
    ]
    assert_errors(spark, dict.fromkeys(malformed, "malformed_json"))


def test_a_key_that_stands_twice_is_malformed(spark: SparkSession) -> None:
    twice = [
        *(
            '{"order_id":"a","order_id":"a"}',
            '{"order_id":"a","order_id":"b"}',
            '{"order_id":"a","order\\u005fid":"b"}',
        ),
        *('{"metadata":{"source":"a","source":"b"}}', '{"items":[{"sku":"a","sku":"b"}]}', '{"x":{"y":1,"y":2}}'),
        '{"metadata":{"source":"a"},"metadata":{"promo":"b"}}',
    ]
    assert_errors(
        spark,
        {
            **dict.fromkeys(twice, "malformed_json"),
            '{"order_id":"a","Order_id":"b"}': None,
            '{"items":[{"sku":"a"},{"sku":"a"}]}': None,
        },
    )


def test_a_record_is_an_object(spark: SparkSession) -> None:
    others = ["null", "true", "1", "1.5", '"x"', '"{}"', "[]", f"[{GOOD}]", " null "]
    objects = ["{}", GOOD, f" \t{GOOD}\r", f"\n{GOOD}\n"]
    assert_errors(spark, {**dict.fromkeys(others, "not_an_object"), **dict.fromkeys(objects)})


def test_bytes_that_are_not_utf8_are_refused(spark: SparkSession) -> None:
    refused = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xfe\xff"]
    passing = ["é".encode(), "😀".encode(), "\ufffd".encode(), b"\x7f"]

    def record(text: bytes) -> bytes:
        return b'{"order_id":"' + text + b'"}'

    assert_errors(spark, {**dict.fromkeys(map(record, refused), "not_utf8"), **dict.fromkeys(map(record, passing))})


def test_a_nul_is_refused_and_an_escaped_backslash_before_u0000_is_none(spark: SparkSession) -> None:
    cases = {
        r"\u0000": "nul_in_text",
        r"a\u0000b": "nul_in_text",
        r"\\\u0000": "nul_in_text",
        r"\u005c\u0000": "nul_in_text",
        r"\\u0000": None,
        r"\\\\u0000": None,
        r"\u0001": None,
    }
    assert_errors(
        spark,
        {f'{{"order_id":"{text}"}}': error for text, error in cases.items()}
        | {r'{"metadata":{"promo":"\u0000"}}': "nul_in_text", r'{"x\u0000":1}': "nul_in_text"},
    )


def test_half_a_surrogate_pair_is_refused_wherever_it_stands(spark: SparkSession) -> None:
    lone = "lone_surrogate"
    cases = {
        r"\ud800": lone,
        r"\udc00": lone,
        r"\uD83D": lone,
        r"\uDE00": lone,
        r"\ud83dx": lone,
        r"\ud83d\u0041": lone,
        r"\ud83d\ud83d\ude00": lone,
        r"\ud83d\ude00\ude00": lone,
        r"\ude00\ud83d": lone,
        r"\\\ud83d": lone,
        r"\\\ude00": lone,
        r"\ud83d\\ude00": lone,
        r"\\ud83d\ude00": lone,
        r"\\\ud83d\\ude00": lone,
        r"\ud83d\n\ude00": lone,
        r"\ud83d\ude00": None,
        r"\uD83D\uDE00": None,
        r"\uD83d\uDe00": None,
        r"x\ud83d\ude00\ud83d\ude00x": None,
        r"\\\ud83d\ude00": None,
        r"\\ud800": None,
        r"\\\\udc00": None,
        r"\ud7ff\ue000": None,
        "\\\\" * 60 + r"\ud83d\ude00": None,
        "\\\\" * 60 + r"\ude00": lone,
        "\\\\" * 60 + r"\ud800": lone,
        "\\\\" * 60 + "ud800": None,
    }
    assert_errors(
        spark,
        {f'{{"order_id":"{text}"}}': error for text, error in cases.items()}
        | {r'{"items":[{"sku":"\ud800"}]}': lone, r'{"x":"\ud800"}': lone, r'{"\ud800":1}': lone},
    )


def test_escapes_are_read_as_what_they_stand_for(spark: SparkSession) -> None:
    escapes = {r"\ud83d\ude00": "😀", r"\\ud800": r"\ud800", r"\\u0000": r"\u0000", r"\u00e9\n\"\/": 'é\n"/', "": ""}
    found = texts(spark, [f'{{"order_id":"{escape}"}}' for escape in escapes])
    assert [record["order_id"] for record in found] == list(escapes.values())


def test_an_object_or_an_array_is_no_text(spark: SparkSession) -> None:
    members = ['"order_id":%s', '"amount":%s', '"metadata":{"promo":%s}', '"items":[{"sku":"a"},{"sku":%s}]']
    shapes = [f"{{{member}}}" % value for member in members for value in ("{}", "[]", '{"a":1}', '["a"]', " [ 1 ]")]
    assert_errors(spark, dict.fromkeys(shapes, "wrong_type"))


def test_a_text_may_begin_like_an_object_or_an_array(spark: SparkSession) -> None:
    like = ["{", "[", "{}", "[]", " {x", r"\n[x", r"\t{", r"\u007bx}", r"\u005bx]", r"\u0020[", r"{\"a\":1}", "x{"]
    record = '{"order_id":"%s","metadata":{"promo":"%s"},"items":[{"sku":"%s"}]}'
    assert_errors(spark, {record % (text, text, text): None for text in like})
    found = texts(spark, [record % (text, text, text) for text in like])
    read = [json.loads(f'"{text}"') for text in like]
    assert found == [{"order_id": t, "metadata": {"promo": t}, "items": [{"sku": t}]} for t in read]


def test_members_have_their_declared_types(spark: SparkSession) -> None:
    wrong = [
        *('{"items":{}}', '{"items":"x"}', '{"items":""}', '{"items":1}', '{"items":true}', '{"items":{"sku":"a"}}'),
        *('{"items":[1]}', '{"items":["a"]}', '{"items":[[]]}', '{"items":[{"sku":"a"},1]}', '{"items":[""]}'),
        *('{"metadata":[]}', '{"metadata":"x"}', '{"metadata":""}', '{"metadata":1}', '{"metadata":[{}]}'),
        *('{"deleted":"true"}', '{"deleted":1}', '{"deleted":0}', '{"deleted":""}', '{"deleted":[]}', '{"deleted":{}}'),
    ]
    right = [
        *(
            '{"items":[]}',
            '{"items":null}',
            '{"items":[{}]}',
            '{"metadata":{}}',
            '{"metadata":null}',
            '{"order_id":null}',
        ),
        *('{"order_id":null}', '{"deleted":true}', '{"deleted":false}', '{"deleted":null}'),
    ]
    assert_errors(spark, {**dict.fromkeys(wrong, "wrong_type"), **dict.fromkeys(right)})


def test_a_wrong_type_is_told_whatever_else_the_record_says(spark: SparkSession) -> None:
    long_id = '"order_id":"12345678901234567890"'
    members = ['"items":{}', '"items":[1]', '"metadata":[]', '"metadata":"x"', '"deleted":"yes"', '"user_id":{}']
    assert_errors(spark, {f"{{{long_id},{member}}}": "wrong_type" for member in members})


NUMBERS = {
    "12345678901234567890": "12345678901234567890",
    "1234567890123456": "1234567890123456",
    "12345678901234.5678": "12345678901234.5678",
    "-12345678901234.5678": "-12345678901234.5678",
    "0.1000000000000000055511151231257827": "0.1000000000000000055511151231257827",
    "123456789012345": "123456789012345",
    "99999999999999.9": "99999999999999.9",
    "0": "0",
    "-1": "-1",
    "0.5": "0.5",
    "1.25": "1.25",
    "1.10": "1.10",
    "-0": "-0",
    "1e2": "1e2",
    "1E-400": "1E-400",
    "9" * 400: "9" * 400,
}


def test_numbers_keep_every_digit(spark: SparkSession) -> None:
    record = '{"order_id":%s,"metadata":{"promo":%s},"items":[{"price":%s}]}'
    found = texts(spark, [record % (number, number, number) for number in NUMBERS])
    assert found == [{"order_id": t, "metadata": {"promo": t}, "items": [{"price": t}]} for t in NUMBERS.values()]


def test_digits_in_a_text_stay_that_text(spark: SparkSession) -> None:
    digits = ["00012345678901234567890", "1.10", "1e400", "12345678901234567890.10", "1234567890123456."]
    found = texts(spark, [f'{{"order_id":"{text}"}}' for text in digits])
    assert [record["order_id"] for record in found] == digits


def test_a_member_reads_the_same_whatever_stands_beside_it(spark: SparkSession) -> None:
    values = ["1", "1.10", "1.0", "100", "-0", "0.10", "1e2", "1E2", "1.5e1", "true", "false", "null", '"x"', '"1.10"']
    record = '{"order_id":"%s","amount":%s,"user_id":%s,"metadata":{"promo":%s},"items":[{"qty":%s},{"sku":%s}]}'
    found = {}
    for order_id in ("a", "12345678901234567890"):
        rows = parsed(spark, [record % (order_id, *(value,) * 5) for value in values])
        found[order_id] = [
            (value, row["parse_error"], row["texts"]["amount"], row["texts"]["metadata"], row["texts"]["items"])
            for value, row in zip(values, rows, strict=True)
        ]
    assert found["12345678901234567890"] == found["a"]


def test_unknown_fields_are_named_once_with_their_place(spark: SparkSession) -> None:
    cases: dict[str, list[str] | None] = {
        GOOD: None,
        '{"order_id":"a","metadata":{"source":"x"},"items":[{"sku":"a"}],"deleted":true}': None,
        '{"Order_id":"a"}': ["Order_id"],
        '{"channel":null,"a.b":1,"":2,"record":3}': ["", "a.b", "channel", "record"],
        '{"metadata":{"source":"x","utm":{"a":1},"order_id":"b"}}': ["metadata.order_id", "metadata.utm"],
        '{"items":[{"sku":"a","colour":"x"},{"colour":"y","size":1},{"sku":"b"}]}': ["items.colour", "items.size"],
        '{"items":[null,{"colour":"x"}],"metadata":null,"x":1}': ["items.colour", "x"],
        '{"items":[{"colour":"x"}],"metadata":{"utm":1},"x":1}': ["items.colour", "metadata.utm", "x"],
        '{"order_id":"12345678901234567890","x":"[{","y":12345678901234567890}': ["x", "y"],
        "{": None,
        "[]": None,
    }
    found = [None if row["unknown_fields"] is None else sorted(row["unknown_fields"]) for row in parsed(spark, cases)]
    assert dict(zip(cases, found, strict=True)) == cases


def test_deep_nesting_is_refused_and_no_crash(spark: SparkSession) -> None:
    deep = ["[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP]
    inside = [f'{{"{name}":{nested}}}' for name in ("x", "items", "metadata", "order_id") for nested in deep[1:]]
    assert {row["parse_error"] for row in parsed(spark, [*deep, *inside])} == {"malformed_json"}


def test_the_limit_of_the_parser_is_that_of_the_documentation(spark: SparkSession) -> None:
    def nested(depth: int) -> str:
        return '{"x":' + "[" * depth + "]" * depth + "}"

    within = [nested(998), f'{{"x":"{"[" * 5000}"}}', '{"x":[' + "[]," * 5000 + "[]]}"]
    within += [f'{{"x":{"9" * 5001}}}', f'{{"{"k" * 50_001}":1}}', f'{{"x":"{"x" * 20_000_001}"}}']
    beyond = [nested(999), '{"x":"\\"[",' + nested(999)[1:]]
    assert_errors(spark, {**dict.fromkeys(within), **dict.fromkeys(beyond, "malformed_json")})


@pytest.mark.timeout(60)
def test_a_text_of_very_many_escapes_is_judged_at_once(spark: SparkSession) -> None:
    escapes = [r"\u0041", r"\ud83d\ude00", r"\\\\", "\\\\" * 50 + r"\ud83d\ude00"]
    many = [f'{{"x":"{escape * (4_000_000 // len(escape))}"}}' for escape in escapes]
    assert_errors(spark, dict.fromkeys(many))


def test_what_reading_found_comes_before_what_parsing_finds(spark: SparkSession) -> None:
    cases = [("{", "broken_array"), (GOOD, "broken_array"), ("{", None)]
    found = parse_json(frame(spark, "raw STRING, read_error STRING", *cases), ORDER_SHAPE)
    assert [row["parse_error"] for row in found.collect()] == ["broken_array", "broken_array", "malformed_json"]


def test_a_shape_may_be_texts_alone(spark: SparkSession) -> None:
    shape = JsonShape(texts=("a",), booleans=(), objects={}, arrays={})
    records = frame(spark, "raw STRING, read_error STRING", ('{"a":1}', None), ('{"b":[]}', None), ("{", None))
    found = parse_json(records, shape).select("texts.a", "parse_error", "unknown_fields").collect()
    assert [tuple(row) for row in found] == [("1", None, None), (None, None, ["b"]), (None, "malformed_json", None)]


def test_what_an_earlier_look_said_is_replaced(spark: SparkSession) -> None:
    columns = "unknown_fields ARRAY<STRING>, raw STRING, read_error STRING, parse_error STRING"
    looked_at = frame(spark, columns, (["y"], GOOD, None, "not_plain"))
    found = parse_json(looked_at, ORDER_SHAPE).select("raw", "parse_error", "unknown_fields").collect()
    assert [tuple(one) for one in found] == [(GOOD, None, None)]


def test_the_record_stays_beside_what_it_says(spark: SparkSession) -> None:
    found = parse_json(frame(spark, "raw STRING, read_error STRING, id INT"), ORDER_SHAPE)
    types = {field.name: field.dataType.simpleString() for field in found.schema}
    assert types == {
        "raw": "string",
        "read_error": "string",
        "id": "int",
        "parse_error": "string",
        "texts": (
            "struct<order_id:string,user_id:string,amount:string,currency:string,created_at:string,updated_at:string,"
            "metadata:struct<source:string,promo:string>,items:array<struct<sku:string,qty:string,price:string>>>"
        ),
        "booleans": "struct<deleted:boolean>",
        "unknown_fields": "array<string>",
    }
