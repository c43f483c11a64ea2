"""Periodic reconciliation: resumable jobs that find and repair drift that no event reported."""
