"""The sweep: what no event told. It compares the world with the ledger and mends what differs, beat by beat."""

from shared.workflow.sweep.sweep import BeatReport, Standing, Sweep, SweepReport

__all__ = ["BeatReport", "Standing", "Sweep", "SweepReport"]
