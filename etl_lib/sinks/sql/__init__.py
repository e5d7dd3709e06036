"""Relational databases as sinks, each in its own SQL. Stands on the relations of `sinks`."""
