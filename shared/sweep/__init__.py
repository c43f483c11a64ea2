"""The sweep: resumable jobs that compare the world with the ledger, and repair what differs."""

from shared.sweep.reports import JobReport, JobState, SweepReport
from shared.sweep.sweep import Sweep

__all__ = ["JobReport", "JobState", "Sweep", "SweepReport"]
