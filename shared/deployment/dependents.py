"""The apps built on a stable tag: their records, and the rollouts that a move of the tag begins."""

import secrets
from contextlib import suppress

from msgspec.structs import replace

from shared.domain.errors import Busy, Conflict
from shared.domain.image import ImageRef, parse_repository, short
from shared.domain.policy import App, Gate
from shared.domain.rollout import AppRecord, Cause, Rollout
from shared.domain.stable_tag import StableTag
from shared.ports import SAVE_TRIES, Change, Claimed, Services, Stored, get_or_create, read
from shared.records.step import Following


class Dependents:
    """The apps built on a stable tag."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def roll_out(self, gate: Gate, stable: StableTag, *, claim: bool = False) -> tuple[list[Following], str]:
        """Begin the rollouts of a move, idempotently; with `claim`, this worker claims their builds to start them now.

        Returns those that are not settled, and the names of all. One that has planned its next step is among them: the
        worker that saved the plan may have died before it sent the message.
        """
        apps = self._services.policy.apps_on(gate.name, stable.tag)
        begun: list[Following] = list(filter(None, (self.begin(app, stable, claim=claim) for app in apps)))
        names = ", ".join(f"{rollout.record.app}/{rollout.record.name}" for rollout, _ in begun)
        unsettled = [one for one in begun if not one[0].record.settled]
        return unsettled, names or "no app is built on this tag"

    def are_rolled_out(self, gate: Gate, stable: StableTag) -> bool:
        """Whether every app on a stable tag has its rollout for the tag's current digest."""
        apps = self._services.policy.apps_on(gate.name, stable.tag)
        records = ((app, read(self._services.ledger, AppRecord(app=app.name))) for app in apps)
        return stable.digest is None or all(_is_on(record, app, stable) for app, record in records)

    def rollout_of(self, app: App, stable: StableTag) -> Rollout | None:
        """The rollout that the last move of a stable tag began for an app, or None."""
        record = read(self._services.ledger, AppRecord(app=app.name))
        if not _is_on(record, app, stable):
            return None
        stored = self._services.ledger.load(Rollout, app.name, record.base_rollout)
        return stored.record if stored else None

    def begin(
        self, app: App, stable: StableTag, *, claim: bool = False
    ) -> tuple[Stored[Rollout], Stored[AppRecord]] | None:
        """Begin the rollout of one app for its stable tag's digest, or find the one that was begun before.

        The rollout and the app's record are written in one transaction, and returned. The caller enqueues the rollout.
        None if the rollout was purged.

        Raises:
            Busy: too many conflicts on the app's record.
        """
        for _ in range(SAVE_TRIES):
            stored = get_or_create(self._services.ledger, AppRecord(app=app.name))
            if _is_on(stored.record, app, stable):
                known = self._services.ledger.load(Rollout, app.name, stored.record.base_rollout)
                return (known, stored) if known else None
            record, now = self.with_base(stored.record, app, stable), self._services.clock.now()
            name, why, move = record.base_rollout, f"the base moved to {record.base}", record.base_move
            rollout = record.new_rollout(name, Cause.BASE, now, why, base=record.base, base_move=move)
            if claim:
                rollout = replace(rollout, build=rollout.build.claimed(now, secrets.token_hex(8)))
            with suppress(Conflict):
                begun, saved = self._services.ledger.commit(Change(rollout), Change(record, stored))
                return Claimed(begun.record, begun.etag) if claim else begun, saved
        raise Busy(f"too many conflicts on the record of app {app.name}", delay_seconds=1.0)

    def with_base(self, record: AppRecord, app: App, stable: StableTag) -> AppRecord:
        """The app's record with its stable tag's digest as the base; unchanged if it has that already.

        The moves of two tags have no order: each change of the app's tag in the rules begins a new count.
        """
        if stable.digest is None or _is_on(record, app, stable):
            return record
        rule = self._services.policy.gates[app.base.gate].promote
        server = self._services.registry_rule(rule.registry).login_server
        changes = record.base_changes + (record.base_tag not in ("", _tag_of(app)))
        name = f"base-{short(stable.digest)}-{stable.move:06}"
        return replace(
            record,
            base=ImageRef(server, parse_repository(rule.repository), stable.digest),
            base_tag=_tag_of(app),
            base_move=stable.move,
            base_changes=changes,
            base_rollout=f"{name}-{changes}" if changes else name,
        )


def _is_on(record: AppRecord, app: App, stable: StableTag) -> bool:
    """Whether an app was rolled out for a stable tag's last move, or a later one."""
    return record.base_tag == _tag_of(app) and record.base_move >= stable.move


def _tag_of(app: App) -> str:
    return f"{app.base.gate}:{app.base.tag}"
