"""A folder of Parquet files as a sink: readers find a publish whole, the old or the new."""
