"""The sweep: what no event told. It compares the world with the ledger and mends what differs, beat by beat."""

from shared.workflow.sweep.reports import BeatReport, Standing, SweepReport
from shared.workflow.sweep.sweep import Sweep

__all__ = ["BeatReport", "Standing", "Sweep", "SweepReport"]
