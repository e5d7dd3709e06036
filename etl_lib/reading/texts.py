"""The text of a file that is read whole: its encoding, its lines, and how its first record begins.

Plain functions of bytes and texts, for the driver and for the executors.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterator
from typing import Literal

from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import Column
from pyspark.sql import functions as F

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])

Encoding = Literal["utf-8", "utf-16", "other"]
Errors = Literal["surrogateescape", "surrogatepass"]

MARK = "\ufeff"
"""The byte order mark: it may stand at the start of any record, and is no part of it."""

_MARKS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARKS_OF_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# How an ASCII character and what follows it begin in UTF-16 and UTF-32 without a mark: which of four bytes are zero.
_WIDE = {(False, True, False, True), (True, False, True, False), (False, True, True, True), (True, True, True, False)}
_LINE_END = re.compile("\r\n|\n|\r")


def encoding_of(start: bytes) -> Encoding:
    """The encoding of a text that begins so: UTF-16 only by its mark, and what nobody reads is `other`."""
    if start.startswith(_MARKS_OF_UTF_32):
        return "other"
    if start.startswith(_MARKS_OF_UTF_16):
        return "utf-16"
    return "other" if tuple(byte == 0 for byte in start[:4]) in _WIDE else "utf-8"


def decoded(content: bytes) -> tuple[str, Errors]:
    """The text, without the mark of UTF-16, and the error handler with which what is no text becomes bytes again.

    Those bytes are no UTF-8, so that the strict parse sees and refuses them.
    """
    if encoding_of(content) != "utf-16":
        return content.decode("utf-8", "surrogateescape"), "surrogateescape"
    whole = len(content) // 2 * 2
    cut_off = "\udcff" if whole < len(content) else ""
    return content[:whole].decode("utf-16", "surrogatepass") + cut_off, "surrogatepass"


def lines_of(text: str) -> Iterator[str]:
    """The lines without their ends, as Spark's reader of text gives them."""
    lines = _LINE_END.split(text)
    return iter(lines if lines[-1] else lines[:-1])


def first_line_of(text: str) -> str:
    """The first line with something in it, without the mark; empty when there is none."""
    return next((line for line in lines_of(text) if line.strip(MARK + " \t")), "").removeprefix(MARK)


def is_cut_object(line: str) -> bool:
    """Whether a line begins an object and ends within it."""
    text = line.strip(MARK + " \t\r\n")
    if not text.startswith("{"):
        return False
    try:
        _decoder().raw_decode(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except RecursionError:
        pass
    return False


def is_one_object(text: str) -> bool:
    """Whether the first record is an object that does not end on its line, as when the file holds one large object.

    An object that is cut off at the end of the file counts, unless the next line is a record of its own or a later one
    begins an object: then only a line is cut off.
    """
    begin = re.match(rf"[{MARK}\s]*", text)
    at = begin.end() if begin else 0
    if text[at : at + 1] != "{" or (line_end := _LINE_END.search(text, at)) is None:
        return False
    try:
        return _decoder().raw_decode(text, at)[1] > line_end.start()
    except json.JSONDecodeError as error:
        is_cut_off = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        rest = text[line_end.end() :]
        return is_cut_off and not _is_value(first_line_of(rest)) and re.search(r"^\{", rest, re.MULTILINE) is None
    except RecursionError:
        return False


def _is_value(line: str) -> bool:
    """Whether a line is a whole JSON value, or nothing at all."""
    text = line.strip(" \t")
    try:
        return not text or _decoder().raw_decode(text)[1] == len(text)
    except (json.JSONDecodeError, RecursionError):
        return False


def _decoder() -> json.JSONDecoder:
    # Not made once for all: it could not travel with the query.
    return json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def is_blank(text: Column) -> Column:
    """Whether a line has nothing but JSON's white space."""
    # Trimming on the right, too, would take nine times the text in memory.
    return F.ltrim(text, F.lit(" \t\r\n\ufeff")) == ""
