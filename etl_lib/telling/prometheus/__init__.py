"""The metrics of a run for Prometheus; needs the extra `metrics`, and is imported where that is on alone."""
