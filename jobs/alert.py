"""The alert job: rehearses every channel to people, without Spark.

.venv/bin/python jobs/alert.py test
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/alert.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.about_runs.alert import alert
from etl_lib.commands.entry import exit_code, run_process

main, run = partial(exit_code, alert), partial(run_process, alert)

if __name__ == "__main__":
    run()
