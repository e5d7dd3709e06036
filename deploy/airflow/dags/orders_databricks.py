"""DAGs of the orders lakehouse on Databricks: tables in Unity Catalog, wheel and settings in a volume."""

from __future__ import annotations

from lakehouse.dags import backfill_dag, scheduled_dag
from lakehouse.databricks import Databricks

# When to load what is new: cron, in UTC. The schedule of the bundle in deploy/databricks must be paused then.
SCHEDULE = "15 * * * *"
# Whether the configuration names sinks. The job of the publish refuses to start without any.
PUBLISHES = True
# The connection of Airflow that has the channels for alerts (type apprise); None leaves alerts to the jobs.
ALERTS = "orders_alerts"

CODE = "{{ var.value.get('orders_databricks_code', '/Volumes/main/orders/code') }}"
DATABRICKS = Databricks(
    # The connection of Airflow to the workspace. Its principal owns the runs.
    connection="databricks_default",
    # A volume with the wheel and conf/.
    wheel=f"{CODE}/orders_lakehouse-0.1.0-py3-none-any.whl",
    config=f"{CODE}/conf/databricks.yaml",
    # Each task has a cluster of its own while it runs. `instance_pool_id` instead of `node_type_id` starts it faster.
    cluster={
        "spark_version": "18.x-scala2.13",
        "node_type_id": "{{ var.value.get('orders_databricks_node_type', 'm5d.2xlarge') }}",
        "num_workers": 2,
        "data_security_mode": "DATA_SECURITY_MODE_DEDICATED",
    },
    # What conf/databricks.yaml asks for.
    environment={
        "ORDERS_CATALOG": "{{ var.value.get('orders_databricks_catalog', 'main') }}",
        "ORDERS_SCHEMA": "{{ var.value.get('orders_databricks_schema', 'orders') }}",
        "ORDERS_INPUT": "{{ var.value.get('orders_databricks_landing', '/Volumes/main/orders/landing') }}",
        "ORDERS_OUTPUT": "{{ var.value.get('orders_databricks_output', '/Volumes/main/orders/output') }}",
    },
)

scheduled = scheduled_dag("orders_databricks", SCHEDULE, DATABRICKS.operator, ALERTS, publishes=PUBLISHES)
backfill = backfill_dag("orders_databricks_backfill", DATABRICKS.operator, ALERTS)
