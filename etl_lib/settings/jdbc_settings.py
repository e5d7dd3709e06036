"""The settings of databases that are reached through JDBC, and of the source among them."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from etl_lib.process.secrets import HIDDEN, BareUrl, Secret
from etl_lib.settings.strict_model import Location, Section

ORDER_MEMBERS = ("order_id", "user_id", "amount", "currency", "created_at", "updated_at", "deleted", "source", "promo")
USER_MEMBERS = ("user_id", "email", "created_at", "country")
PRODUCT_MEMBERS = ("sku", "name", "category", "price")
ITEM_MEMBERS = ("sku", "qty", "price")

_TABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*){0,2}")
_LOOPBACK = re.compile(r"//(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/|$)", re.IGNORECASE)


def _jdbc(url: str) -> str:
    if not url.startswith("jdbc:"):
        raise PydanticCustomError(HIDDEN, "expected jdbc:<database>://host/name")
    return url


def _table(name: str) -> str:
    if not _TABLE.fullmatch(name):
        raise ValueError("expected a plain name, table or schema.table (letters, digits, _)")
    return name


ColumnName = Annotated[str, StringConstraints(min_length=1)]
TableName = Annotated[str, AfterValidator(_table)]


class JdbcItems(Section):
    """Where the items of an order are: a column with a JSON array, or a table with a row an item."""

    column: ColumnName | None = None
    """A column of the orders' table with a JSON array of objects with sku, qty and price; it is taken as it is."""
    table: TableName | None = None
    order: ColumnName = "order_id"
    """The column of the items' table that names the order."""
    position: ColumnName = "line_no"
    """Its column by which the items of an order are in order."""
    columns: dict[str, ColumnName] = Field(default_factory=dict)
    """The columns of sku, qty and price, where they are called otherwise."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.column is None) == (self.table is None):
            raise ValueError("give either a column (a JSON array) or a table (a row an item)")
        return self


class JdbcTable(Section):
    """A table, its key and, to read only what changed, the time of a row's last change."""

    table: TableName
    columns: dict[str, ColumnName] = Field(default_factory=dict)
    """The columns of the members, where they are called otherwise."""
    changed_at: ColumnName | None = None
    """The column that rises with every change; without it every pull reads the whole table."""


class JdbcOrders(JdbcTable):
    """The table of orders."""

    items: JdbcItems


class JdbcSettings(Section):
    """A database that Spark reads or writes through JDBC, by several connections."""

    url: Annotated[BareUrl, AfterValidator(_jdbc)]
    """`jdbc:postgresql://host:5432/shop`: without credentials."""
    user: str
    password: Secret
    partitions: Annotated[int, Field(ge=1)] = 4
    """How many connections read (a table, each a stretch of `changed_at`) or write at the same time."""
    ca_file: Location | None = None
    """The certificates (PEM) of a private certificate authority, for a PostgreSQL."""
    allow_plain: bool = False
    """Allow a connection without TLS to other machines, where everybody on the way can read rows and password."""

    @property
    def needs_tls(self) -> bool:
        """Whether the connection must be encrypted, with a certificate that is checked."""
        return not self.allow_plain and not _LOOPBACK.search(self.url)

    @property
    def tls_options(self) -> dict[str, str]:
        """The options of PostgreSQL's driver for it: the certificate is checked by `ca_file`, or by Java's own list.

        Without either the driver looks for a file in the user's home.
        """
        if not self.needs_tls:
            return {}
        if self.ca_file is not None:
            return {"sslmode": "verify-full", "sslrootcert": self.ca_file}
        return {"sslmode": "verify-full", "sslfactory": "org.postgresql.ssl.DefaultJavaSSLFactory"}


class JdbcSource(JdbcSettings):
    """A database of which only what changed since the last pull is read."""

    driver: str = "org.postgresql.Driver"
    orders: JdbcOrders
    users: JdbcTable | None = None
    products: JdbcTable | None = None
    fetch_size: Annotated[int, Field(ge=1)] = 10_000
    """Rows that a connection brings at a time: what one task holds of the database's answer."""
    overlap_s: Annotated[float, Field(ge=0)] = 300
    """Read again from so many seconds before the checkpoint: a transaction may commit late what it wrote early. The
    checkpoint's own second is always read again."""
