"""The quality job: tells the rules and their results to Great Expectations.

./spark-submit.sh jobs/quality.py export
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/quality.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.quality import export_quality

main, run = partial(exit_code, export_quality), partial(run_process, export_quality)

if __name__ == "__main__":
    run()
