"""Texts as values, `Column -> Column`: exact or NULL, never rounded, bent or guessed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column
from pyspark.sql import functions as F

from etl_lib.schemas import MONEY

_PLAIN_NUMBER = r"^-?[0-9]{1,14}(\.[0-9]{1,4})?\z"
# Any JSON number whose value DECIMAL(38,18) holds exactly: at most 14 digits on each side of the point, and an exponent
# from -4 to 13. What has more digits than this is refused rather than looked at.
_ANY_NUMBER = r"^-?[0-9]{1,14}(\.[0-9]{1,14})?([eE](-0?[0-4]|\+?0?[0-9]|\+?1[0-3]))?\z"

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DATE_ALONE = r"^(19|[2-9][0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}\z"
_ZONE = "(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_TIME = rf"^{_DATE}([T ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}([.,][0-9]{{1,9}})?{_ZONE}?)?\z"
_TIME_WITHOUT_SECONDS = rf"^({_DATE}[T ][0-9]{{2}}:[0-9]{{2}}){_ZONE}?\z"
# Anchored: on a long text that only looks like times, a search from every place in it would take hours.
_HAS_ZONE = rf"^[^T ]*[T ][0-9]{{2}}:.*{_ZONE}\z"

_EARLIEST = "1900-01-01T00:00:00Z"
_LATEST = "9999-12-31T23:59:59.999999Z"


def money(text: Column) -> Column:
    """DECIMAL(18,4); NULL for what is no number, has more than 4 decimals (zeros aside) or 14 integer digits."""
    wide = text.try_cast("decimal(38,18)")
    return F.when(text.rlike(_PLAIN_NUMBER), text.try_cast(MONEY)).when(
        text.rlike(_ANY_NUMBER) & (wide == wide.try_cast(MONEY)), wide.try_cast(MONEY)
    )


def whole_number(text: Column) -> Column:
    """INT; NULL for what is no whole number of 32 bits. `2.0` is 2."""
    exact = money(text)
    return F.when(text.rlike(r"^-?[0-9]{1,10}\z"), text.try_cast("int")).when(
        exact == F.floor(exact), exact.try_cast("int")
    )


def iso_time(text: Column) -> Column:
    """TIMESTAMP in UTC of an ISO 8601 date or time with any offset; NULL for the rest and outside 1900 to 9999.

    Without an offset it counts as UTC (the session's time zone). Digits beyond microseconds are cut off.
    """
    complete = F.regexp_replace(text, ",", ".")
    padded = F.regexp_replace(text, _TIME_WITHOUT_SECONDS, "$1:00$2")
    parsed = F.when(text.rlike(_TIME), complete.try_cast("timestamp")).when(
        text.rlike(_TIME_WITHOUT_SECONDS), padded.try_cast("timestamp")
    )
    in_range = parsed.between(F.lit(_EARLIEST).cast("timestamp"), F.lit(_LATEST).cast("timestamp"))
    return F.when(in_range, parsed)


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


def content_hash(columns: Sequence[str]) -> Column:
    """BIGINT over the values, equal for equal contents; JSON in between, because a bare hash passes over NULLs."""
    return F.xxhash64(F.to_json(F.struct(*columns), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"}))
