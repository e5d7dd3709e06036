"""DAGs of the orders lakehouse on EMR Serverless: the application, role and bucket of deploy/emr."""

from __future__ import annotations

from lakehouse.dags import backfill_dag, scheduled_dag
from lakehouse.emr_serverless import EmrServerless

# When to load what is new: cron, in UTC. The stack's own schedule must be off then (ScheduleState: DISABLED).
SCHEDULE = "15 3 * * *"
# Whether environment/conf/emr.yaml names sinks. The job of the publish refuses to start without any.
PUBLISHES = True
# The connection of Airflow that has the channels for alerts (type apprise); None leaves alerts to the jobs.
ALERTS = "orders_alerts"

EMR = EmrServerless(
    # Outputs of the stack.
    application_id="{{ var.value.orders_emr_application_id }}",
    role_arn="{{ var.value.orders_emr_role_arn }}",
    bucket="{{ var.value.orders_emr_bucket }}",
    # The folder below code/ that deploy/emr/build.sh has made.
    release="{{ var.value.get('orders_emr_release', '0.1.0') }}",
    # The connection of Airflow to AWS. It starts jobs on the application, passes the role, and reads logs/.
    aws_connection="aws_default",
    # Where the release has its Delta; sizes (docs/explanation/performance.md says how many cores for how much data).
    spark={
        "spark.jars": "/usr/share/aws/delta/lib/delta-spark.jar,/usr/share/aws/delta/lib/delta-storage.jar",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.driver.cores": "2",
        "spark.driver.memory": "6g",
        "spark.executor.cores": "4",
        "spark.executor.memory": "12g",
        "spark.executor.memoryOverhead": "4g",
        "spark.dynamicAllocation.maxExecutors": "4",
    },
)

scheduled = scheduled_dag("orders_emr_serverless", SCHEDULE, EMR.operator, ALERTS, publishes=PUBLISHES)
backfill = backfill_dag("orders_emr_serverless_backfill", EMR.operator, ALERTS)
