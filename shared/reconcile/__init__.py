"""The reconciliation engine, and the controllers: one a kind of record."""
