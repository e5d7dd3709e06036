"""Texts of files that are read whole: encodings, lines, and one object instead of records."""

from __future__ import annotations

import pytest

from etl_lib.reading.json_files import split_json, split_lines
from etl_lib.reading.texts import Encoding, decoded, encoding_of, first_line_of, is_cut_object, is_one_object, lines_of

ONE, TWO = '{"order_id": "a"}', '{"order_id": "b"}'


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (ONE.encode(), "utf-8"),
        (f"\ufeff{ONE}".encode(), "utf-8"),
        (b"", "utf-8"),
        (b"\x00", "utf-8"),
        (b"\x00\x00\x00\x00", "utf-8"),
        (b"\x00" + ONE.encode(), "utf-8"),  # a line that garbage precedes is still a line
        ("é".encode("latin-1"), "utf-8"),
        (f"\ufeff{ONE}".encode("utf-16-le"), "utf-16"),
        (f"\ufeff{ONE}".encode("utf-16-be"), "utf-16"),
        (ONE.encode("utf-16-le"), "other"),
        (ONE.encode("utf-16-be"), "other"),
        (f"\ufeff{ONE}".encode("utf-32-le"), "other"),
        (f"\ufeff{ONE}".encode("utf-32-be"), "other"),
        (ONE.encode("utf-32-le"), "other"),
        (ONE.encode("utf-32-be"), "other"),
    ],
)
def test_an_encoding_is_told_by_its_mark_or_by_the_zeros_of_ascii(content: bytes, encoding: Encoding) -> None:
    assert encoding_of(content) == encoding


def test_what_is_no_text_becomes_the_same_bytes_again_or_bytes_that_are_no_utf8() -> None:
    text, errors = decoded(b"a\xff\n")
    assert text.encode("utf-8", errors) == b"a\xff\n"
    half = "a\ud83d\n".encode("utf-16-le", "surrogatepass")
    for content, lines in ((half, 1), (f"{ONE}\n{TWO}".encode("utf-16-le") + b"x", 2)):
        text, errors = decoded(b"\xff\xfe" + content)
        *good, last = [line.encode("utf-8", errors) for line in lines_of(text)]
        assert len(good) == lines - 1
        assert b"".join(good).decode() in ("", ONE)
        with pytest.raises(UnicodeDecodeError):
            last.decode("utf-8")
    assert decoded(f"\ufeff\ufeff{ONE}".encode("utf-16-be"))[0] == f"\ufeff{ONE}"


def test_lines_end_as_spark_ends_them() -> None:
    assert list(lines_of("a\nb\r\nc\rd")) == ["a", "b", "c", "d"]
    assert list(lines_of("\n\na\n")) == ["", "", "a"]
    assert list(lines_of("")) == []
    assert list(lines_of("a\u2028b\x0bc\x85d")) == ["a\u2028b\x0bc\x85d"]
    assert first_line_of("\ufeff\n \t\r\n\ufeffa,b\nc") == "a,b"
    assert first_line_of(" \n\ufeff") == ""


PRETTY = '{\n "orders": [\n  {"order_id": "a"},\n  {"order_id": "b"}\n ]\n}\n'


@pytest.mark.parametrize(
    "text",
    [
        PRETTY,
        PRETTY.replace("\n", "\r\n"),
        f"\n \t\n\ufeff{PRETTY}",
        PRETTY + PRETTY,
        f"{PRETTY}{ONE}\n",
        PRETTY[:-9],
        '{\n "a": 1',
        '{"a":\n1}',
    ],
)
def test_an_object_that_does_not_end_on_its_line_is_the_whole_file(text: str) -> None:
    assert is_one_object(text)
    assert list(split_lines(text)) == list(split_json(text)) == [(text, "one_object")]
    assert is_cut_object(first_line_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ONE,
        f"{ONE}\n{TWO}\n",
        f"\ufeff{ONE}\r\n{TWO}",
        '{"order_id": "a", ',
        f'{{"order_id": "a", "items": [\n{TWO}\n',  # the first line is broken, and the second one is a record
        f'{{"order_id": "a\n{TWO}\n',
        f"{{broken\n{TWO}\n",
        '{"order_id": "a", \n',  # the only line, cut off
        '{"order_id": "a", \n\n \n',
        '{"order_id":\n7\n',  # cut off before a value, or before a name, and the next line is a record, if a wrong one
        '{"order_id": "a",\n"b"\n',
        f"[\n{ONE}\n",
        "[" * 100_000 + "\n",
        '{"a":' * 100_000 + "\n",
        f"x\n{PRETTY}",
    ],
)
def test_records_stay_lines_whatever_is_broken_in_them(text: str) -> None:
    assert not is_one_object(text)
    assert list(split_lines(text)) == [(line, None) for line in lines_of(text)]


@pytest.mark.parametrize("line", ["", ONE, f"{ONE} {TWO}", "[", '{"a', "{broken", "{]", '{"a":' * 100_000])
def test_only_an_object_that_the_end_of_the_line_cuts_is_cut(line: str) -> None:
    assert not is_cut_object(line)
