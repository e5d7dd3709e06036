"""Strict JSON: an object of the declared fields exactly as written, or the one reason why not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.records import ORDER_SHAPE
from etl_lib.reading.strict_json import JsonShape, parse_batch, parse_json
from tests.frames import frame

GOOD = '{"order_id":"a"}'


def parsed(raws: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """What these records say, in their order, as the parser tells it where it runs."""
    given = [raw.encode() if isinstance(raw, str) else raw for raw in raws]
    batch = {"raw": pa.array(given, pa.binary()), "read_error": pa.nulls(len(given), pa.string())}
    found: list[dict[str, Any]] = parse_batch(pa.RecordBatch.from_pydict(batch), ORDER_SHAPE).to_pylist()
    return found


def assert_errors(cases: Mapping[Any, str | None]) -> None:
    """Each record has the parse_error beside it."""
    found = zip(cases.items(), parsed(cases), strict=True)
    wrong = {raw: row["parse_error"] for (raw, error), row in found if row["parse_error"] != error}
    assert wrong == {}


def texts(raws: Iterable[str]) -> list[dict[str, Any]]:
    """What the records say, without what they leave out; each must be well-formed."""
    rows = parsed(raws)
    assert [row["parse_error"] for row in rows] == [None] * len(rows)
    return [given(row["texts"]) for row in rows]


def given(value: Any) -> Any:
    """A record without what is NULL in it."""
    if isinstance(value, dict):
        return {name: given(member) for name, member in value.items() if member is not None}
    return [given(item) for item in value] if isinstance(value, list) else value


MALFORMED = [
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


def test_what_is_not_exactly_one_json_value_is_malformed() -> None:
    assert_errors(dict.fromkeys(MALFORMED, "malformed_json"))


TWICE = [
    *(
        '{"order_id":"a","order_id":"a"}',
        '{"order_id":"a","order_id":"b"}',
        '{"order_id":"a","order\\u005fid":"b"}',
    ),
    *('{"metadata":{"source":"a","source":"b"}}', '{"items":[{"sku":"a","sku":"b"}]}', '{"x":{"y":1,"y":2}}'),
    '{"metadata":{"source":"a"},"metadata":{"promo":"b"}}',
]


def test_a_key_that_stands_twice_is_malformed() -> None:
    assert_errors(
        {
            **dict.fromkeys(TWICE, "malformed_json"),
            '{"order_id":"a","Order_id":"b"}': None,
            '{"items":[{"sku":"a"},{"sku":"a"}]}': None,
        },
    )


NO_OBJECTS = ["null", "true", "1", "1.5", '"x"', '"{}"', "[]", f"[{GOOD}]", " null "]


def test_a_record_is_an_object() -> None:
    objects = ["{}", GOOD, f" \t{GOOD}\r", f"\n{GOOD}\n"]
    assert_errors({**dict.fromkeys(NO_OBJECTS, "not_an_object"), **dict.fromkeys(objects)})


NOT_UTF8 = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xfe\xff"]


def test_bytes_that_are_not_utf8_are_refused() -> None:
    passing = ["é".encode(), "😀".encode(), "\ufffd".encode(), b"\x7f"]

    def record(text: bytes) -> bytes:
        return b'{"order_id":"' + text + b'"}'

    assert_errors({**dict.fromkeys(map(record, NOT_UTF8), "not_utf8"), **dict.fromkeys(map(record, passing))})


def test_a_nul_is_refused_and_an_escaped_backslash_before_u0000_is_none() -> None:
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
        {f'{{"order_id":"{text}"}}': error for text, error in cases.items()}
        | {r'{"metadata":{"promo":"\u0000"}}': "nul_in_text", r'{"x\u0000":1}': "nul_in_text"},
    )


LONE = "lone_surrogate"
SURROGATES = {
    r"\ud800": LONE,
    r"\udc00": LONE,
    r"\uD83D": LONE,
    r"\uDE00": LONE,
    r"\ud83dx": LONE,
    r"\ud83d\u0041": LONE,
    r"\ud83d\ud83d\ude00": LONE,
    r"\ud83d\ude00\ude00": LONE,
    r"\ude00\ud83d": LONE,
    r"\\\ud83d": LONE,
    r"\\\ude00": LONE,
    r"\ud83d\\ude00": LONE,
    r"\\ud83d\ude00": LONE,
    r"\\\ud83d\\ude00": LONE,
    r"\ud83d\n\ude00": LONE,
    r"\ud83d\ude00": None,
    r"\uD83D\uDE00": None,
    r"\uD83d\uDe00": None,
    r"x\ud83d\ude00\ud83d\ude00x": None,
    r"\\\ud83d\ude00": None,
    r"\\ud800": None,
    r"\\\\udc00": None,
    r"\ud7ff\ue000": None,
    "\\\\" * 60 + r"\ud83d\ude00": None,
    "\\\\" * 60 + r"\ude00": LONE,
    "\\\\" * 60 + r"\ud800": LONE,
    "\\\\" * 60 + "ud800": None,
}


def test_half_a_surrogate_pair_is_refused_wherever_it_stands() -> None:
    assert_errors(
        {f'{{"order_id":"{text}"}}': error for text, error in SURROGATES.items()}
        | {r'{"items":[{"sku":"\ud800"}]}': LONE, r'{"x":"\ud800"}': LONE, r'{"\ud800":1}': LONE},
    )


def test_escapes_are_read_as_what_they_stand_for() -> None:
    escapes = {r"\ud83d\ude00": "😀", r"\\ud800": r"\ud800", r"\\u0000": r"\u0000", r"\u00e9\n\"\/": 'é\n"/', "": ""}
    found = texts([f'{{"order_id":"{escape}"}}' for escape in escapes])
    assert [record["order_id"] for record in found] == list(escapes.values())


def test_an_object_or_an_array_is_no_text() -> None:
    members = ['"order_id":%s', '"amount":%s', '"metadata":{"promo":%s}', '"items":[{"sku":"a"},{"sku":%s}]']
    shapes = [f"{{{member}}}" % value for member in members for value in ("{}", "[]", '{"a":1}', '["a"]', " [ 1 ]")]
    assert_errors(dict.fromkeys(shapes, "wrong_type"))


LIKE_NESTED = ["{", "[", "{}", "[]", " {x", r"\n[x", r"\t{", r"\u007bx}", r"\u005bx]", r"\u0020[", r"{\"a\":1}", "x{"]


def test_a_text_may_begin_like_an_object_or_an_array() -> None:
    record = '{"order_id":"%s","metadata":{"promo":"%s"},"items":[{"sku":"%s"}]}'
    assert_errors({record % (text, text, text): None for text in LIKE_NESTED})
    found = texts([record % (text, text, text) for text in LIKE_NESTED])
    read = [json.loads(f'"{text}"') for text in LIKE_NESTED]
    assert found == [{"order_id": t, "metadata": {"promo": t}, "items": [{"sku": t}]} for t in read]


WRONG_TYPES = [
    *('{"items":{}}', '{"items":"x"}', '{"items":""}', '{"items":1}', '{"items":true}', '{"items":{"sku":"a"}}'),
    *('{"items":[1]}', '{"items":["a"]}', '{"items":[[]]}', '{"items":[{"sku":"a"},1]}', '{"items":[""]}'),
    *('{"metadata":[]}', '{"metadata":"x"}', '{"metadata":""}', '{"metadata":1}', '{"metadata":[{}]}'),
    *('{"deleted":"true"}', '{"deleted":1}', '{"deleted":0}', '{"deleted":""}', '{"deleted":[]}', '{"deleted":{}}'),
]


RIGHT_TYPES = [
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


def test_members_have_their_declared_types() -> None:
    assert_errors({**dict.fromkeys(WRONG_TYPES, "wrong_type"), **dict.fromkeys(RIGHT_TYPES)})


def test_a_wrong_type_is_told_whatever_else_the_record_says() -> None:
    long_id = '"order_id":"12345678901234567890"'
    members = ['"items":{}', '"items":[1]', '"metadata":[]', '"metadata":"x"', '"deleted":"yes"', '"user_id":{}']
    assert_errors({f"{{{long_id},{member}}}": "wrong_type" for member in members})


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


def test_numbers_keep_every_digit() -> None:
    record = '{"order_id":%s,"metadata":{"promo":%s},"items":[{"price":%s}]}'
    found = texts([record % (number, number, number) for number in NUMBERS])
    assert found == [{"order_id": t, "metadata": {"promo": t}, "items": [{"price": t}]} for t in NUMBERS.values()]


def test_digits_in_a_text_stay_that_text() -> None:
    digits = ["00012345678901234567890", "1.10", "1e400", "12345678901234567890.10", "1234567890123456."]
    found = texts([f'{{"order_id":"{text}"}}' for text in digits])
    assert [record["order_id"] for record in found] == digits


def test_a_member_reads_the_same_whatever_stands_beside_it() -> None:
    values = ["1", "1.10", "1.0", "100", "-0", "0.10", "1e2", "1E2", "1.5e1", "true", "false", "null", '"x"', '"1.10"']
    record = '{"order_id":"%s","amount":%s,"user_id":%s,"metadata":{"promo":%s},"items":[{"qty":%s},{"sku":%s}]}'
    found = {}
    for order_id in ("a", "12345678901234567890"):
        rows = parsed([record % (order_id, *(value,) * 5) for value in values])
        found[order_id] = [
            (value, row["parse_error"], row["texts"]["amount"], row["texts"]["metadata"], row["texts"]["items"])
            for value, row in zip(values, rows, strict=True)
        ]
    assert found["12345678901234567890"] == found["a"]


UNKNOWN_FIELDS: dict[str, list[str] | None] = {
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


def test_unknown_fields_are_named_once_with_their_place() -> None:
    found = [None if row["unknown_fields"] is None else sorted(row["unknown_fields"]) for row in parsed(UNKNOWN_FIELDS)]
    assert dict(zip(UNKNOWN_FIELDS, found, strict=True)) == UNKNOWN_FIELDS


DEEP = ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000]


def test_deep_nesting_is_refused_and_no_crash() -> None:
    inside = [f'{{"{name}":{nested}}}' for name in ("x", "items", "metadata", "order_id") for nested in DEEP[1:]]
    assert {row["parse_error"] for row in parsed([*DEEP, *inside])} == {"malformed_json"}


def nested(depth: int) -> str:
    """An object with arrays in each other."""
    return '{"x":' + "[" * depth + "]" * depth + "}"


def test_the_limit_of_the_parser_is_that_of_the_documentation() -> None:
    within = [nested(998), f'{{"x":"{"[" * 5000}"}}', '{"x":[' + "[]," * 5000 + "[]]}"]
    within += [f'{{"x":{"9" * 5001}}}', f'{{"{"k" * 50_001}":1}}', f'{{"x":"{"x" * 20_000_001}"}}']
    beyond = [nested(999), '{"x":"\\"[",' + nested(999)[1:]]
    assert_errors({**dict.fromkeys(within), **dict.fromkeys(beyond, "malformed_json")})


@pytest.mark.timeout(60)
def test_a_text_of_very_many_escapes_is_judged_at_once() -> None:
    escapes = [r"\u0041", r"\ud83d\ude00", r"\\\\", "\\\\" * 50 + r"\ud83d\ude00"]
    many = [f'{{"x":"{escape * (4_000_000 // len(escape))}"}}' for escape in escapes]
    assert_errors(dict.fromkeys(many))


def test_in_a_worker_every_record_says_the_same(spark: SparkSession) -> None:
    """More records than are parsed at once, read as a text file would be."""
    texts = [f'{{"order_id":"{text}"}}' for text in (*SURROGATES, *LIKE_NESTED, r"\u0000")]
    numbers = [f'{{"amount":{number}}}' for number in NUMBERS]
    kinds = [*MALFORMED, *TWICE, *NO_OBJECTS, *texts, *WRONG_TYPES, *RIGHT_TYPES, *numbers, *UNKNOWN_FIELDS]
    limits = [*DEEP, nested(998), nested(999)]
    raws: list[str | bytes] = [*kinds * 4, *limits, *(b'{"x":"' + text + b'"}' for text in NOT_UTF8)]
    assert len(raws) > 512
    rows = [(at, raw if isinstance(raw, bytes) else raw.encode()) for at, raw in enumerate(raws)]
    columns = {"raw": F.col("given").cast("string"), "read_error": F.lit(None).cast("string")}
    read = frame(spark, "at INT, given BINARY", *rows).withColumns(columns).coalesce(1)
    told = ["parse_error", "texts", "booleans", "unknown_fields"]
    found = parse_json(read, ORDER_SHAPE).orderBy("at").select(F.col("raw").cast("binary").alias("raw"), *told)
    in_worker = [row.asDict(recursive=True) for row in found.collect()]
    assert in_worker == [{name: row[name] for name in ("raw", *told)} for row in parsed(raws)]
    assert {row["parse_error"] for row in in_worker} == {
        *("malformed_json", "not_an_object", "not_utf8", "nul_in_text", LONE, "wrong_type", None)
    }


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
