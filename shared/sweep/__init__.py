"""The sweep: resumable jobs that compare the world with the ledger, and repair what differs."""

from shared.sweep.sweep import JobReport, JobState, Sweep, SweepReport

__all__ = ["JobReport", "JobState", "Sweep", "SweepReport"]
