"""The two DAGs of a platform: what runs by the clock, and a backfill that a person starts and approves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.apprise.notifications.apprise import AppriseNotifier
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, BaseOperator, Param, TriggerRule

from lakehouse.outcomes import STOPPED, Stopped
from lakehouse.tasks import APPLY, APPROVE, LONGEST, PLAN, SCHEDULED, Task
from lakehouse.traceparent import traceparent

MakeOperator = Callable[[Task], BaseOperator]
"""How a platform runs a task."""


def scheduled_dag(
    dag_id: str, schedule: str | None, operator: MakeOperator, alerts: str | None, *, publishes: bool
) -> DAG:
    """The DAG that loads what is new, makes features, and publishes.

    Takes the schedule (cron, UTC), how the platform runs a task, and the Apprise connection for alerts, or None.
    """
    tasks = SCHEDULED if publishes else SCHEDULED[:-1]
    with _dag(dag_id, schedule, alerts) as dag:
        _chain({task.name: operator(task) for task in tasks}, tasks)
    return dag


def backfill_dag(dag_id: str, operator: MakeOperator, alerts: str | None) -> DAG:
    """The DAG that reads a stretch of time again: plan, look and approve, apply exactly that plan."""
    params = {
        "since": Param(type="string", format="date", description="records from this day on (UTC) ..."),
        "until": Param(type="string", format="date", description="... to before this one"),
    }
    with _dag(dag_id, None, alerts, params) as dag:
        plan, apply = operator(PLAN), operator(APPLY)
        approve = ApprovalOperator(
            task_id=APPROVE,
            subject="Apply the plan of the orders from {{ params.since }} to before {{ params.until }}?",
            body="Run {{ ti.xcom_pull(task_ids='plan')['run_id'] }} would bring "
            "{{ ti.xcom_pull(task_ids='plan')['outcomes'] }}. Its report in the output folder shows the rows. "
            "A plan holds only while no table has moved.",
            ignore_downstream_trigger_rules=True,  # rejected: nothing was stopped by a gate either
            execution_timeout=None,
            response_timeout=timedelta(days=1),
        )
        plan >> approve
        _chain({PLAN.name: plan, APPROVE: approve, APPLY.name: apply}, (PLAN, APPLY))
    return dag


def _dag(dag_id: str, schedule: str | None, alerts: str | None, params: dict[str, Any] | None = None) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=schedule,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,  # the ledger knows what is new: one run loads whatever was missed
        max_active_runs=1,
        params=params,
        render_template_as_native_obj=False,
        user_defined_macros={"traceparent": traceparent},
        default_args={
            "retries": 2,
            "retry_delay": timedelta(minutes=10),
            "execution_timeout": LONGEST,
            "on_failure_callback": [_alert(alerts)] if alerts else [],
        },
        tags=["orders-lakehouse"],
    )


def _alert(connection: str) -> AppriseNotifier:
    """Tells people that a task has failed for good, or that a gate has stopped a run."""
    return AppriseNotifier(
        title="{{ ti.dag_id }}: {{ ti.task_id }} failed",
        body="{{ exception }}\nRun {{ ti.run_id }}, try {{ ti.try_number }}",
        notify_type="failure",
        apprise_conn_id=connection,
    )


def _chain(operators: dict[str, BaseOperator], tasks: tuple[Task, ...]) -> None:
    """Put each task behind the one that it names, and the task for stopped runs behind all of them."""
    stopped = Stopped(
        task_id=STOPPED, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, retries=0, execution_timeout=None
    )
    for task in tasks:
        if task.behind:
            operators[task.behind] >> operators[task.name]
        operators[task.name] >> stopped
