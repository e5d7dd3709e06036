"""The columns of the parsed records of each dataset, as Spark DDL: what the rules may speak of."""

from __future__ import annotations

from etl_lib.tables.schemas import LINES, MONEY

_RECORD = """raw STRING, source_file STRING, source_size BIGINT, source_modified_at TIMESTAMP, block BIGINT, row BIGINT,
    read_error STRING, parse_error STRING, unknown_fields ARRAY<STRING>, key STRING, version_at TIMESTAMP,
    content_hash BIGINT"""
_EVENT = f"user_id STRING, value_prop STRING, day DATE, position INT, amount {MONEY}"

PARSED_ORDER = f"""{_RECORD}, order_id STRING, user_id STRING, amount {MONEY}, currency STRING, created_at TIMESTAMP,
    updated_at TIMESTAMP, is_deleted BOOLEAN, source STRING, promo STRING,
    items ARRAY<STRUCT<sku: STRING, qty: INT, unit_price: {MONEY}, given_qty: STRING, given_price: STRING>>,
    has_time_zones BOOLEAN, given STRUCT<created_at: STRING, updated_at: STRING, amount: STRING, metadata: BOOLEAN>,
    order_date DATE, has_styled_numbers BOOLEAN, has_numbers_as_times BOOLEAN, has_leap_seconds BOOLEAN,
    line_count INT, lines {LINES}"""

PARSED_USER = f"""{_RECORD}, user_id STRING, email STRING, created_at TIMESTAMP, country STRING,
    given STRUCT<user_id: STRING, email: STRING, created_at: STRING, country: STRING>, has_numbers_as_times BOOLEAN,
    has_leap_seconds BOOLEAN"""

PARSED_PRODUCT = f"""{_RECORD}, sku STRING, name STRING, category STRING, price {MONEY},
    given STRUCT<sku: STRING, name: STRING, category: STRING, price: STRING>, has_styled_numbers BOOLEAN"""

PARSED_VIEW = f"{_RECORD}, {_EVENT}, given STRUCT<day: STRING, position: STRING>"

PARSED_PAY = f"""{_RECORD}, {_EVENT}, given STRUCT<day: STRING, total: STRING>, has_styled_numbers BOOLEAN,
    is_header BOOLEAN"""
