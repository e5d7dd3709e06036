"""Looking after tables at rest: packing, purging, checking. Stands on `applying`."""
