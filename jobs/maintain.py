"""The maintain job: small files joined, old ones deleted, invariants checked, runs undone.

./spark-submit.sh jobs/maintain.py check
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/maintain.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.maintain import maintain

main, run = partial(exit_code, maintain), partial(run_process, maintain)

if __name__ == "__main__":
    run()
