"""Order records as text, from JSON Lines and from JSON array files.

JSON Lines stay with Spark, which splits large files. An array file is read whole and walked element by element,
so that each element keeps its exact text and a broken one costs just the rest of its file.
What Spark cannot read line by line is read whole, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence

from pyspark.cloudpickle import register_pickle_by_value
from pyspark.sql import DataFrame, SparkSession

from etl_lib.reading.first_line import FirstLine
from etl_lib.reading.texts import MARK, is_cut_object, is_one_object
from etl_lib.reading.whole_files import Record, plain_lines, read_records
from etl_lib.settings.config import Layout
from etl_lib.sources.json_arrays import JsonWalk, after_space
from etl_lib.sources.landing import LandingFile

# Executors need not have this package: the functions that run there travel with the query.
register_pickle_by_value(sys.modules[__name__])


def read_json_records(
    spark: SparkSession, files: Sequence[LandingFile], layout: Layout, first: Mapping[str, FirstLine]
) -> DataFrame:
    """One row a record (blank lines are rows too): RECORD_COLUMNS. `first` has the first lines of the files.

    `read_error` is `broken_array` for the rest of an array file that cannot be walked further, `one_object` for a file
    that is one object over several lines, `not_utf8` for one in an encoding that nobody reads; else NULL.
    """
    if layout == "array":
        return read_records(spark, (), files, split_array)
    whole = {file for file in files if file.is_hidden or (file.path in first and _is_whole(first[file.path], layout))}
    lines = [file for file in files if file not in whole]
    return read_records(spark, lines, list(whole), split_lines if layout == "lines" else split_json)


def _is_whole(first: FirstLine, layout: Layout) -> bool:
    """Whether a file cannot be read line by line."""
    is_array = layout == "auto" and first.text.lstrip(" \t").startswith("[")
    return is_array or first.encoding != "utf-8" or is_cut_object(first.text)


def split_json(text: str) -> Iterator[Record]:
    """The records of an array or of JSON Lines, each with None or why it cannot be read."""
    return split_array(text) if text.lstrip(MARK + " \t\r\n").startswith("[") else split_lines(text)


def split_lines(text: str) -> Iterator[Record]:
    """The records of JSON Lines; a file that is one object over several lines is one record, with `one_object`."""
    if is_one_object(text):
        return iter([(text, "one_object")])
    return plain_lines(text)


def split_array(text: str) -> Iterator[Record]:
    """The exact text of each element of a JSON array, with None; then what cannot be walked, with `broken_array`.

    The walk is lenient about what an element holds (the strict parse judges that), but not about where it ends.
    An array that is never closed yields a last broken record with an empty text, because the file may be cut off.
    """
    begin = after_space(text, len(MARK) if text.startswith(MARK) else 0)
    if not text.startswith("[", begin):
        yield text, "broken_array"
        return
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)
    elements = JsonWalk(text, begin, lambda at: decoder.raw_decode(text, at)[1])
    try:
        for begin, end in elements:
            yield text[begin:end], None
    except (ValueError, RecursionError):
        yield text[elements.at :], "broken_array"
    else:
        if rest := text[after_space(text, elements.at) :]:
            yield rest, "broken_array"
