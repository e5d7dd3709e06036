"""What a run is told: the configuration, the rules and the command lines, as typed values.

Stands on `process`, and imports nothing of Spark.
"""
