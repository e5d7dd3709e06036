"""Relational databases as sinks: one way to publish, in the dialect of each."""
