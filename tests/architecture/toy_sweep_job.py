"""A toy sweep job, as one more file in `shared/sweep/jobs`: counts the tags that a gate has observed."""

from __future__ import annotations

from collections.abc import Iterator

from shared.domain.observation import Observation
from shared.domain.policy import Gate
from shared.ports import Services
from shared.sweep.job import JobRun, SweepJob


class CountJob(SweepJob):
    """Counts the tags of one gate."""

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"count.{gate.name}", "ledger")
        self._gate = gate

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: all of it is in the ledger."""
        tags = [stored.record.tag for stored in self._services.ledger.list(Observation, self._gate.name)]
        run.note("count", f"{len(tags)} tags of gate {self._gate.name}")
        yield self._gate.name
