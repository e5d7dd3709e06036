"""The ways in which a run is told, each given its metrics: to people and to programs, on this machine and elsewhere."""
