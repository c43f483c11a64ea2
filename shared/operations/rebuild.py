"""Rebuild the ledger from registries and container groups, after it was lost, or restored from a backup.

These show the current state, not its history. So that state is recorded, each stable tag is held, and its digest is
examined again if the ledger has no attempt at it. No verdict, decision or approval is invented.
"""

from collections.abc import Iterator
from itertools import chain

from msgspec.structs import replace

from shared.deployment.build import Build
from shared.deployment.dependents import Dependents
from shared.domain.candidate import Candidate, FoundBy, attempts_of, candidate_row, new_attempt
from shared.domain.decide import is_waiting
from shared.domain.errors import BasegateError
from shared.domain.image import Digest, Tag, is_tag, parse_repository, short
from shared.domain.observation import Observation
from shared.domain.policy import App, Gate
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState
from shared.domain.stable_tag import Hold, StableTag
from shared.operations import Plan, Who
from shared.ports import Change, Services, last
from shared.promotion.stable_tags import StableTags
from shared.reconcile.begin import Done, Effect, enqueue

Piece = tuple[Effect, tuple[Change, ...]]
"""One effect and the changes that record it, written in one transaction. No changes: it is only reported."""

_ALL_TAGS = 1_000_000
_UNKNOWN = (
    "verdicts and evidence: an image without a record is not promoted or offered for rollback until it has passed",
    "holds and vetoes: decide again, then lift the holds that this sets",
    "who moved, approved and decided what, and when: see the listeners of outcomes and the archived logs",
    "responses to calls with an Idempotency-Key: a repeated call acts again",
)


class RebuildOperations:
    """The recovery of a lost ledger."""

    def __init__(self, services: Services) -> None:
        self._services, self._ledger = services, services.ledger
        self._stable, self._build, self._dependents = StableTags(services), Build(services), Dependents(services)

    def rebuild(self, who: Who, *, hold_all: bool = False) -> Plan:
        """Record the digests of stable tags and the images of apps that the ledger lacks or has differently.

        With `hold_all`, stable tags that match the ledger are held, too: a restored ledger lacks the last decisions. A
        gate or an app that cannot be read is reported, and the others are rebuilt.
        """
        pieces = list[Piece]()
        for gate in self._services.policy.gates.values():
            pieces += self._tried(f"gate {gate.name}", self._gate(gate, who, hold_all=hold_all))
        records = (change.record for _, changes in pieces for change in changes)
        moved = {(one.gate, one.tag): one for one in records if isinstance(one, StableTag)}
        for app in self._services.policy.apps.values():
            pieces += self._tried(f"app {app.name}", self._app(app, moved.get((app.base.gate, Tag(app.base.tag))), who))
        if not pieces:
            return Plan((Effect("nothing", "everything matches the ledger"),), lambda: Done("drift"))
        effects = (*(effect for effect, _ in pieces), *(Effect("lost", what) for what in _UNKNOWN))
        return Plan(effects, lambda: self._write([changes for _, changes in pieces if changes]))

    def _tried(self, name: str, pieces: Iterator[Piece]) -> list[Piece]:
        try:
            return list(pieces)
        except BasegateError as error:
            return [(Effect("not rebuilt", f"{name}: {error}"), ())]

    def _write(self, transactions: list[tuple[Change, ...]]) -> Done:
        for changes in transactions:
            self._ledger.commit(*changes)
            attempts = [change.record for change in changes if isinstance(change.record, Candidate)]
            enqueue(self._services, (attempt.work_item for attempt in attempts))
        return Done("drift")

    # gates

    def _gate(self, gate: Gate, who: Who, *, hold_all: bool) -> Iterator[Piece]:
        """The stable tags that differ from the ledger, each with the unique tag that its promotion made."""
        listed, now = self._stable.listed(gate, _ALL_TAGS), self._services.clock.now()
        current = {push.tag: push.digest for push in listed}
        records = {stored.record.tag: stored for stored in self._ledger.list(StableTag, gate.name)}
        begun = set[Digest]()
        for tag in sorted(self._tags(gate) | set(records)):
            stored, there = records.get(tag), current.get(tag)
            stable = stored.record if stored else StableTag(gate=gate.name, tag=tag)
            if there is not None and there == stable.digest and hold_all and stable.hold is None:
                held = replace(stable, hold=self._hold(stable.sequence, who))
                yield Effect("hold", f"{tag} of gate {gate.name} at {short(there)}"), (Change(held, stored),)
            if there is None or there == stable.digest or stable.is_moving(now):
                continue
            name = f"{tag} of gate {gate.name}, which points to {short(there)}"
            unique = self._stable.unique_tag(gate, tag, there, listed)
            if not unique:
                yield Effect("leave to the sweep", f"{name}: there is no unique tag of a promotion to it"), ()
                continue
            record = replace(self._held(gate, stable, there, who), unique=unique)
            attempt = () if there in begun else self._attempt(gate, tag, there, who)
            begun.add(there)
            then = "; it is examined again" if attempt else ""
            yield Effect("record and hold", f"{name} as {unique}{then}"), (Change(record, stored), *attempt)

    def _tags(self, gate: Gate) -> set[Tag]:
        """The tags that the gate tracks, at the source or in the ledger."""
        rule, source = gate.source.tracked, self._services.registry_rule(gate.source.registry)
        listed = self._services.tags.tags(source, gate.source.repository) if rule.needs_listing else ()
        observed = {stored.record.tag for stored in self._ledger.list(Observation, gate.name)}
        return observed | {Tag(name) for name in chain(rule.exact, rule.select(filter(is_tag, listed)))}

    def _held(self, gate: Gate, stable: StableTag, there: Digest, who: Who) -> StableTag:
        """The record of a tag, held at its digest, with a sequence not below any in the ledger."""
        seen = self._ledger.load(Observation, gate.name, stable.tag)
        known = last(self._ledger, Candidate, gate.name, attempts_of(there))
        number = seen.record.sequence + (seen.record.digest != there) if seen else 1
        return replace(
            stable,
            digest=there,
            sequence=max(stable.sequence, number),
            promotion="",
            candidate=known.record.row if known else candidate_row(there, 1),
            move=stable.move + 1,
            moved_at=self._services.clock.now(),
            moved_by=f"rebuilt by {who}",
            claim=None,
            hold=stable.hold or self._hold(number, who),
        )

    def _hold(self, sequence: int, who: Who) -> Hold:
        why, now = f"the ledger was lost, and with it any earlier hold: {who.reason}", self._services.clock.now()
        return Hold(actor=who.actor, reason=why, at=now, sequence=sequence)

    def _attempt(self, gate: Gate, tag: Tag, there: Digest, who: Who) -> tuple[Change, ...]:
        """The attempt that examines a digest in the target registry, if there is none: the source may not have it."""
        if last(self._ledger, Candidate, gate.name, attempts_of(there)) is not None:
            return ()
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        now = self._services.clock.now()
        attempt = new_attempt(gate, target, there, tag, now).noting(now, "admitted", f"ledger rebuilt by {who}")
        where = {"repository": parse_repository(repository), "found_by": FoundBy.OPERATOR, "requested_by": who.actor}
        return (Change(replace(attempt, **where)),)

    # apps

    def _app(self, app: App, moved: StableTag | None, who: Who) -> Iterator[Piece]:
        """The image in the container group of an app, if that is not the last deployment in the ledger.

        A rollout that is deploying continues, unless the group has an image that the ledger lacks: that was deployed
        later, and ends the rollout. Images built before now are not rolled out: they may have been rolled back.
        """
        group = self._services.target(app.deploy).get(app.deploy) if app.deploy else None
        stored = self._ledger.load(AppRecord, app.name, "app")
        record = stored.record if stored else AppRecord(app=app.name)
        agreed = record.live if record.live and group and group.image == record.live.reference else None
        if group is None or (agreed and moved is None):
            return
        under_way = [one for one in self._ledger.open(Rollout, app.name) if not one.record.settled]
        on_group = [one for one in under_way if not is_waiting(one.record)]
        lookup = self._build.identify_unrecorded if on_group else self._build.identify
        image = agreed or lookup(app, group.image)
        if image is None:
            unknown = f"the image of app {app.name}: no run of {app.build.task} is found that built {group.image}"
            yield from [] if on_group else [(Effect("lost", unknown), ())]
            return
        why, now = f"ledger rebuilt by {who}", self._services.clock.now()
        ended = [Change(one.record.ended(now, RolloutState.SUPERSEDED, why), one) for one in on_group]
        begun = record.new_rollout(f"rebuilt-{now:%Y%m%dT%H%M%S%f}", Cause.OPERATOR, now, why, image=image)
        live = begun.ended(now, RolloutState.LIVE, "it is running already")
        stable = moved or self._stable.read(self._services.policy.gates[app.base.gate], app.base.tag)
        on_base = self._dependents.with_base(record, app, stable)
        named = live.name if on_base.base_rollout != record.base_rollout else record.base_rollout
        runs = (*record.runs, f"{image.login_server}/{image.run_id}")
        on_base = replace(on_base, base_rollout=named, runs=runs, newest_built_at=now)
        effect = Effect("record", f"{image} of app {app.name} as its live image; its base is unknown")
        yield effect, (Change(live), Change(on_base.with_live(image, now, by=live), stored), *ended)
