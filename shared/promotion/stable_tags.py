"""The stable tags: one mover at a time, and what the record says is what the tag is.

Azure has no conditional tag move. So a mover claims the tag's record, reads the decisions that could stand against the
move, points the tag, reads it back, and saves what it stands on now with the ETag of its claim: whoever changed the
record meanwhile, an operator who holds the tag for one, has it put back. A veto is no change of that record: it is
written first and claims are read afterwards, while a mover claims first and reads vetoes afterwards, so that one of
the two always sees the other.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta

import msgspec

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
"""How long a mover may hold a claim: longer than any invocation (`functionTimeout`), so only a dead one loses it."""

TAKE_OVER_SECONDS = 60.0
"""How soon another worker goes on with a move that one has claimed for the same promotion, and may have died over."""

LISTED_TAGS = 5_000
"""How many tags of a target repository are looked through for what promotions have left there, the newest first."""

REBUILD_REMEDY = "was the ledger lost, or an old one restored? Then `basegate rebuild-ledger`; else remove that tag"
"""What to do about a stable tag that stands on what the ledger has no record of."""

SWEEP = "sweep"
"""Who has claimed a tag that is put back. All other claims name the promotion, or the operator, that moves it."""


class TagTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a stable tag is to stand on: a digest, and the promotion that brought it."""

    digest: Digest
    sequence: int
    promotion: str
    candidate: str
    unique: str


def target_of(promotion: Promotion) -> TagTarget:
    """What a stable tag stands on after a promotion."""
    return TagTarget(
        digest=promotion.digest,
        sequence=promotion.sequence,
        promotion=promotion.row,
        candidate=promotion.candidate,
        unique=promotion.unique,
    )


class StableTags:
    """The records of the stable tags, and the tags themselves."""

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes, self._alarms = services, Vetoes(services), Alarms(services)

    def load(self, gate: Gate, tag: Tag) -> Stored[StableTag]:
        """The record of a stable tag, made when it is first asked for."""
        return get_or_create(self._services.ledger, StableTag(gate=gate.name, tag=tag))

    def read(self, gate: Gate, tag: str) -> StableTag:
        """The record of a stable tag as it is, without making one."""
        return read(self._services.ledger, StableTag(gate=gate.name, tag=Tag(tag)))

    def claimed(self, stable: StableTag, mover: str, digest: Digest, mine: Claim | None = None) -> StableTag:
        """The record with a mover's claim, to be saved; `mine` is the claim of the same worker before.

        Raises:
            Busy: somebody else is moving the tag. Conflict: another worker is making the same move.
        """
        now, claim = self._services.clock.now(), stable.claim
        if claim is not None and claim.until > now and claim.mover != mover:
            raise Busy(f"{stable.tag} is being moved to {short(claim.digest)} by {claim.mover}", delay_seconds=2.0)
        before, until = self.own_claim(stable, mover, mine), now + timedelta(seconds=CLAIM_SECONDS)
        fence = None if before is None else before.fence if before == mine else before.until
        return msgspec.structs.replace(stable, claim=Claim(mover=mover, digest=digest, until=until, fence=fence))

    def own_claim(self, stable: StableTag, mover: str, mine: Claim | None) -> Claim | None:
        """The claim of a worker on the record: `mine`, or one for the same move whose worker counts as dead.

        Raises:
            Conflict: another worker is making the same move right now.
        """
        claim, now = stable.claim, self._services.clock.now()
        if claim is None or claim.mover != mover:
            return None
        if claim != mine and claim.until > now + timedelta(seconds=CLAIM_SECONDS - TAKE_OVER_SECONDS):
            raise Conflict(f"another worker is moving {stable.tag} for {mover}")
        return claim

    def settled(self, stable: StableTag, target: TagTarget, **changes: object) -> StableTag:
        """The record after the tag was pointed at a target. Coming to the digest where it stood is no move."""
        now = self._services.clock.now()
        stands = {name: getattr(target, name) for name in target.__struct_fields__}
        if stable.digest == target.digest:
            moves: dict[str, object] = {"sequence": max(stable.sequence, target.sequence)}
        else:
            moves = {"move": stable.move + 1, "moved_at": now, "moved_by": "", "put_back_at": None}
        return msgspec.structs.replace(
            stable, **(stands | moves | {"claim": stable.claim and stable.claim.after_release(now)} | changes)
        )

    def point(self, gate: Gate, tag: str, digest: Digest, over: StableTag | None = None) -> None:
        """Point the tag at a digest that is in the target repository, and read it back.

        `over` is the tag's record: with it, what an earlier ledger's promotion has brought there stays.

        Raises:
            Gone: the digest is not there. Rejected: the tag is locked. Retry: the tag reads something else afterwards.
            Misconfigured: it stands on what a promotion brought there of which the ledger has no record.
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
            raise Retry(f"{name} was pointed at {short(digest)} and reads {short(there) if there else 'nothing'}")

    def unrecorded(self, gate: Gate, tag: str, there: Digest | None) -> str:
        """What says that a promotion brought a digest to a stable tag, where the ledger has no record of one: "" none.

        That is a unique tag, locked: making one takes the right to lock the stable tag itself, which nobody could put
        back then. Where the rule locks nothing, nothing is known.
        """
        ledger = self._services.ledger
        listed = newest_promotions(ledger, gate.name, tag)
        promotions = (stored.record for stored in listed if stored.record.digest == there)
        if there is None or not gate.promote.locks_copies or any(one.has_passed for one in promotions):
            return ""
        unique = self.unique_tag(gate, tag, there, self.listed(gate))
        is_known = not unique or ledger.load(LeftOver, gate.name, unique)  # its promotion may be in the archive
        return "" if is_known else f"it is {short(there)}, locked as {unique}, and the ledger has no record of that"

    def listed(self, gate: Gate, limit: int = LISTED_TAGS) -> list[TagPush]:
        """The tags of the target repository, the newest first, and no more than a limit."""
        target = self._services.registry_rule(gate.promote.registry)
        return self._services.registry.newest_tags(target, gate.promote.repository, limit)

    def unique_tag(self, gate: Gate, tag: str, digest: Digest, listed: Iterable[TagPush]) -> str:
        """The unique tag of a digest for a stable tag, locked if the rule locks; "" where there is none."""
        target, rule = self._services.registry_rule(gate.promote.registry), gate.promote
        names = (one.tag for one in listed if one.digest == digest and rule.is_unique_tag(one.tag, tag))
        states = ((name, self._services.registry.tag_state(target, rule.repository, name)) for name in names)
        return next((name for name, state in states if state and (state.locked or not rule.locks_copies)), "")

    def move(
        self, gate: Gate, stored: Stored[StableTag], target: TagTarget, mover: str, **changes: object
    ) -> StableTag:
        """Move the tag for an operator: whatever the record says of sequence and hold by then, this decision counts.

        `changes` of the record (a hold, who moved it) are saved with the move.

        Raises:
            Busy: somebody else is moving it. Rejected: the digest is gone or may not stand there, or the tag is locked.
        """
        claim = self._save(stored, self.claimed(stored.record, mover, target.digest, stored.record.claim))
        try:
            self._refuse(gate, target.digest)
            self.point(gate, claim.record.tag, target.digest)
            self._refuse(gate, target.digest)
        except BasegateError:
            self.undo(gate, stored.record.tag, claim.record.claim, target.digest)
            raise
        mine = claim.record.claim
        for _ in range(SAVE_TRIES):
            try:
                return self._services.ledger.save(claim, self.settled(claim.record, target, **changes)).record
            except Conflict:
                claim = self.load(gate, claim.record.tag)
                if claim.record.claim != mine or self._vetoes.against(gate, target.digest):
                    break
        self.undo(gate, stored.record.tag, mine, target.digest)
        raise Busy(f"someone else moved {claim.record.tag} at the same time", delay_seconds=1.0)

    def put_back(self, gate: Gate, stored: Stored[StableTag], found: str) -> None:
        """Point a stable tag that somebody moved around the gate at what its record says; `found` is what it was.

        Raises:
            Busy: somebody is moving it. Rejected: the digest is gone or may not stand there, or the tag is locked.
            Retry: the tag does not stay where it was moved to.
        """
        digest = stored.record.digest
        assert digest is not None  # a tag that stands on nothing has nothing to be put back to
        claim, entry = self._save(stored, self.claimed(stored.record, SWEEP, digest, stored.record.claim)), {}
        try:
            self._refuse(gate, digest)
            self.point(gate, claim.record.tag, digest)
            entry = {"put_back_at": self._services.clock.now(), "put_back_from": found}
            self._refuse(gate, digest)
        finally:
            self._release(gate, claim.record.tag, claim.record.claim, **entry)

    def undo(self, gate: Gate, tag: Tag, mine: Claim | None, moved: Digest) -> None:
        """Take back a move to a digest that may have been made and must not stand, and let a worker's own claim go.

        What the record says is put back, unless that may not stand there: then the newest promotion that may. Where
        there is none the tag is removed, if the role allows. Either way there is an alarm where something had to be
        undone. Whoever else has the claim by now sees to the tag.
        """
        with suppress(BasegateError):  # the fault that led here is the one to report; the sweep finds what is left
            stored = self.load(gate, tag)
            if stored.record.claim != mine and stored.record.is_moving(self._services.clock.now()):
                return
            self._repair(gate, stored, moved)
        self._release(gate, tag, mine)

    def _repair(self, gate: Gate, stored: Stored[StableTag], moved: Digest) -> None:
        stable, registry = stored.record, self._services.registry
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        there = registry.digest_of(target, repository, stable.tag)
        right = self._allowed(gate, stable)
        if there != moved or there == (right.digest if right else None):
            return
        name = f"{target.login_server}/{repository}:{stable.tag}"
        words = f"{name} was {short(there)} for the time of a move that was overtaken by a decision"
        now, scope = self._services.clock.now(), f"gates/{gate.name}"
        alarm = Alarm(scope=scope, kind=AlarmKind.STABLE_MOVED, subject=stable.tag, words=words, plan="", since=now)
        if right is None:
            self._remove(target, repository, alarm)
            return
        self.point(gate, stable.tag, right.digest)
        if right.digest != stable.digest:
            self._save(stored, self.settled(stable, right, claim=stable.claim))
        self._alarms.repaired(alarm, f"put back to {short(right.digest)}")

    def _remove(self, target: RegistryRule, repository: str, alarm: Alarm) -> None:
        """Remove a tag where nothing that it stood on may stand; an alarm stays where the role does not allow it."""
        try:
            self._services.registry.remove_tag(target, repository, alarm.subject)
        except BasegateError as error:
            plan = f"left as it is, see to it: nothing that it stood on before may stand there: {error}"
            self._alarms.raise_alarm(msgspec.structs.replace(alarm, plan=plan))
            return
        self._alarms.repaired(alarm, "removed: nothing that it stood on before may stand there")

    def _allowed(self, gate: Gate, stable: StableTag) -> TagTarget | None:
        """What the tag may stand on: what its record says, or the newest promotion of it that may stand again."""
        if stable.digest is not None and not self._vetoes.against(gate, stable.digest):
            return TagTarget(**{name: getattr(stable, name) for name in TagTarget.__struct_fields__})
        return next((target_of(promotion) for promotion in self.promoted(gate, stable.tag)), None)

    def promoted(self, gate: Gate, tag: str, sequence: int = 0) -> Iterator[Promotion]:
        """What the tag stood on by promotions and may stand on again, the newest first.

        With a sequence, what was observed up to that comes before what was observed later.
        """
        newest = (stored.record for stored in newest_promotions(self._services.ledger, gate.name, tag))
        ordered = sorted(newest, key=lambda one: one.sequence > sequence) if sequence else newest
        kept = (one for one in ordered if one.state is PromotionState.PROMOTED and one.unique)
        return (one for one in kept if not self._vetoes.against(gate, one.digest))

    def _refuse(self, gate: Gate, digest: Digest) -> None:
        if obstacle := self._vetoes.against(gate, digest):
            raise Rejected(obstacle)

    def _release(self, gate: Gate, tag: Tag, mine: Claim | None, **changes: object) -> None:
        """Release a worker's own claim; errors are suppressed so that the original exception propagates."""
        with suppress(BasegateError):
            stored = self.load(gate, tag)
            if mine is not None and stored.record.claim == mine:
                left = mine.after_release(self._services.clock.now())
                self._save(stored, msgspec.structs.replace(stored.record, claim=left, **changes))

    def _save(self, stored: Stored[StableTag], stable: StableTag) -> Stored[StableTag]:
        try:
            return self._services.ledger.save(stored, stable)
        except Conflict:
            raise Busy(f"someone else changed the record of {stable.tag}", delay_seconds=1.0) from None
