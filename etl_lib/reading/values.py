"""Texts as values, `Column -> Column`: exact or NULL, never rounded, bent or guessed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from etl_lib.tables.schemas import MONEY

_PLAIN_NUMBER = r"^-?[0-9]{1,14}(\.[0-9]{1,4})?\z"
# Any other spelling of a decimal number; its groups are the digits behind the point and the exponent. What has more
# digits than these is refused rather than looked at.
_ANY_NUMBER = r"^[+-]?(?=\.?[0-9])[0-9]{0,38}(?:\.([0-9]{0,38}))?(?:[eE]([+-]?[0-9]{1,3}))?\z"
_ZERO = r"^[+-]?(?=\.?0)0{0,38}(?:\.0{0,38})?(?:[eE][+-]?[0-9]{1,9})?\z"
_WIDE, _WIDE_DECIMALS = "decimal(38,18)", 18

_PLAIN_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DATE_ALONE = r"^(19|[2-9][0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}\z"
_PLAIN_CLOCK = r"[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
_PLAIN_TIME = rf"^{_PLAIN_DATE}([T ]({_PLAIN_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)?)?\z"
# The other spellings: ISO 8601's basic format, times without seconds, and what RFC 3339, RFC 9557 and databases write.
_DAY = "[0-9]{4}(?:-[0-9]{2}-|[0-9]{2})[0-9]{2}"
_CLOCK = "[0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_ZONE = "(?:Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)"
_ZONE_NAMES = r"(?:\[[^\[\]!]{1,64}\]){0,4}"
_TIME = rf"^{_DAY}[Tt ]{_CLOCK}(?: ?{_ZONE}{_ZONE_NAMES})?\z"
# Each is replaced by the plain spelling.
_SPELLINGS = (
    (r"\[.*", ""),
    (r" ?(?:Z|z|UTC|GMT)\z", "Z"),
    (r" (?=[+-])", ""),
    ("^([0-9]{4})-?([0-9]{2})-?([0-9]{2})[Tt ]([0-9]{2}):?([0-9]{2}):?", "$1-$2-$3T$4:$5:"),
    ("(?<=T[0-9]{2}:[0-9]{2}:)(?![0-9]{2})", "00"),
    (",", "."),
    ("T24:", "T00:"),
)
_MIDNIGHT_AT_THE_END = r"[Tt ]24:?00(?::?00(?:[.,]0{1,9})?)?(?: ?[Zz+-]| ?UTC| ?GMT|\z)"
# Anchored: on a long text that only looks like times, a search from every place in it would take hours.
_HAS_ZONE = rf"^[^Tt ]*[Tt ][0-9]{{2}}.*{_ZONE}{_ZONE_NAMES}\z"
_SECOND_60 = rf"^{_DAY}[Tt ][0-9]{{2}}:?[0-9]{{2}}:?60(?:[.,][0-9]{{1,9}})?(?: ?{_ZONE}{_ZONE_NAMES})?\z"
_ANY_AMOUNT = r"^[+-]?[0-9]{0,38}[.]?[0-9]{0,38}(?:[eE][+-]?[0-9]{1,9})?\z"
# A number as people write it: something in it that is no part of a number, or two points.
_CURRENCY = r"(?:\p{Sc}|[A-Z]{3})"
_STYLED_NUMBER = (
    rf"^(?=.*[^-+.0-9]|[^.]*[.][^.]*[.])(?:{_CURRENCY}\h?)?[+-]?(?:{_CURRENCY}\h?)?"
    rf"[0-9]{{1,38}}(?:[.,'\x{{2019}}_\h][0-9]{{1,38}}){{0,20}}(?:[.,]-)?(?:\h?{_CURRENCY})?\z"
)
# Around a value in CSV: the blanks of Unicode, and the tab.
_BLANKS = " \t\u00a0\u202f"

_EARLIEST = "1900-01-01T00:00:00Z"
_LATEST = "9999-12-31T23:59:59.999999Z"


def money(text: Column) -> Column:
    """DECIMAL(18,4) of a decimal number, however it is written (`12.50`, `+.5`, `5.`, `125E-1`, `0E-10`).

    NULL for what is no number, or has more than 4 decimals (zeros aside) or more than 14 digits before the point; also
    for more than 38 digits on a side of the point as they are written, or an exponent that asks for more than 18
    decimals.
    """
    decimals = F.rtrim(F.regexp_extract(text, _ANY_NUMBER, 1), F.lit("0"))
    exponent = F.coalesce(F.regexp_extract(text, _ANY_NUMBER, 2).try_cast("int"), F.lit(0))
    wide = text.try_cast(_WIDE)
    # Beyond 18 decimals the cast would round.
    is_looked_at = text.rlike(_ANY_NUMBER) & (F.length(decimals) - exponent <= _WIDE_DECIMALS)
    return (
        F.when(text.rlike(_PLAIN_NUMBER), text.try_cast(MONEY))
        .when(text.rlike(_ZERO), F.lit(0).cast(MONEY))
        .when(is_looked_at & (wide == wide.try_cast(MONEY)), wide.try_cast(MONEY))
    )


def whole_number(text: Column) -> Column:
    """INT; NULL for what is no whole number of 32 bits. `2.0` is 2."""
    exact = money(text)
    return F.when(text.rlike(r"^-?[0-9]{1,10}\z"), text.try_cast("int")).when(
        exact == F.floor(exact), exact.try_cast("int")
    )


def iso_time(text: Column) -> Column:
    """TIMESTAMP in UTC of a date, or of a date and a time, as ISO 8601, RFC 3339 and RFC 9557 write them.

    Day and time are in the extended format (`2024-06-01T10:15:00`) or in the basic one (`20240601T101500`), with `T`,
    `t` or a blank between; seconds and their fraction may be missing. `24:00` is the end of the day. Behind it may
    stand `Z`, `z`, `UTC`, `GMT` or an offset, also after a blank, and behind that the name of a zone in brackets: the
    offset decides the instant. Without an offset the time counts as UTC (the session's time zone).

    NULL for the rest and outside 1900 to 9999. Digits beyond microseconds are cut off.
    """
    parsed = F.when(text.rlike(_PLAIN_TIME), text.try_cast("timestamp")).when(text.rlike(_TIME), _respelled(text))
    in_range = parsed.between(F.lit(_EARLIEST).cast("timestamp"), F.lit(_LATEST).cast("timestamp"))
    return F.when(in_range, parsed)


def _respelled(text: Column) -> Column:
    """A time in another spelling than the plain one."""
    plain = reduce(lambda spelled, each: F.regexp_replace(spelled, *each), _SPELLINGS, text)
    is_next_day = text.rlike(_MIDNIGHT_AT_THE_END)
    later = F.when(is_next_day, F.expr("INTERVAL '24' HOUR")).otherwise(F.expr("INTERVAL '0' HOUR"))
    return F.when(is_next_day | ~text.rlike("[Tt ]24"), plain.try_cast("timestamp") + later)


def iso_date(text: Column) -> Column:
    """DATE of `YYYY-MM-DD`; NULL for the rest and outside 1900 to 9999."""
    return F.when(text.rlike(_DATE_ALONE), text.try_cast("date"))


def date_literal(day: date) -> Column:
    """A day as a literal of SQL: a Python date passes through Java's, where the zone of the process may leave out a day
    (Samoa's 30 December 2011).
    """
    return F.expr(f"DATE'{day}'")


def has_zone(text: Column) -> Column:
    """Whether a time says its offset; true where there is no time to ask."""
    return text.isNull() | text.rlike(_HAS_ZONE)


def trimmed(text: Column) -> Column:
    """A value of CSV without the blanks around it; NULL when nothing is left."""
    return F.nullif(F.trim(text, F.lit(_BLANKS)), F.lit(""))


def is_styled_number(text: Column) -> Column:
    """Whether it is a number with a decimal comma, a thousands separator or a sign of currency, which may mean two
    things; false where there is no text.
    """
    return F.coalesce(text.rlike(_STYLED_NUMBER), F.lit(False))


def is_number(text: Column) -> Column:
    """Whether a text that should be a time is a number; false where there is no text."""
    return F.coalesce(text.rlike(_ANY_AMOUNT) & text.rlike("[0-9]"), F.lit(False))


def has_second_60(text: Column) -> Column:
    """Whether it would be a time, but for a leap second; false where there is no text."""
    return F.coalesce(text.rlike(_SECOND_60), F.lit(False))


def content_hash(columns: Sequence[str]) -> Column:
    """BIGINT over the values, equal for equal contents; JSON in between, because a bare hash passes over NULLs."""
    return F.xxhash64(F.to_json(F.struct(*columns), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"}))
