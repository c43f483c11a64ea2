"""Observation of source tags, for events, the sweep and operators: the only way a digest enters a gate.

The observation is loaded before the registry is asked, and the answer is saved with the ETag of that load, together
with what it leads to: a candidate, a promotion, or a higher sequence for a stable tag that points to it already.
"""

import secrets
from collections.abc import Collection
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from shared.domain.candidate import Candidate, FoundBy, attempt_after, attempts_of, new_attempt
from shared.domain.errors import Busy, Conflict
from shared.domain.image import Digest, Tag, short
from shared.domain.observation import Change as Meaning
from shared.domain.observation import Observation
from shared.domain.policy import Gate, Phase, seconds
from shared.domain.promotion import (
    PROMOTIONS_AT_ONCE,
    REOPENABLE,
    Promotion,
    PromotionState,
    new_promotion,
    promotion_row,
)
from shared.domain.record import WorkItem
from shared.domain.retention import Numbers
from shared.domain.stable_tag import StableTag
from shared.ports import SAVE_TRIES, Change, Claimed, Services, Stored, newest_promotions, read

SWEEP_INTERVAL_SECONDS = 300.0
"""The seconds between two readings of a tag whose registry has no `interval`: every sweep reads it."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The result of recording a registry's answer, and the work items of records that have a next step.

    `attempt` is the one that an event led to, with this worker's claim, if its first check starts a run: this worker
    starts it immediately.
    """

    meaning: Meaning
    digest: Digest | None = None
    sequence: int = 0
    items: tuple[WorkItem, ...] = ()
    attempt: Claimed[Candidate] | None = None


class Trigger(msgspec.Struct, frozen=True):
    """Why a tag is read: `expected` is the digest that an event named, `who` the operator and reason ("ada: why")."""

    by: FoundBy
    expected: str = ""
    who: str = ""

    def __str__(self) -> str:
        return self.who or self.by.value


class Observer:
    """Reads and records source tags."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def observe(self, gate: Gate, tag: Tag, trigger: Trigger) -> Observed:
        """Read a tag from the source registry, and record the answer.

        Raises:
            Busy: too many conflicts with other workers.
            BasegateError: the registry's error (see `TagReader`).
        """
        source = self._services.registry_rule(gate.source.registry)
        for _ in range(SAVE_TRIES):
            stored = self._services.ledger.load(Observation, gate.name, tag)
            digest = self._services.tags.digest_of(source, gate.source.repository, tag)
            with suppress(Conflict):
                return self.record(gate, tag, stored, digest, trigger)
        raise Busy(f"too many conflicts on tag {tag} of gate {gate.name}", delay_seconds=1.0)

    def record(
        self, gate: Gate, tag: Tag, stored: Stored[Observation] | None, digest: Digest | None, trigger: Trigger
    ) -> Observed:
        """Record what a registry answered after `stored` was loaded.

        An answer that changes nothing writes nothing, except the time of a reading because of an event.

        Raises:
            Conflict: another worker has saved an observation of this tag since.
        """
        before, now = stored.record if stored else Observation(gate=gate.name, tag=tag), self._services.clock.now()
        seen, meaning = before.read(digest, now, self.interval(gate), Digest(trigger.expected))
        if trigger.by is FoundBy.EVENT:
            seen = replace(seen, hinted_at=now, again_at=None)
        if seen == before:
            return Observed(meaning=meaning, digest=before.digest, sequence=before.sequence)
        if meaning.needs_promotion:
            return self._save_change(gate, _counted(seen, trigger.by), stored, meaning, trigger)
        reopened = list[Change]()
        if meaning is Meaning.BACK:
            withdrawn = self._services.ledger.load(Promotion, gate.name, promotion_row(tag, seen.sequence))
            reopened += self._reopened(withdrawn, "its tag exists again", (PromotionState.WITHDRAWN,))
        self._services.ledger.commit(Change(seen, stored), *reopened)
        items = tuple(change.record.work_item for change in reopened)
        return Observed(meaning=meaning, digest=seen.digest, sequence=seen.sequence, items=items)

    def interval(self, gate: Gate) -> float:
        """The seconds between two readings of a tag of the gate's source."""
        return float(seconds(self._services.registry_rule(gate.source.registry).interval)) or SWEEP_INTERVAL_SECONDS

    def promote_again(self, gate: Gate, tag: Tag, why: str) -> tuple[WorkItem, ...]:
        """Promote the observed digest of a source tag again, after a decision that prevented it has ended.

        Held promotions continue. If the observed digest was promoted before and the stable tag points to another digest
        now, it gets a new sequence.

        Raises:
            Conflict: another worker has observed the tag meanwhile, with the same effect.
        """
        ledger, held = self._services.ledger, (PromotionState.HELD,)
        rows = [one.record.row for one in newest_promotions(ledger, gate.name, tag)][::-1]
        items = [item for row in rows for item in self._reopen(gate.name, [row], why, held)]
        stored, stable = ledger.load(Observation, gate.name, tag), ledger.load(StableTag, gate.name, tag)
        if stored is None or stored.record.digest is None or stored.record.absent:
            return tuple(items)
        if stable is not None and stable.record.digest == stored.record.digest:
            return tuple(items)
        current = ledger.load(Promotion, gate.name, promotion_row(tag, stored.record.sequence))
        if current is not None and current.record.under_way:
            return (*items, current.record.work_item)
        behind = stable is not None and stable.record.sequence > stored.record.sequence
        reopened = [] if behind else self._reopened(current, why, REOPENABLE)
        if reopened:
            ledger.commit(*reopened)
            return (*items, *(change.record.work_item for change in reopened))
        observed = self._save_change(gate, stored.record, stored, Meaning.RETURNED, Trigger(FoundBy.OPERATOR, who=why))
        return (*items, *observed.items)

    def attempt_again(
        self, gate: Gate, latest: Candidate, who: str, *, keeps_results: bool = False
    ) -> tuple[Candidate, tuple[WorkItem, ...]]:
        """Start another attempt at a digest, and reopen the promotions of the tags that point to it now.

        Its checks run again, unless it `keeps_results` of the last attempt. The promotions are reopened in the same
        transaction, up to its limit: if this worker dies after it, no promotion stays refused although the attempt
        passes. Those that wait are written, too: a worker that is about to end one with the last attempt must not.

        Raises:
            Conflict: another worker has started that attempt. Busy: too many conflicts on the promotions.
        """
        now, source = self._services.clock.now(), self._services.registry_rule(gate.source.registry)
        attempt, why = attempt_after(latest, gate, source, now, keeps_results=keeps_results), f"requested by {who}"
        attempt = attempt.noting(now, "admitted", why)
        if not keeps_results:  # else who requested the results has requested this one
            attempt = replace(attempt, requested_by=who.partition(":")[0], found_by=FoundBy.OPERATOR)
        listed = (stored.record for stored in self._services.ledger.list(Observation, gate.name))
        rows = [promotion_row(seen.tag, seen.sequence) for seen in listed if seen.digest == latest.digest]
        states = (*REOPENABLE, PromotionState.WAITING)
        items = self._reopen(gate.name, rows[:PROMOTIONS_AT_ONCE], why, states, attempt)
        for row in rows[PROMOTIONS_AT_ONCE:]:
            items += self._reopen(gate.name, [row], why, states)
        return attempt, tuple(items)

    def _save_change(
        self, gate: Gate, seen: Observation, stored: Stored[Observation] | None, meaning: Meaning, trigger: Trigger
    ) -> Observed:
        """Save a change of a tag with the promotion and the attempt that it leads to, in one transaction.

        Its sequence is above that of its stable tag, and of all purged observations. These are read only while the tag
        itself has none: a stable tag has its sequence from an observation.
        """
        ledger, now, digest = self._services.ledger, self._services.clock.now(), seen.digest
        assert digest is not None  # an absence has no promotion
        stable = None if seen.sequence else ledger.load(StableTag, gate.name, seen.tag)
        purged = 0 if seen.sequence else read(ledger, Numbers(gate=gate.name)).sequence
        sequence = max(seen.sequence, stable.record.sequence if stable else 0, purged) + 1
        source = self._services.registry_rule(gate.source.registry)
        why = f"{seen.tag} is {short(digest)}, {meaning}, by {trigger}"
        promotion = new_promotion(gate, source, seen.tag, digest, sequence, now).noting(now, "observed", why)
        promotion = replace(promotion, returning=meaning is Meaning.RETURNED)
        candidate = new_attempt(gate, source, digest, seen.tag, now).noting(now, "admitted", why)
        asked_by, first = trigger.who.partition(":")[0], gate.first_check
        claims = trigger.by is FoundBy.EVENT and gate.checks[first].phase is not Phase.READ
        candidate = replace(candidate, found_by=trigger.by, requested_by=asked_by)
        if claims:
            check = candidate.checks[first].claimed(now, secrets.token_hex(8))
            candidate = candidate.with_check_record(first, check)
        observed = Change(seen.with_sequence(sequence), stored)
        try:
            *_, attempt = ledger.commit(observed, Change(promotion), Change(candidate))
        except Conflict:
            return self._save_known(gate, observed, promotion, meaning)
        claimed, items = Claimed(attempt.record, attempt.etag) if claims else None, (candidate.work_item,)
        return Observed(meaning=meaning, digest=digest, sequence=sequence, items=items, attempt=claimed)

    def _save_known(self, gate: Gate, observed: Change, promotion: Promotion, meaning: Meaning) -> Observed:
        """Save a change to a digest that has an attempt already.

        If the stable tag points to it already, and is not being moved, only its sequence is raised.

        Raises:
            Conflict: it has no attempt: another worker has saved an observation of the tag.
        """
        ledger, digest, sequence = self._services.ledger, promotion.digest, promotion.sequence
        if next(iter(ledger.list(Candidate, gate.name, attempts_of(digest))), None) is None:
            raise Conflict(f"tag {promotion.tag} of gate {gate.name} was observed by another worker")
        stable, now = ledger.load(StableTag, gate.name, promotion.tag), self._services.clock.now()
        if stable is not None and stable.record.digest == digest and not stable.record.is_moving(now):
            ledger.commit(observed, Change(replace(stable.record, sequence=sequence), stable))
            return Observed(meaning=meaning, digest=digest, sequence=sequence)
        ledger.commit(observed, Change(promotion))
        return Observed(meaning=meaning, digest=digest, sequence=sequence, items=(promotion.work_item,))

    def _reopen(
        self, gate: str, rows: list[str], why: str, states: Collection[PromotionState], attempt: Candidate | None = None
    ) -> list[WorkItem]:
        """Reopen the promotions that are in one of those states, retrying conflicts.

        All are written in one transaction, with a new attempt if there is one. Without an attempt, too many conflicts
        leave the promotions to the other workers.

        Raises:
            Conflict: another worker has started that attempt. Busy: too many conflicts on the promotions.
        """
        ledger, new = self._services.ledger, [Change(attempt)] if attempt else []
        for _ in range(SAVE_TRIES):
            loaded = [ledger.load(Promotion, gate, row) for row in rows]
            changes = [*new, *(change for one in loaded for change in self._reopened(one, why, states))]
            try:
                if changes:
                    ledger.commit(*changes)
            except Conflict:
                if attempt is not None and ledger.load(Candidate, gate, attempt.row) is not None:
                    raise
            else:
                return [change.record.work_item for change in changes]
        if attempt is None:
            return []
        raise Busy(f"too many conflicts on the promotions of {attempt.id}", delay_seconds=1.0)

    def _reopened(self, stored: Stored[Promotion] | None, why: str, states: Collection[PromotionState]) -> list[Change]:
        """The change that reopens a promotion; empty unless it is in one of those states."""
        if stored is None or stored.record.state not in states:
            return []
        return [Change(stored.record.reset().noting(self._services.clock.now(), "reopened", why), stored)]


def _counted(seen: Observation, by: FoundBy) -> Observation:
    """Counts a change that an event or the sweep has found. A tag's first reading does not count."""
    if not seen.earlier:
        return seen
    counts = {FoundBy.EVENT: {"by_event": seen.by_event + 1}, FoundBy.SWEEP: {"by_sweep": seen.by_sweep + 1}}
    return replace(seen, **counts.get(by, {}))
