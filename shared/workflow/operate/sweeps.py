"""Sweep now."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from shared.workflow.plan import Effect, Plan, Who
from shared.workflow.services import Services
from shared.workflow.sweep import Sweep

log = logging.getLogger(__name__)

TIME_LIMIT = timedelta(seconds=60)
"""How long a sweep on demand begins new slices: whoever asked waits for the answer. The timer's sweep goes on."""


class SweepVerbs:
    """What an operator does about drift: not wait for the timer."""

    def __init__(self, services: Services) -> None:
        self._services, self._sweep = services, Sweep(services)

    def sweep(self, who: Who) -> Plan:
        """Compare everything with the ledger now, and mend what differs, as the rules say.

        What would be done is found by a sweep that only looks.
        """
        found = self._sweep.run(self._until, dry_run=True)
        failed = tuple(Effect("cannot look", f"{beat.beat}: {beat.problem}") for beat in found.beats if beat.problem)
        effects = (*found.effects, *failed) or (Effect("nothing", "everything is as the ledger says"),)
        return Plan(effects, lambda: self._run(who))

    def _run(self, who: Who) -> str:
        report = self._sweep.run(self._until, at_once=True)
        for effect in report.effects:
            log.info("sweep, asked for by %s: %s: %s", who.actor, effect.what, effect.subject)
        return "drift"

    @property
    def _until(self) -> datetime:
        return self._services.clock.now() + TIME_LIMIT
