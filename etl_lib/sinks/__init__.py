"""Where the tables are published to: relational databases in their own SQL, each change as one transaction."""
