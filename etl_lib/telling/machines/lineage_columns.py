"""From which fields the columns of the tables come, as the transformations of this project make them.

A source is `dataset.field` of the input, or `table.column`. Columns that no field of the input decides, such as
`run_id`, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl_lib.tables.schemas import (
    DAILY_SALES,
    DIM_ORDER,
    DIM_PRODUCT,
    DIM_USER,
    FACT_SALES,
    VALUE_PROP_FEATURES,
)


@dataclass(frozen=True)
class Origin:
    """The fields that a column comes from, and how."""

    subtype: str
    """As OpenLineage has them: `IDENTITY`, `TRANSFORMATION` or `AGGREGATION`."""
    fields: tuple[str, ...]


def _same(*fields: str) -> Origin:
    return Origin("IDENTITY", fields)


def _made(*fields: str) -> Origin:
    return Origin("TRANSFORMATION", fields)


def _summed(*fields: str) -> Origin:
    return Origin("AGGREGATION", fields)


_ORDER = {
    "order_id": _same("orders.order_id"),
    "order_date": _made("orders.created_at"),
    "created_at": _made("orders.created_at"),
    "version_at": _made("orders.updated_at", "orders.created_at"),
    "user_id": _same("orders.user_id"),
    "currency": _same("orders.currency"),
}

COLUMNS: Mapping[str, Mapping[str, Origin]] = {
    FACT_SALES.name: {
        **_ORDER,
        "line_no": _made("orders.items"),
        "sku": _same("orders.items.sku"),
        "qty": _made("orders.items.qty"),
        "unit_price": _made("orders.items.price"),
        "line_amount": _made("orders.items.qty", "orders.items.price"),
    },
    DIM_ORDER.name: {
        **_ORDER,
        "amount": _made("orders.amount"),
        "source": _same("orders.metadata.source"),
        "promo": _same("orders.metadata.promo"),
        "line_count": _made("orders.items", "orders.deleted"),
        "is_deleted": _made("orders.deleted"),
        "content_hash": _made(
            *(
                f"orders.{name}"
                for name in ("created_at", "user_id", "amount", "currency", "metadata", "deleted", "items")
            )
        ),
    },
    DIM_USER.name: {
        "user_id": _same("users.user_id", "orders.user_id"),
        "email": _same("users.email"),
        "created_at": _made("users.created_at"),
        "country": _same("users.country"),
        "is_inferred": _made("users.user_id", "orders.user_id"),
        "content_hash": _made("users.email", "users.created_at", "users.country"),
    },
    DIM_PRODUCT.name: {
        "sku": _same("products.sku", "orders.items.sku"),
        "name": _same("products.name"),
        "category": _same("products.category"),
        "price": _made("products.price"),
        "is_inferred": _made("products.sku", "orders.items.sku"),
        "content_hash": _made("products.name", "products.category", "products.price"),
    },
    DAILY_SALES.name: {
        "order_date": _same("fact_sales.order_date"),
        "currency": _made("fact_sales.currency"),
        "country": _made("dim_user.country"),
        "category": _made("dim_product.category"),
        "source": _made("dim_order.source"),
        "orders": _summed("fact_sales.order_id"),
        "units": _summed("fact_sales.qty"),
        "revenue": _summed("fact_sales.line_amount"),
    },
    VALUE_PROP_FEATURES.name: {
        "week": _made("prints.day"),
        "day": _made("prints.day"),
        "user_id": _same("prints.user_id"),
        "position": _made("prints.event_data.position"),
        "value_prop": _same("prints.event_data.value_prop"),
        "clicked": _made(
            *(f"taps.{name}" for name in ("day", "user_id", "event_data.value_prop", "event_data.position"))
        ),
        "views_3w": _summed("prints.day"),
        "clicks_3w": _summed("taps.day"),
        "payments_3w": _summed("pays.pay_date"),
        "amount_3w": _summed("pays.total"),
    },
}
"""The origins by table and column."""
