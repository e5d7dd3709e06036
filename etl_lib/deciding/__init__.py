"""What becomes of each record: judged, compared, staged, counted, let through a gate or not. Stands on `reading`."""
