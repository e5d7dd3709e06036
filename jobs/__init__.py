"""One thin module a job: its arguments, then the steps by name."""
