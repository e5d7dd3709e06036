"""What the DAGs of the orders lakehouse share."""
