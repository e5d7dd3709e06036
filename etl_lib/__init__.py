"""The orders lakehouse: order events in, trusted Delta tables out."""

RELEASE = "0.1.0"
"""The release that writes a warehouse, and the only one that reads it."""
