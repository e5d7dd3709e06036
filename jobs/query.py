"""Runs one SQL file on the warehouse, whose tables it finds by their plain names, and prints the rows.

./spark-submit.sh jobs/query.py docs/queries/top_users.sql
"""

import sys
from functools import partial
from pathlib import Path

# Plain `spark-submit jobs/query.py` from a checkout finds the package beside this folder.
# Not by `__file__`, which Databricks does not set.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from etl_lib.commands.entry import exit_code, run_process
from etl_lib.commands.query import query

main, run = partial(exit_code, query), partial(run_process, query)

if __name__ == "__main__":
    run()
