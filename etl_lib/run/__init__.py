"""One run of any job: opened, told, reported, undone. Stands on `tables`."""
