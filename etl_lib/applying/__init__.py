"""From the stage into the tables, step by step. Stands on `deciding`."""
