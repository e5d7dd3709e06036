"""The Delta tables: how they are declared, made, read, merged and entered in the ledger. Stands on `settings`."""
