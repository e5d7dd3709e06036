"""DAGs of the orders lakehouse on one machine: the worker has a checkout of the project and runs the jobs in it."""

from __future__ import annotations

from lakehouse.dags import backfill_dag, scheduled_dag
from lakehouse.local import Local

# When to load what is new: cron, in UTC.
SCHEDULE = "15 * * * *"
# Whether the configuration names sinks. The job of the publish refuses to start without any.
PUBLISHES = True
# The connection of Airflow that has the channels for alerts (type apprise); None leaves alerts to the jobs.
ALERTS = "orders_alerts"

LOCAL = Local(
    # The checkout. The job's user must be able to write its warehouse and output.
    home="{{ var.value.get('orders_home', '/opt/orders') }}",
    # What runs a job, as seen from the checkout.
    submit="{{ var.value.get('orders_submit', './spark-submit.sh') }}",
    # The settings, as seen from the checkout.
    config="{{ var.value.get('orders_config', 'conf/local.yaml') }}",
)

scheduled = scheduled_dag("orders_local", SCHEDULE, LOCAL.operator, ALERTS, publishes=PUBLISHES)
backfill = backfill_dag("orders_local_backfill", LOCAL.operator, ALERTS)
