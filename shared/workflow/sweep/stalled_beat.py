"""The stalled beat: records that stand still past their time are woken, and task runs nobody waits for are named."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from shared.domain.candidate import Candidate
from shared.domain.decision import Action
from shared.domain.policy import Gate, RegistryRule, TaskCheck
from shared.domain.record import Record
from shared.workflow.candidates import CandidateCourse
from shared.workflow.rollouts import RolloutCourse
from shared.workflow.services import Services
from shared.workflow.step import Course
from shared.workflow.sweep.tour import Tour

log = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""How long past its plan a look may be: a queue that is behind is no standstill."""


class StalledBeat:
    """Wakes the open records of one gate or one app: their chain of looks was lost with a worker or a message."""

    every_seconds = 0.0

    def __init__(self, services: Services, kind: type[Record], partition: str) -> None:
        self._services, self._kind, self._partition = services, kind, partition
        self._course: Course[Any] = CandidateCourse(services) if kind is Candidate else RolloutCourse(services)
        self.name = f"stalled.{kind.__name__.lower()}.{partition}"
        self.lane = "ledger"

    def slices(self, tour: Tour) -> Iterator[str]:
        """One slice: there are few open records, whatever the ledger holds besides."""
        for stored in self._services.ledger.open(self._kind, self._partition):
            record = stored.record
            if self._is_late(record) and self._course.decide(record).action is not Action.DONE:
                subject = f"{record.partition}/{record.row}, due since {self._due(record):%Y-%m-%dT%H:%M:%SZ}"
                tour.note("wake", subject)
                if not tour.dry_run:
                    log.warning("woken: nobody looked at %s", subject)
                    self._services.queue.send(record.look, 0)
        yield self._partition

    def _due(self, record: Record) -> datetime:
        return record.next_look_at or record.created_at

    def _is_late(self, record: Record) -> bool:
        return self._services.clock.now() - self._due(record) > timedelta(seconds=GRACE_SECONDS)


class OrphansBeat:
    """Names the runs that Basegate started and nobody waits for, while a check of a candidate is under way.

    A crash between starting a run and recording it can leave a second one. It only examines, so it does no harm; the
    candidate's own run is found by its mark (docs/adr/0005-runs-are-found-by-a-mark.md), the other is left to end.
    """

    every_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self.name, self.lane = f"orphans.{gate.name}", f"tasks {gate.name}"

    def slices(self, tour: Tour) -> Iterator[str]:
        """One slice; without a check under way the service is not asked, however long candidates wait for a person."""
        since = min(self._under_way(), default=None)
        for rule in self._gate.checks if since else ():
            if isinstance(rule, TaskCheck):
                self._name_orphans(tour, self._services.registry_rule(rule.registry), rule.task, since)
        yield self._gate.name

    def _name_orphans(self, tour: Tour, registry: RegistryRule, task: str, since: datetime | None) -> None:
        assert since is not None  # the caller asks only with checks under way
        others = tuple(f"basegate/{gate}/" for gate in self._services.policy.gates if gate != self._gate.name)
        for run_id, mark in self._services.tasks.marked(registry, task, since):
            if mark.startswith(others):
                continue  # gates may share a task: each names its own
            owner = self._owner(mark)
            if owner is None:
                tour.note("ignore a run", f"{run_id} of {task}: no record asked for it ({mark})")
            elif run_id not in {check.run_id for check in owner.checks}:
                tour.note("ignore a run", f"{run_id} of {task}: candidate {owner.row} goes by another run")

    def _under_way(self) -> Iterator[datetime]:
        """When each task check was claimed that has no verdict yet."""
        kind = str(TaskCheck.__struct_config__.tag)
        for stored in self._services.ledger.open(Candidate, self._gate.name):
            for check in stored.record.checks:
                if check.kind == kind and check.claimed_at is not None and check.verdict is None:
                    yield check.claimed_at

    def _owner(self, mark: str) -> Candidate | None:
        """The candidate that a mark names, `basegate/<gate>/<row>/<check>`; None for marks of others too."""
        parts = mark.split("/")
        if len(parts) != 4 or parts[:2] != ["basegate", self._gate.name]:
            return None
        stored = self._services.ledger.load(Candidate, self._gate.name, parts[2])
        return stored.record if stored else None
