"""Runs: queued, prepared, carried out, logged and remembered."""
