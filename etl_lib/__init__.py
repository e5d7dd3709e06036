"""The orders lakehouse: order events in, trusted Delta tables out."""
