"""From files to typed records: text, strict JSON and CSV, values. Stands on `sources`."""
