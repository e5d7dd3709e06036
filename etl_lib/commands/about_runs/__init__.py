"""Commands that tell of runs and start none: health, alerts, reports. Most need no Spark."""
