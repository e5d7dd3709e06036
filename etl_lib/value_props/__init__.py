"""Prints, taps and pays become the features of weeks: a stage with another end. Stands on `applying`."""
