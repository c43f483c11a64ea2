"""The engine that takes records from step to step, and the controllers of each kind of record."""
