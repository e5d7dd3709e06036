"""What every process has, whatever it works on: errors, logs, secrets, locks, files, the Spark session.

Knows no table and no dataset.
"""
