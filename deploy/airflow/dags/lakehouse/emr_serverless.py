"""Jobs on EMR Serverless, as deploy/emr sets it up."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.operators.emr import EmrServerlessStartJobOperator
from airflow.sdk.exceptions import AirflowException

from lakehouse.outcomes import DONE, FAILED, Concludes
from lakehouse.tasks import LONGEST

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.tasks import Task

EXIT_CODE = re.compile(r"\bExitCode: (\d+)")
"""How the details of a failed job run name the exit code of the driver."""
POLL_S = 30


class EmrServerlessJob(EmrServerlessStartJobOperator, Concludes):
    """Runs a job, and asks for its exit code when it has failed."""

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Start it and wait for its end."""
        try:
            super().execute(context, event)
        except AirflowException as error:
            exit_code = self.exit_code()
            if exit_code is None:  # it was not the job that failed
                raise
            self.log.warning("%s", error)
            self.conclude(context, exit_code)
        else:
            is_told = "--json" in self.job_driver["sparkSubmit"]["entryPointArguments"]
            self.conclude(context, DONE, self.stdout() if is_told else "")

    def exit_code(self) -> int | None:
        """The exit code of a failed job: FAILED where its details name none, None where no job failed."""
        if self.job_id is None:
            return None
        run = self.hook.conn.get_job_run(applicationId=self.application_id, jobRunId=self.job_id)["jobRun"]
        if run["state"] != "FAILED":
            return None
        named = EXIT_CODE.search(run["stateDetails"])
        return int(named[1]) if named else FAILED

    def stdout(self) -> str:
        """What the driver wrote, from the folder of logs; EMR may bring it a little after the end."""
        logs = self.configuration_overrides["monitoringConfiguration"]["s3MonitoringConfiguration"]["logUri"]
        bucket, prefix = S3Hook.parse_s3_url(logs)
        key = f"{prefix.rstrip('/')}/applications/{self.application_id}/jobs/{self.job_id}/SPARK_DRIVER/stdout.gz"
        s3 = S3Hook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        s3.get_conn().get_waiter("object_exists").wait(Bucket=bucket, Key=key)
        return gzip.decompress(s3.get_key(key, bucket).get()["Body"].read()).decode()


@dataclass(frozen=True)
class EmrServerless:
    """Makes the tasks of one application and one bucket."""

    application_id: str
    role_arn: str
    aws_connection: str
    bucket: str
    release: str
    spark: Mapping[str, str]

    def operator(self, task: Task) -> EmrServerlessJob:
        """A task as an operator of the DAG that is being made."""
        code = f"s3://{self.bucket}/code/{self.release}"
        spark = {
            "spark.archives": f"{code}/environment.tar.gz#environment",
            "spark.executorEnv.PYSPARK_PYTHON": "./environment/bin/python",
            **{f"spark.emr-serverless.driverEnv.{name}": value for name, value in self._environment().items()},
            **self.spark,
        }
        driver = {
            "entryPoint": f"{code}/jobs/{task.job}.py",
            "entryPointArguments": ["--config", "environment/conf/emr.yaml", *task.arguments],
            "sparkSubmitParameters": " ".join(f"--conf {name}={value}" for name, value in spark.items()),
        }
        return EmrServerlessJob(
            task_id=task.name,
            name=task.name,
            aws_conn_id=self.aws_connection,
            application_id=self.application_id,
            execution_role_arn=self.role_arn,
            job_driver={"sparkSubmit": driver},
            configuration_overrides={
                "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": f"s3://{self.bucket}/logs/"}}
            },
            config={"executionTimeoutMinutes": int(LONGEST.total_seconds()) // 60},
            waiter_delay=POLL_S,
            waiter_max_attempts=int(LONGEST.total_seconds()) // POLL_S,
            deferrable=False,  # only so the end of the job is seen here
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PYSPARK_DRIVER_PYTHON": "./environment/bin/python",
            "PYSPARK_PYTHON": "./environment/bin/python",
            "ORDERS_INPUT": f"s3://{self.bucket}/landing",
            "ORDERS_WAREHOUSE": f"s3://{self.bucket}/warehouse",
            "ORDERS_OUTPUT": f"s3://{self.bucket}/output",
            "TRACEPARENT": "{{ traceparent(ti) }}",
        }
