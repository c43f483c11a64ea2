"""Stable tags: one mover at a time, and the tag points to the digest in its record.

Azure has no conditional tag move. So a mover claims the tag's record, reads the standing decisions, points the tag,
reads it back, and saves its new digest with the ETag of the claim: if the record has changed meanwhile (by a hold, for
one), the move is undone. A veto does not change that record: it is written first and claims are read afterwards, while
a mover claims first and reads vetoes afterwards, so that one of the two always sees the other.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta

import msgspec
from msgspec.structs import asdict, replace

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Busy, Conflict, Misconfigured, Rejected, Retry
from shared.domain.image import Digest, Tag, short
from shared.domain.policy import Gate, RegistryRule
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.retention import LeftOver
from shared.domain.stable_tag import Claim, StableTag
from shared.ports import SAVE_TRIES, Services, Stored, TagPush, get_or_create, newest_promotions, read
from shared.promotion.vetoes import Vetoes
from shared.records.alarms import Alarms

log = logging.getLogger(__name__)

CLAIM_SECONDS = 330.0
"""How long a claim is valid: longer than any invocation (`functionTimeout`), so only a dead mover loses it."""

TAKE_OVER_SECONDS = 60.0
"""How long another worker waits to take over the claim of a worker that moves the tag for the same promotion."""

LISTED_TAGS = 5_000
"""How many tags of a target repository are searched for unique tags, the newest first."""

REBUILD_REMEDY = "if the ledger was lost, or an old one restored, run `basegate rebuild-ledger`; else remove that tag"
"""What to do about a stable tag whose digest is not in the ledger."""

SWEEP = "sweep"
"""The mover of a tag that is put back. All other claims name the promotion, or the operator, that moves it."""


class TagTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a stable tag is to point to: a digest, and its promotion."""

    digest: Digest
    sequence: int
    promotion: str
    candidate: str
    unique: str


def target_of(one: Promotion) -> TagTarget:
    """The target of the stable tag in a promotion."""
    return TagTarget(
        digest=one.digest, sequence=one.sequence, promotion=one.row, candidate=one.candidate, unique=one.unique
    )


class StableTags:
    """The records of the stable tags, and the tags themselves."""

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes, self._alarms = services, Vetoes(services), Alarms(services)

    def load(self, gate: Gate, tag: Tag) -> Stored[StableTag]:
        """The record of a stable tag, created if there is none."""
        return get_or_create(self._services.ledger, StableTag(gate=gate.name, tag=tag))

    def read(self, gate: Gate, tag: str) -> StableTag:
        """The record of a stable tag, a blank one if there is none; nothing is written."""
        return read(self._services.ledger, StableTag(gate=gate.name, tag=Tag(tag)))

    def claimed(self, stable: StableTag, mover: str, digest: Digest, own: Claim | None = None) -> StableTag:
        """The record with a mover's claim, to be saved; `own` is the earlier claim of the same worker.

        Raises:
            Busy: another mover has the tag. Conflict: another worker is making the same move.
        """
        now, claim = self._services.clock.now(), stable.claim
        if claim is not None and claim.until > now and claim.mover != mover:
            raise Busy(f"{stable.tag} is being moved to {short(claim.digest)} by {claim.mover}", delay_seconds=2.0)
        before, until = self.own_claim(stable, mover, own), now + timedelta(seconds=CLAIM_SECONDS)
        fence = None if before is None else before.fence if before == own else before.until
        return replace(stable, claim=Claim(mover=mover, digest=digest, until=until, fence=fence))

    def own_claim(self, stable: StableTag, mover: str, own: Claim | None) -> Claim | None:
        """The claim of this worker on the record: `own`, or one for the same move whose worker counts as dead.

        Raises:
            Conflict: another worker is making the same move right now.
        """
        claim, now = stable.claim, self._services.clock.now()
        if claim is None or claim.mover != mover:
            return None
        if claim != own and claim.until > now + timedelta(seconds=CLAIM_SECONDS - TAKE_OVER_SECONDS):
            raise Conflict(f"another worker is moving {stable.tag} for {mover}")
        return claim

    def settled(self, stable: StableTag, target: TagTarget, **changes: object) -> StableTag:
        """The record after the tag was pointed to a target. To point it to its current digest is not a move."""
        now = self._services.clock.now()
        if stable.digest == target.digest:
            moves: dict[str, object] = {"sequence": max(stable.sequence, target.sequence)}
        else:
            moves = {"move": stable.move + 1, "moved_at": now, "moved_by": "", "put_back_at": None}
        released = stable.claim and stable.claim.after_release(now)
        return replace(stable, **(asdict(target) | moves | {"claim": released, "referrers_done": False} | changes))

    def point(self, gate: Gate, tag: str, digest: Digest, over: StableTag | None = None) -> None:
        """Point the tag to a digest that is in the target repository, and read it back.

        `over` is the tag's record: with it, a digest that was promoted under a lost ledger is not replaced.

        Raises:
            Gone: the digest does not exist. Rejected: the tag is locked. Retry: the tag reads back another digest.
            Misconfigured: it points to a promoted digest that is not in the ledger.
        """
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        registry = self._services.registry
        there = registry.digest_of(target, repository, tag)
        if there == digest:
            return
        if over is not None and there not in (None, over.digest) and (why := self.unrecorded(gate, tag, there)):
            raise Misconfigured(f"{tag} is not moved: {why}", remedy=REBUILD_REMEDY)
        registry.point(target, repository, tag, digest)
        there = registry.digest_of(target, repository, tag)
        if there != digest:
            name = f"{target.login_server}/{repository}:{tag}"
            raise Retry(f"{name} was pointed to {short(digest)}, and points to {short(there) if there else 'nothing'}")

    def unrecorded(self, gate: Gate, tag: str, there: Digest | None) -> str:
        """Why a digest of a stable tag counts as promoted although it is not in the ledger; "" if it does not.

        The sign is a locked unique tag: who can make one could as well lock the stable tag itself, which nobody could
        put back then. If the gate's rule locks nothing, there is no sign.
        """
        ledger = self._services.ledger
        listed = newest_promotions(ledger, gate.name, tag)
        promotions = (stored.record for stored in listed if stored.record.digest == there)
        if there is None or not gate.promote.locks_copies or any(one.has_passed for one in promotions):
            return ""
        unique = self.unique_tag(gate, tag, there, self.listed(gate))
        is_known = not unique or ledger.load(LeftOver, gate.name, unique)  # its promotion may be in the archive
        return "" if is_known else f"it points to {short(there)}, locked as {unique}, which is not in the ledger"

    def listed(self, gate: Gate, limit: int = LISTED_TAGS) -> list[TagPush]:
        """The tags of the target repository, the newest first, up to a limit."""
        target = self._services.registry_rule(gate.promote.registry)
        return self._services.registry.newest_tags(target, gate.promote.repository, limit)

    def unique_tag(self, gate: Gate, tag: str, digest: Digest, listed: Iterable[TagPush]) -> str:
        """The unique tag of a digest for a stable tag, locked if the rule locks; "" if there is none."""
        target, rule = self._services.registry_rule(gate.promote.registry), gate.promote
        names = (one.tag for one in listed if one.digest == digest and rule.is_unique_tag(one.tag, tag))
        states = ((name, self._services.registry.tag_state(target, rule.repository, name)) for name in names)
        return next((name for name, state in states if state and (state.locked or not rule.locks_copies)), "")

    def move(
        self, gate: Gate, stored: Stored[StableTag], target: TagTarget, mover: str, **changes: object
    ) -> StableTag:
        """Move the tag for an operator: this overrides the sequence and the hold in the record.

        `changes` of the record (a hold, who moved it) are saved with the move.

        Raises:
            Busy: another mover has the tag. Rejected: the digest is gone or not allowed, or the tag is locked.
        """
        claim = self._save(stored, self.claimed(stored.record, mover, target.digest, stored.record.claim))
        try:
            self._refuse(gate, target.digest)
            self.point(gate, claim.record.tag, target.digest)
            self._refuse(gate, target.digest)
        except BasegateError:
            self.undo(gate, stored.record.tag, claim.record.claim, target.digest)
            raise
        own = claim.record.claim
        for _ in range(SAVE_TRIES):
            try:
                return self._services.ledger.save(claim, self.settled(claim.record, target, **changes)).record
            except Conflict:
                claim = self.load(gate, claim.record.tag)
                if claim.record.claim != own or self._vetoes.against(gate, target.digest):
                    break
        self.undo(gate, stored.record.tag, own, target.digest)
        raise Busy(f"another mover has moved {claim.record.tag} at the same time", delay_seconds=1.0)

    def put_back(self, gate: Gate, stored: Stored[StableTag], found: str) -> None:
        """Put back a stable tag that was moved around the gate; `found` says what it was.

        Raises:
            Busy: a mover has the tag. Rejected: the digest is gone or not allowed, or the tag is locked.
            Retry: the tag reads back another digest.
        """
        digest = stored.record.digest
        assert digest is not None  # a tag without a digest is not put back
        claim, entry = self._save(stored, self.claimed(stored.record, SWEEP, digest, stored.record.claim)), {}
        try:
            self._refuse(gate, digest)
            self.point(gate, claim.record.tag, digest)
            entry = {"put_back_at": self._services.clock.now(), "put_back_from": found}
            self._refuse(gate, digest)
        finally:
            self._release(gate, claim.record.tag, claim.record.claim, **entry)

    def undo(self, gate: Gate, tag: Tag, own: Claim | None, moved: Digest) -> None:
        """Undo a move that may have been made and is not allowed, and release a worker's own claim.

        The digest in the record is put back, or, if that is not allowed, the newest promoted one that is. If there is
        none, the tag is removed, if the role permits it. If anything had to be undone, there is an alarm. If another
        worker has the claim by now, the tag is left to it.
        """
        with suppress(BasegateError):  # the fault that led here is the one to report; the sweep repairs the rest
            stored = self.load(gate, tag)
            if stored.record.claim != own and stored.record.is_moving(self._services.clock.now()):
                return
            self._repair(gate, stored, moved)
        self._release(gate, tag, own)

    def _repair(self, gate: Gate, stored: Stored[StableTag], moved: Digest) -> None:
        stable, registry = stored.record, self._services.registry
        rule, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        there = registry.digest_of(rule, repository, stable.tag)
        target = self._allowed(gate, stable)
        if there != moved or there == (target.digest if target else None):
            return
        name = f"{rule.login_server}/{repository}:{stable.tag}"
        words = f"{name} pointed to {short(there)} during a move that an operator's decision has overtaken"
        now, scope = self._services.clock.now(), f"gates/{gate.name}"
        alarm = Alarm(scope=scope, kind=AlarmKind.STABLE_MOVED, subject=stable.tag, words=words, plan="", since=now)
        if target is None:
            self._remove(rule, repository, alarm)
            return
        self.point(gate, stable.tag, target.digest)
        if target.digest != stable.digest:
            self._save(stored, self.settled(stable, target, claim=stable.claim))
        self._alarms.repaired(alarm, f"put back to {short(target.digest)}")

    def _remove(self, target: RegistryRule, repository: str, alarm: Alarm) -> None:
        """Remove a tag without an allowed digest; there is an active alarm if the role does not permit it."""
        try:
            self._services.registry.remove_tag(target, repository, alarm.subject)
        except BasegateError as error:
            plan = f"no earlier digest is allowed, and the tag cannot be removed: remove it: {error}"
            self._alarms.raise_alarm(replace(alarm, plan=plan))
            return
        self._alarms.repaired(alarm, "removed: no earlier digest is allowed")

    def _allowed(self, gate: Gate, stable: StableTag) -> TagTarget | None:
        """What the tag may point to: the target in its record, or the newest promoted one that is allowed."""
        if stable.digest is not None and not self._vetoes.against(gate, stable.digest):
            return TagTarget(**{name: getattr(stable, name) for name in TagTarget.__struct_fields__})
        return next((target_of(promotion) for promotion in self.promoted(gate, stable.tag)), None)

    def promoted(self, gate: Gate, tag: str, sequence: int = 0) -> Iterator[Promotion]:
        """The promotions of the tag whose digests are allowed again, the newest first.

        With a sequence, those observed up to it come before those observed later.
        """
        newest = (stored.record for stored in newest_promotions(self._services.ledger, gate.name, tag))
        ordered = sorted(newest, key=lambda one: one.sequence > sequence) if sequence else newest
        kept = (one for one in ordered if one.state is PromotionState.PROMOTED and one.unique)
        return (one for one in kept if not self._vetoes.against(gate, one.digest))

    def _refuse(self, gate: Gate, digest: Digest) -> None:
        if obstacle := self._vetoes.against(gate, digest):
            raise Rejected(obstacle)

    def _release(self, gate: Gate, tag: Tag, own: Claim | None, **changes: object) -> None:
        """Release a worker's own claim; errors are suppressed so that the original exception propagates."""
        with suppress(BasegateError):
            stored = self.load(gate, tag)
            if own is not None and stored.record.claim == own:
                left = own.after_release(self._services.clock.now())
                self._save(stored, replace(stored.record, claim=left, **changes))

    def _save(self, stored: Stored[StableTag], stable: StableTag) -> Stored[StableTag]:
        try:
            return self._services.ledger.save(stored, stable)
        except Conflict:
            raise Busy(f"another worker has changed the record of {stable.tag}", delay_seconds=1.0) from None
