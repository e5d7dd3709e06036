"""The value-props job: from prints, taps and payments, the features that a ranking model learns from.

./spark-submit.sh jobs/value_props.py --as-of 2020-11-25
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/value_props.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.value_props import compute_features

main, run = partial(exit_code, compute_features), partial(run_process, compute_features)

if __name__ == "__main__":
    run()
