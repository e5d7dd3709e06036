"""Telling other systems of a run: traces and lineage, each only where the settings ask for it."""
