"""The tables of the lakehouse, declared once: columns, grain, key and partition.

`Table.grain` is the first thing to know of a table; it is also the comment that readers see in the catalog.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from pyspark.sql.types import StructType

MONEY = "DECIMAL(18,4)"
"""ISO 4217 has up to four minor digits."""
LINE_AMOUNT = "DECIMAL(29,4)"
"""INT x MONEY: the product of every quantity and price, exactly."""
SUM = "DECIMAL(38,4)"


@dataclass(frozen=True)
class Table:
    """A Delta table: `columns` is Spark DDL, `key` what is unique in it, `partition` the columns of its folders."""

    name: str
    grain: str
    columns: str
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    changes_in_place: bool = False
    """Whether MERGE changes rows that are there: then deletion vectors spare the files around them."""
    is_skipped_by_values: bool = True
    """Whether Delta keeps the least and greatest values of the files; not worth it where all files are read."""

    @property
    def schema(self) -> StructType:
        """The declared columns as a Spark schema."""
        return cast("StructType", StructType.fromDDL(self.columns))

    @property
    def properties(self) -> str:
        """Delta's table properties, as SQL. Without deletion vectors a scan plans with half of the queries."""
        skipping = "" if self.is_skipped_by_values else ", 'delta.dataSkippingNumIndexedCols' = '0'"
        return f"'delta.enableDeletionVectors' = '{str(self.changes_in_place).lower()}'{skipping}"

    @property
    def column_names(self) -> list[str]:
        """The declared columns in their order, for the `select` that ends a transformation."""
        return self.schema.names


@dataclass(frozen=True)
class View:
    """What is read of another table: `query` is SQL in which `{source}` stands for that table's name."""

    name: str
    grain: str
    key: tuple[str, ...]
    source: Table
    query: str


FACT_SALES = Table(
    name="fact_sales",
    grain="one line of the current version of an order",
    key=("order_id", "line_no"),
    partition=("order_date",),
    changes_in_place=True,
    columns=f"""
        order_id STRING NOT NULL, line_no INT NOT NULL, order_date DATE NOT NULL, created_at TIMESTAMP NOT NULL,
        user_id STRING, sku STRING NOT NULL, qty INT NOT NULL, unit_price {MONEY}, line_amount {LINE_AMOUNT},
        currency STRING, version_at TIMESTAMP NOT NULL, run_id STRING NOT NULL""",
)

DIM_ORDER = Table(
    name="dim_order",
    grain="one order in its current version; deleted orders stay as tombstones",
    key=("order_id",),
    partition=("order_date",),
    changes_in_place=True,
    columns=f"""
        order_id STRING NOT NULL, order_date DATE NOT NULL, created_at TIMESTAMP NOT NULL,
        version_at TIMESTAMP NOT NULL, user_id STRING, amount {MONEY}, currency STRING, source STRING, promo STRING,
        line_count INT NOT NULL, is_deleted BOOLEAN NOT NULL, content_hash BIGINT NOT NULL,
        source_file STRING NOT NULL, source_modified_at TIMESTAMP NOT NULL, run_id STRING NOT NULL""",
)

_ARRIVAL = """
        version_at TIMESTAMP, content_hash BIGINT, source_file STRING, source_modified_at TIMESTAMP,
        run_id STRING NOT NULL"""

DIM_USER = Table(
    name="dim_user",
    grain="one user; is_inferred until the user itself has arrived",
    key=("user_id",),
    changes_in_place=True,
    columns=f"""
        user_id STRING NOT NULL, email STRING, created_at TIMESTAMP, country STRING,
        is_inferred BOOLEAN NOT NULL, {_ARRIVAL}""",
)

DIM_PRODUCT = Table(
    name="dim_product",
    grain="one product; is_inferred until the product itself has arrived",
    key=("sku",),
    changes_in_place=True,
    columns=f"""
        sku STRING NOT NULL, name STRING, category STRING, price {MONEY},
        is_inferred BOOLEAN NOT NULL, {_ARRIVAL}""",
)

DAILY_SALES = Table(
    name="daily_sales",
    grain="the sales of one day in one currency, country, category and source; never adds two currencies",
    key=("order_date", "currency", "country", "category", "source"),
    partition=("order_date",),
    columns=f"""
        order_date DATE NOT NULL, currency STRING NOT NULL, country STRING NOT NULL, category STRING NOT NULL,
        source STRING NOT NULL, orders BIGINT NOT NULL, units BIGINT NOT NULL, revenue {SUM} NOT NULL""",
)

QUARANTINE = Table(
    name="quarantine",
    grain="one rejected record: the same text in the same file is one entry, however often it was read",
    key=("record_id",),
    changes_in_place=True,
    columns="""
        record_id STRING NOT NULL, dataset STRING NOT NULL, raw STRING,
        reasons ARRAY<STRUCT<rule: STRING, message: STRING>>, source_file STRING NOT NULL, position BIGINT NOT NULL,
        occurrences BIGINT NOT NULL, first_run_id STRING NOT NULL, last_run_id STRING NOT NULL,
        status STRING NOT NULL, payload STRING""",
)

LOADED_FILE = """STRUCT<dataset: STRING, path: STRING, size: BIGINT, modified_at: TIMESTAMP, records: BIGINT,
        min_version_at: TIMESTAMP, max_version_at: TIMESTAMP>"""
RULE_RESULT = """STRUCT<dataset: STRING, rule: STRING, severity: STRING, checked: BIGINT, failed: BIGINT,
        samples: ARRAY<STRING>, fingerprint: STRING>"""
GATE_RESULT = "STRUCT<gate: STRING, dataset: STRING, effect: STRING, state: STRING, message: STRING>"

ETL_RUNS = Table(
    name="etl_runs",
    grain="one run that had something to do",
    key=("run_id",),
    columns=f"""
        run_id STRING NOT NULL, job STRING NOT NULL, status STRING NOT NULL, arguments ARRAY<STRING>,
        started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP NOT NULL, outcomes MAP<STRING, BIGINT>, metrics STRING,
        versions_before MAP<STRING, BIGINT>, versions_after MAP<STRING, BIGINT>, message STRING,
        files ARRAY<{LOADED_FILE}>, rules ARRAY<{RULE_RESULT}>,
        tables_left MAP<STRING, STRUCT<version: BIGINT, rows: BIGINT>>, release STRING NOT NULL,
        schemas STRING NOT NULL, gates ARRAY<{GATE_RESULT}>""",
)

ETL_FILES = View(
    name="etl_files",
    grain="one version of one landing file that was loaded; by the first of several runs that overlapped",
    key=("dataset", "path", "size", "modified_at"),
    source=ETL_RUNS,
    query="""
        SELECT file.dataset, file.path, file.size, file.modified_at, run_id, file.records, file.min_version_at,
            file.max_version_at
        FROM (
            SELECT file, run_id, row_number() OVER (
                PARTITION BY file.dataset, file.path, file.size, file.modified_at ORDER BY ended_at, run_id) AS nth
            FROM (SELECT explode(files) AS file, run_id, ended_at FROM {source} WHERE status = 'done'))
        WHERE nth = 1""",
)

DQ_RESULTS = View(
    name="dq_results",
    grain="one rule in one run, also when nothing broke it",
    key=("run_id", "dataset", "rule"),
    source=ETL_RUNS,
    query="""
        SELECT run_id, result.dataset, result.rule, result.severity, result.checked, result.failed, result.samples,
            result.fingerprint, checked_at
        FROM (
            SELECT run_id, explode(rules) AS result, ended_at AS checked_at
            FROM {source} WHERE status NOT IN ('planned', 'applying'))""",
)

ETL_PULLS = Table(
    name="etl_pulls",
    grain="one pull of one dataset from an API or a database into landing files",
    key=("pull_id", "dataset", "run_id"),
    columns="""
        pull_id STRING NOT NULL, dataset STRING NOT NULL, run_id STRING NOT NULL, source STRING NOT NULL,
        address STRING NOT NULL, status STRING NOT NULL, since TIMESTAMP, until TIMESTAMP NOT NULL, checkpoint STRING,
        pages BIGINT NOT NULL, records BIGINT NOT NULL, malformed_pages BIGINT NOT NULL, checksum STRING,
        folder STRING NOT NULL, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP NOT NULL""",
)

ETL_PUBLISHES = Table(
    name="etl_publishes",
    grain="one publish of the tables to one sink",
    key=("publish_id",),
    columns="""
        publish_id STRING NOT NULL, run_id STRING NOT NULL, sink STRING NOT NULL, address STRING NOT NULL,
        status STRING NOT NULL, is_full BOOLEAN NOT NULL, previous STRING, versions MAP<STRING, BIGINT>,
        groups MAP<STRING, BIGINT>, rows MAP<STRING, BIGINT>, message STRING, started_at TIMESTAMP NOT NULL,
        ended_at TIMESTAMP NOT NULL""",
)

ETL_LEASE = Table(
    name="etl_lease",
    grain="the lease of the warehouse: which run has it to itself, and until when",
    key=("name",),
    columns="""
        name STRING NOT NULL, turn BIGINT NOT NULL, holder STRING NOT NULL, run_id STRING NOT NULL,
        job STRING NOT NULL, host STRING NOT NULL, process BIGINT NOT NULL, since TIMESTAMP NOT NULL,
        expires_at TIMESTAMP NOT NULL""",
)

LINES = f"ARRAY<STRUCT<sku: STRING, qty: INT, unit_price: {MONEY}>>"
ORDER_RECORD = f"""STRUCT<
    order_id: STRING, order_date: DATE, created_at: TIMESTAMP, user_id: STRING, amount: {MONEY}, currency: STRING,
    source: STRING, promo: STRING, line_count: INT, is_deleted: BOOLEAN,
    lines: {LINES}>"""
USER_RECORD = "STRUCT<user_id: STRING, email: STRING, created_at: TIMESTAMP, country: STRING>"
PRODUCT_RECORD = f"STRUCT<sku: STRING, name: STRING, category: STRING, price: {MONEY}>"

ETL_STAGE = Table(
    name="etl_stage",
    grain="one input record of one run with its outcome; also one row a file, and one row with the run's manifest",
    key=("run_id", "dataset", "source_file", "block", "row"),
    partition=("run_id", "dataset"),
    is_skipped_by_values=False,
    columns=f"""
        run_id STRING NOT NULL, dataset STRING NOT NULL, outcome STRING NOT NULL, key STRING, version_at TIMESTAMP,
        content_hash BIGINT, is_conflict BOOLEAN NOT NULL, broken_rules ARRAY<STRING>, unknown_fields ARRAY<STRING>,
        raw STRING, source_file STRING, source_size BIGINT, source_modified_at TIMESTAMP, block BIGINT, row BIGINT,
        table_date DATE, orders {ORDER_RECORD}, users {USER_RECORD}, products {PRODUCT_RECORD},
        record_id STRING, payload STRING""",
)

VALUE_PROP_FEATURES = Table(
    name="value_prop_features",
    grain="one valid print of a computed week; equal prints are as many rows",
    key=(),
    partition=("week",),
    columns=f"""
        week DATE NOT NULL, day DATE NOT NULL, user_id STRING NOT NULL, position INT, value_prop STRING NOT NULL,
        clicked INT NOT NULL, views_3w BIGINT NOT NULL, clicks_3w BIGINT NOT NULL, payments_3w BIGINT NOT NULL,
        amount_3w {SUM} NOT NULL, window STRING NOT NULL, window_weeks INT NOT NULL""",
)

ETL_EVENTS = Table(
    name="etl_events",
    grain="one line of the input of the last run of value_props with its outcome",
    key=("dataset", "source_file", "block", "row"),
    is_skipped_by_values=False,
    columns=f"""
        run_id STRING NOT NULL, dataset STRING NOT NULL, outcome STRING NOT NULL, day DATE, user_id STRING,
        value_prop STRING, position INT, amount {MONEY}, content_hash BIGINT, key STRING, broken_rules ARRAY<STRING>,
        unknown_fields ARRAY<STRING>, raw STRING, source_file STRING NOT NULL, block BIGINT NOT NULL,
        row BIGINT NOT NULL""",
)

SALES_TABLES = (FACT_SALES, DIM_ORDER, DIM_USER, DIM_PRODUCT, DAILY_SALES)
"""What a run of the orders job changes one after the other, and a reader wants to see together."""
PUBLISHED_TABLES = (*SALES_TABLES, QUARANTINE)
"""The tables whose versions the ledger has of each run, before and after it."""
ORDER_TABLES = (*PUBLISHED_TABLES, ETL_RUNS, ETL_STAGE)
"""The tables of the orders job."""
FEATURE_TABLES = (VALUE_PROP_FEATURES, QUARANTINE, ETL_RUNS, ETL_EVENTS)
"""The tables of the value-props job."""
ALL_TABLES = (*ORDER_TABLES, VALUE_PROP_FEATURES, ETL_EVENTS, ETL_PULLS, ETL_PUBLISHES, ETL_LEASE)
VIEWS = (ETL_FILES, DQ_RESULTS)
"""What a reader finds beside the tables: in a catalog by name, and in jobs/query.py."""

SCHEMAS = sha256(repr([(table.name, table.columns, table.partition) for table in ALL_TABLES]).encode()).hexdigest()[:16]
"""Tells these declarations from those of another state of the project."""

DIMENSIONS = {"users": DIM_USER, "products": DIM_PRODUCT}
