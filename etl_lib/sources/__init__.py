"""Where orders come from besides a folder: each source lands what it pulls as immutable raw files."""
