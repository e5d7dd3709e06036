"""Plain JSON: which lines are plain, and that these say the same to the strict parsers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl_lib.reading.plain_json import plain_texts
from etl_lib.reading.records import PLAIN_MEMBERS, VIEW_SHAPE
from etl_lib.reading.strict_json import parse_json
from tests.frames import frame

PLAIN = '{"day":"2020-11-01","event_data":{"position":0,"value_prop":"point"},"user_id":98702}'
TEXTS = ["2020-11-01", "0", "point", "98702"]
MEMBERS = ("day", "position", "value_prop", "user_id")
SEED, LINES = 20201101, 600


def lines_of(spark: SparkSession, raws: Iterable[str | bytes]) -> DataFrame:
    """Lines as they are read from a file: `at` is their place, and bytes need not be UTF-8."""
    rows = ((at, raw if isinstance(raw, bytes) else raw.encode()) for at, raw in enumerate(raws))
    return frame(spark, "at INT, given BINARY", *rows).select("at", F.col("given").cast("string").alias("raw"))


def read(spark: SparkSession, raws: Iterable[str | bytes]) -> list[list[str] | None]:
    """The four texts of each line, or None where it is not plain."""
    found = lines_of(spark, raws).select("at", plain_texts(F.col("raw"), PLAIN_MEMBERS).alias("texts"))
    texts = [row["texts"] for row in sorted(found.collect())]
    assert all(some is None or some[0] == "" for some in texts), "an empty text stands first"
    return [None if some is None else some[1:] for some in texts]


def not_plain(spark: SparkSession, raws: Iterable[str | bytes]) -> None:
    """None of these lines is plain."""
    lines = list(raws)
    wrong = [line for line, texts in zip(lines, read(spark, lines), strict=True) if texts is not None]
    assert wrong == []


def line(**values: str) -> str:
    """A line with these values, each as it is written in JSON."""
    found = {"day": '"2020-11-01"', "position": "0", "value_prop": '"point"', "user_id": "98702"} | values
    data = f'{{"position":{found["position"]},"value_prop":{found["value_prop"]}}}'
    return f'{{"day":{found["day"]},"event_data":{data},"user_id":{found["user_id"]}}}'


def test_one_space_may_follow_a_colon_and_a_comma(spark: SparkSession) -> None:
    spaced = PLAIN.replace(":", ": ").replace(",", ", ")
    mixed = PLAIN.replace('"user_id":', '"user_id": ').replace(',"value_prop"', ', "value_prop"')
    assert line() == PLAIN
    assert read(spark, [PLAIN, spaced, mixed]) == [TEXTS] * 3
    not_plain(
        spark,
        [
            PLAIN.replace(":", ":  "),
            PLAIN.replace(":", ":\t"),
            PLAIN.replace(":", " :"),
            PLAIN.replace(",", " ,"),
            PLAIN.replace(":", ":\u00a0"),
            PLAIN.replace("{", "{ "),
            PLAIN.replace("}", " }"),
        ],
    )


def test_members_stand_in_their_order_and_there_are_no_others(spark: SparkSession) -> None:
    not_plain(
        spark,
        [
            '{"event_data":{"position":0,"value_prop":"point"},"day":"2020-11-01","user_id":98702}',
            '{"day":"2020-11-01","event_data":{"value_prop":"point","position":0},"user_id":98702}',
            '{"day":"2020-11-01","user_id":98702,"event_data":{"position":0,"value_prop":"point"}}',
            # without one
            '{"event_data":{"position":0,"value_prop":"point"},"user_id":98702}',
            '{"day":"2020-11-01","event_data":{"value_prop":"point"},"user_id":98702}',
            '{"day":"2020-11-01","event_data":{},"user_id":98702}',
            '{"day":"2020-11-01","user_id":98702}',
            "{}",
            # with one more
            '{"x":1,' + PLAIN[1:],
            PLAIN[:-1] + ',"x":1}',
            PLAIN[:-1] + ',"x":{"y":1}}',
            PLAIN.replace('"position"', '"x":1,"position"'),
            PLAIN.replace('"point"}', '"point","x":{"y":[1]}}'),
            # with one twice
            PLAIN[:-1] + ',"user_id":98702}',
            PLAIN[:-1] + ',"day":"2020-11-01"}',
            '{"day":"2020-11-01",' + PLAIN[1:],
            PLAIN.replace('"position":0', '"position":0,"position":0'),
            PLAIN.replace('"user_id"', '"event_data":{"position":0,"value_prop":"point"},"user_id"'),
            # with another name
            PLAIN.replace("day", "Day"),
            PLAIN.replace("day", "d\\u0061y"),
            PLAIN.replace("day", "day "),
            PLAIN.replace("event_data", "event-data"),
            PLAIN.replace("user_id", "user.id"),
        ],
    )


def test_a_value_is_a_text_without_escapes_or_a_whole_number_of_15_digits(spark: SparkSession) -> None:
    plain = {
        "0": "0",
        "7": "7",
        "-7": "-7",
        "10": "10",
        "123456789012345": "123456789012345",
        "-123456789012345": "-123456789012345",
        '""': "",
        '" "': " ",
        '"7"': "7",
        '"-0"': "-0",
        '"01"': "01",
        '"1.0"': "1.0",
        '"1234567890123456"': "1234567890123456",
        '"true"': "true",
        '"null"': "null",
        '"{}"': "{}",
        '"[1,2]"': "[1,2]",
        '" {x"': " {x",
        '"a,b:c}"': "a,b:c}",
        '"$1 $2"': "$1 $2",
        '"it\'s /"': "it's /",
        '"\x7f"': "\x7f",
        '"é ß 漢 😀 \u0301"': "é ß 漢 😀 \u0301",
        '"\u2028\u2029\x85\ufeff\ufffd\uffff"': "\u2028\u2029\x85\ufeff\ufffd\uffff",
    }
    expected = [[*TEXTS[:at], text, *TEXTS[at + 1 :]] for at in range(4) for text in plain.values()]
    assert read(spark, [line(**{member: value}) for member in MEMBERS for value in plain]) == expected
    others = [
        *("1234567890123456", "-1234567890123456", "-0", "00", "01", "-01", "1.0", "0.5", "1.", ".5", "-", "+1"),
        *("1e2", "1E2", "0x1", "1_0", "1 ", " 1 2", "٣", "NaN", "true", "false", "null", "True", "None", ""),
        *("{}", "[]", "[1]", '{"x":1}', "'x'", "x", '"x', 'x"', '"x" ', '"x""y"', '"x"y'),
    ]
    not_plain(spark, [line(**{member: value}) for member in MEMBERS for value in others])


def test_escapes_and_control_characters_are_not_plain(spark: SparkSession) -> None:
    simple, coded = (r"\n", r"\t", r"\"", r"\\", r"\/", r"\x", "\\"), (r"\u0041", r"\u0000", r"\ud83d\ude00", r"\ud800")
    controls = [chr(code) for code in range(32)]
    within = [line(**{member: f'"a{text}"'}) for member in MEMBERS for text in (*simple, *coded, *controls)]
    between = [PLAIN.replace(":", f":{control}") for control in controls]
    not_plain(spark, [*within, *between])


def test_bytes_that_are_not_utf8_are_not_plain(spark: SparkSession) -> None:
    broken = [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80", b"\x80"]
    raw, texts = PLAIN.encode(), line(user_id='"x"').encode()
    lines: list[bytes] = []
    for some in broken:
        lines += [texts.replace(b'"x"', b'"' + some + b'"'), raw + some, some + raw]
    not_plain(spark, lines)


def test_nothing_stands_before_or_behind_the_object(spark: SparkSession) -> None:
    spaces = [" ", "\t", "\r", "\n", "\r\n", "\u2028", "\x85", "\ufeff", "\x00", "\x01"]
    around = [*spaces, "\x01x\x01", ",", "}", "x", "0", PLAIN]
    marked = [f"\x01{part}" for part in ("", "a", "\x01".join(TEXTS), "\x01".join(["", *TEXTS]))]
    others = ["", *spaces, "null", "1", '"x"', "[]", f"[{PLAIN}]", f'"{PLAIN}"', PLAIN[:-1], PLAIN[1:], "{", "}"]
    not_plain(spark, [*(PLAIN + text for text in around), *(text + PLAIN for text in around), *marked, *others])


def test_a_line_that_is_not_there_is_not_plain(spark: SparkSession) -> None:
    lines = frame(spark, "raw STRING", (None,))
    assert lines.select(plain_texts(F.col("raw"), PLAIN_MEMBERS).alias("texts")).collect()[0]["texts"] is None


def test_a_text_of_a_megabyte_is_read(spark: SparkSession) -> None:
    long, digits, spaces = "é," * 350_000, "9" * 1_000_000, " " * 1_000_000
    others = [line(user_id=digits), line(user_id=f'"{long}'), line(user_id=f'"{long}\\"'), spaces, PLAIN + spaces]
    found = read(spark, [line(user_id=f'"{long}"'), line(value_prop=f'"{long}"'), *others])
    assert found[:2] == [[*TEXTS[:3], long], [*TEXTS[:2], long, TEXTS[3]]]
    assert found[2:] == [None] * len(others)


def test_the_members_may_be_others_and_in_any_objects(spark: SparkSession) -> None:
    members = ("a.b", "c", "d e", "f$.g(", "f$.h")
    raws = [
        '{"a":{"b":1},"c":"x","d e":"","f$":{"g(":"2","h":-3}}',
        '{"a":{"b":1},"c":"x","d e":"","f$":{"g":"2","h":-3}}',
    ]
    several, one = (plain_texts(F.col("raw"), names).alias("texts") for names in (members, ["a"]))
    found = lines_of(spark, [*raws, '{"a":1}']).select("at", several, one).collect()
    assert [tuple(row) for row in sorted(found)] == [
        (0, ["", "1", "x", "", "2", "-3"], None),
        (1, None, None),
        (2, None, ["", "1"]),
    ]


# --- what is plain reads the same to the strict parsers ---------------------------------------------------------------

SNIPPETS = [
    *('"', "\\", ",", ":", "{", "}", "[", "]", " ", "  ", "\t", "\r", "\x00", "\x01", "\x0b", "\x1f", "\x7f", "'"),
    *("0", "-", "1", ".", "e5", "E", "+", "true", "null", "NaN", "123456789012345", "1234567890123456", "00"),
    *(r"\n", r"\u0041", r"\u0000", r"\ud83d", r"\ude00", r"\"", "é", "😀", "\u2028", "\x85", "\ufeff", "\u00a0", "$1"),
    *('"day":"x",', ',"user_id":1', '"position":1,', '{"day"', '"",', '""', '"{', '"[1', "//", "/**/", "#", "x", PLAIN),
]
VALUES = [
    *("0", "-0", "1", "-1", "01", "1.0", "1e2", "123456789012345", "1234567890123456", "-123456789012345"),
    *("true", "null", "{}", "[]", '{"a":1}', '""', '"x"', '" "', '"1"', '"01"', '"1.50"', '"1e400"', '"null"', '"NaN"'),
    *('"12345678901234567890"', '"{"', '"{}"', "\" {'a':1}\"", '"["', '"[1]"', r'"[{\"a\":1}]"', '"a\',b"', '"//"'),
    *('"é"', '"😀"', '"\u2028"', '"\x7f"', '"\ufeff"', '"\x01"', '"\x00"', '"$0"'),
    *(r'"\u00e9"', r'"\ud83d"', r'"\\"', r'"\"'),
]


def mutated(dice: random.Random, text: str) -> bytes:
    """A line with up to three changes: something put in, taken out, repeated or moved, or a byte bent."""
    raw = text.encode()
    for _ in range(dice.choice((0, 0, 1, 1, 2, 3))):
        start = dice.randint(0, len(raw))
        end = min(len(raw), start + dice.choice((0, 1, 1, 2, 8)))
        change = dice.choice(("put", "put", "replace", "take", "repeat", "byte"))
        put = {
            "put": raw[start:end] + dice.choice(SNIPPETS).encode(),
            "replace": dice.choice(SNIPPETS).encode(),
            "take": b"",
            "repeat": raw[start:end] * 2,
            "byte": bytes([dice.randrange(256)]),
        }[change]
        raw = raw[:start] + put + raw[end:]
    return raw


def generated(seed: int) -> list[bytes]:
    """Lines of which many are plain and many nearly so."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    lines = []
    for _ in range(LINES):
        plain = dice.random() < 0.5
        values = {name: dice.choice(VALUES) for name in MEMBERS if dice.random() < 0.4}
        text = line(**values)
        if dice.random() < 0.3:
            text = text.replace(":", ": ").replace(",", ", ")
        lines.append(text.encode() if plain else mutated(dice, text))
    return lines


def strict_texts() -> Column:
    data = F.col("texts.event_data")
    return F.array(F.lit(""), F.col("texts.day"), data["position"], data["value_prop"], F.col("texts.user_id"))


def test_what_is_plain_says_the_same_to_the_strict_parsers(spark: SparkSession) -> None:
    raws = generated(SEED)
    lines = lines_of(spark, raws).withColumn("read_error", F.lit(None).cast("string"))
    parsed = parse_json(lines.withColumn("plain", plain_texts(F.col("raw"), PLAIN_MEMBERS)), VIEW_SHAPE)
    rows = parsed.select("at", "plain", strict_texts().alias("strict"), "parse_error", "unknown_fields").collect()
    plain = [row for row in rows if row["plain"] is not None]
    wrong = [
        (raws[row["at"]], row["plain"], row["strict"], row["parse_error"], row["unknown_fields"])
        for row in plain
        if row["plain"] != row["strict"] or row["parse_error"] is not None or row["unknown_fields"] is not None
    ]
    assert wrong == []
    assert len(plain) > LINES // 5
    assert len(rows) - len(plain) > LINES // 5
    well_formed = sum(row["parse_error"] is None for row in rows)
    assert well_formed > len(plain), "some that are not plain are well-formed all the same"


def test_what_is_plain_says_the_same_to_python(spark: SparkSession) -> None:
    raws = generated(SEED + 1)
    found = zip(raws, read(spark, raws), strict=True)
    for raw, texts in ((raw, texts) for raw, texts in found if texts is not None):
        record = json.loads(raw, object_pairs_hook=list)
        names = [name for name, _ in record]
        assert names == ["day", "event_data", "user_id"]
        (_, day), (_, data), (_, user_id) = record
        assert [name for name, _ in data] == ["position", "value_prop"]
        assert texts == [str(day), *(str(value) for _, value in data), str(user_id)]
