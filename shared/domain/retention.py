"""Which records of a gate and an app are still in use, and which may be purged when they are old. Pure."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice

from shared.domain.candidate import VERDICTS, Candidate
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.promotion import Promotion, PromotionState, promotion_row
from shared.domain.record import Record, Row
from shared.domain.rollout import AppRecord, Cause, Rollout
from shared.domain.stable_tag import StableTag


class Numbers(Row, frozen=True, kw_only=True):
    """The highest sequence among the purged observations of a gate: every new observation gets a higher one."""

    key_fields = ("gate", "gate")

    gate: str
    sequence: int = 0


class LeftOver(Row, frozen=True, kw_only=True):
    """An unused unique tag of a gate, and the stable tag that it was made for.

    `since` is when the promotion that made it last changed. From `removing` on no promotion may use the tag again.
    """

    key_fields = ("gate", "unique")

    gate: str
    unique: str
    digest: Digest
    tag: Tag
    since: datetime
    removing: bool = False


def settled_before(record: Record, before: datetime) -> bool:
    """Whether a record is settled, and has not changed since a moment."""
    return record.settled and record.changed_at < before


def purgeable_attempts(
    attempts: Sequence[Candidate], before: datetime, in_use: Collection[str] = ()
) -> list[Candidate]:
    """The attempts at one digest that may be purged: old ones, but not the first, the last, and the last verdict, nor
    those whose rows are in use.

    `attempts` has the oldest first. One whose evidence a later attempt has taken over is kept with that one. The row of
    the first one marks the digest as known when it is observed again, the last one holds the number that the next
    attempt continues, and a rollback needs the last verdict.
    """
    verdict = next((one for one in reversed(attempts) if one.state in VERDICTS), None)
    spare = (one for one in attempts[1:-1] if one != verdict and one.row not in in_use)
    old = [one for one in spare if settled_before(one, before)]
    needed = {blob for one in attempts if one not in old for blob in one.blobs}
    return [one for one in old if needed.isdisjoint(one.blobs)]


def rows_in_use(
    promotions: Sequence[Promotion],
    stable: StableTag,
    seen: Observation,
    bases: Collection[str],
    at_least: int,
    is_allowed: Callable[[Digest], bool],
) -> set[str]:
    """The rows of a stable tag's promotions (the oldest first) that are in use or can be rolled back to.

    1. The digest that the tag points to or is moved to, that of its source tag, those that are held, and apps' bases.
    2. The rollback options: the last `at_least` other digests that were promoted and are allowed again, among all and
       among those observed before the current one. `is_allowed` is not called if there are no more than that.
    """
    needed = {*bases, stable.digest, stable.claim.digest if stable.claim else None}
    rows = {stable.promotion, promotion_row(stable.tag, seen.sequence)}
    rows |= {one.row for one in promotions if one.state is PromotionState.HELD or one.digest in needed}  # 1
    others = (one for one in reversed(promotions) if one.digest != stable.digest and one.unique)
    options = [one for one in others if one.state is PromotionState.PROMOTED]
    for offered in (options, [one for one in options if one.sequence <= stable.sequence]):  # 2
        rows |= _newest(offered, at_least, is_allowed)
    return rows


def _newest(promotions: Iterable[Promotion], count: int, is_allowed: Callable[[Digest], bool]) -> set[str]:
    """The rows of the first promotions of the first `count` digests that are allowed."""
    by_digest: dict[Digest, str] = {}
    for one in promotions:
        by_digest.setdefault(one.digest, one.row)
    if len(by_digest) <= count:
        return set(by_digest.values())
    allowed = (row for digest, row in by_digest.items() if is_allowed(digest))
    return set(islice(allowed, count))


def bases_of(app: AppRecord) -> set[str]:
    """The base digests of an app: of its current base, of its live image, and of the images to roll back to."""
    bases = (app.base, *(image.base for image in app.good))
    return {base.digest for base in bases if base is not None}


def is_purgeable(rollout: Rollout, app: AppRecord, before: datetime) -> bool:
    """Whether a rollout may be purged: it is old, and neither that of the app's base nor that of a good image.

    The rollout of an image that someone else built keeps the sweep from deploying it again until a newer one was live.
    """
    if not settled_before(rollout, before) or rollout.name in (app.base_rollout, app.deploying):
        return False
    image = rollout.image
    if image is None:
        return True
    is_outdated = rollout.cause is not Cause.IMAGE or app.is_newer(image.built_at)
    return is_outdated and image.digest not in {good.digest for good in app.good}


def last_seen(seen: Observation) -> datetime | None:
    """When anything new about a source tag was last recorded; None if unknown."""
    moments = (seen.first_seen, seen.doubted_at, seen.missed_at, seen.hinted_at, *seen.returned_at)
    return max(filter(None, moments), default=None)


KEPT = timedelta(days=7)
"""How long the answer to a call is kept for its repetition."""


class IdempotentCall(Row, frozen=True, kw_only=True):
    """The record of one call with an idempotency key.

    `call` identifies the request (method, path, and a digest of the query and the body), `answer` is the JSON of the
    first answer, "" while the call is in progress.
    """

    key_fields = ("key", "key")

    key: str
    call: str
    actor: str
    at: datetime
    status: int = 0
    answer: str = ""

    @property
    def partition(self) -> str:
        """The ledger partition: calls are spread by the first digit of their key."""
        return self.key[:1]
