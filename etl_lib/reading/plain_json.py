"""Plain records: JSON that is written as a machine writes it, read by one regular expression.

A line in the plain form has exactly the declared members in their declared order, and its values are texts without
escapes or whole numbers of at most 15 digits. Whatever matches is valid JSON with unique keys and no other members, and
its texts are those of the strict parsers, which so have to look only at the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from pyspark.sql import Column
from pyspark.sql import functions as F

_SPACE = " ?"
_VALUE = r'(?:"([^"\\\x00-\x1f]*)"|(0|-?[1-9][0-9]{0,14}))'
_MARK = "\x01"


def plain_texts(raw: Column, members: Sequence[str]) -> Column:
    """ARRAY<STRING> with an empty text and then those of `members`; NULL where `raw` is not plain.

    A member is named as `name` or, inside an object, as `object.name`; members of one object stand together.
    """
    marked = "".join(f"{_MARK}${2 * at + 1}${2 * at + 2}" for at in range(len(members)))
    replaced = F.regexp_replace(raw, F.lit(_form(members)), F.lit(marked))
    is_plain = F.is_valid_utf8(raw) & ~raw.startswith(_MARK) & replaced.startswith(_MARK)
    return F.when(is_plain, F.split(replaced, _MARK))


def _form(members: Sequence[str]) -> str:
    def pair(name: str, value: str) -> str:
        return f'"{re.escape(name)}":{_SPACE}{value}'

    def braced(pairs: Sequence[str]) -> str:
        return r"\{" + f",{_SPACE}".join(pairs) + r"\}"

    parts = []
    for within, names in groupby(members, key=lambda member: member.rpartition(".")[0]):
        pairs = [pair(name.rpartition(".")[2], _VALUE) for name in names]
        parts += [pair(within, braced(pairs))] if within else pairs
    return rf"^{braced(parts)}\z"
