"""Where the tables are published to, each change at once. Stands on `applying`."""
