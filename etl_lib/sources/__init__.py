"""Where records come from: landing files, and what is pulled into them. Stands on `run`."""
