"""What stands on a promoted image: its apps' records, and the rollouts that a promotion begins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from shared.domain.errors import Conflict, Retry
from shared.domain.image import ImageRef, short
from shared.domain.policy import App, Gate
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.services import Services

_WRITE_ATTEMPTS = 5


class AppRecords:
    """The records of the apps, one an app; made when they are first needed."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def load(self, app: str) -> Stored[AppRecord]:
        """The record of an app."""
        ledger = self._services.ledger
        record = AppRecord(app=app)
        stored = ledger.load(AppRecord, app, record.row) or ledger.insert(record)
        return stored or self.load(app)

    def read(self, app: str) -> AppRecord:
        """The record of an app as it is, without making one."""
        blank = AppRecord(app=app)
        stored = self._services.ledger.load(AppRecord, app, blank.row)
        return stored.record if stored else blank

    def change(self, app: str, change: Callable[[AppRecord], AppRecord]) -> AppRecord:
        """Apply a change to an app's record, again if someone else was faster.

        Raises:
            Retry: someone else was faster too often.
        """
        for _ in range(_WRITE_ATTEMPTS):
            stored = self.load(app)
            changed = change(stored.record)
            if changed == stored.record:
                return changed
            try:
                return self._services.ledger.save(stored, changed).record
            except Conflict:
                continue
        raise Retry(f"the record of app {app} is being changed by others all the time")


class Dependents:
    """The apps on a stable tag."""

    def __init__(self, services: Services) -> None:
        self._services, self._records = services, AppRecords(services)

    def roll_out(self, gate: Gate, tag: str, image: ImageRef, moved_at: datetime) -> list[str]:
        """Begin the rollouts of a promotion, once each however often this is called; returns their names."""
        return [
            f"{app.name}/{self.begin(app, image, moved_at)}" for app in self._services.policy.apps_on(gate.name, tag)
        ]

    def begun(self, gate: Gate, track: Track) -> bool:
        """Whether every app on a stable tag has its rollout of what the tag stands on."""
        if track.digest is None or track.moved_at is None:
            return True
        apps = self._services.policy.apps_on(gate.name, track.tag)
        return all(self.rollout_of(app, track) is not None for app in apps)

    def rollout_of(self, app: App, track: Track) -> Rollout | None:
        """The rollout that the last move of a stable tag began for an app, or None."""
        if track.digest is None or track.moved_at is None:
            return None
        stored = self._services.ledger.load(Rollout, app.name, _name(track.digest, track.moved_at))
        return stored.record if stored else None

    def begin(self, app: App, image: ImageRef, moved_at: datetime) -> str:
        """Begin the rollout of one app on what its stable tag came to at a time; returns its name."""

        tag = f"{app.base.gate}:{app.base.tag}"

        def stand_on(record: AppRecord) -> AppRecord:
            same_tag = record.base_tag in ("", tag)  # the moves of two tags are neither older nor newer
            if same_tag and record.base_moved_at is not None and record.base_moved_at >= moved_at:
                return record
            return msgspec.structs.replace(record, base=image, base_moved_at=moved_at, base_tag=tag)

        self._records.change(app.name, stand_on)
        now = self._services.clock.now()
        rollout = Rollout(
            app=app.name,
            name=_name(image.digest, moved_at),
            cause=Cause.BASE,
            state=RolloutState.BUILDING,
            created_at=now,
            base=image,
            base_moved_at=moved_at,
        ).noting(now, "started", f"the base moved to {image}")
        self._services.ledger.insert(rollout)
        self._services.queue.send(rollout.look, 0)
        return rollout.name


def _name(digest: str, moved_at: datetime) -> str:
    """The name of the rollout of one move: the same however often it is begun."""
    return f"base-{short(digest)}-{moved_at:%Y%m%dT%H%M%S%f}"
