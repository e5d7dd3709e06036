"""The publish job: what changed in the tables goes to the configured sinks.

./spark-submit.sh jobs/publish.py --config conf/shop.yaml --plan
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/publish.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.publish import publish

main, run = partial(exit_code, publish), partial(run_process, publish)

if __name__ == "__main__":
    run()
