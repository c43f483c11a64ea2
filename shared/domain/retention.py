"""What of a gate and an app is still stood on, and what may go once it is old. Pure."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from shared.domain.candidate import VERDICTS, Candidate
from shared.domain.image import Digest, Tag
from shared.domain.observation import Observation
from shared.domain.promotion import Promotion, PromotionState, promotion_row
from shared.domain.record import Record, Row
from shared.domain.rollout import AppRecord, Cause, Rollout
from shared.domain.stable_tag import StableTag


class Numbers(Row, frozen=True, kw_only=True):
    """The highest number that a purged observation of a gate had: whatever is observed anew gets a higher one."""

    key_fields = ("gate", "gate")

    gate: str
    sequence: int = 0


class LeftOver(Row, frozen=True, kw_only=True):
    """A unique tag of a gate that nothing stands on any more, and the stable tag that it was made for.

    `since` is when something happened last to the promotion that it was made by.
    """

    key_fields = ("gate", "unique")

    gate: str
    unique: str
    digest: Digest
    tag: Tag
    since: datetime


def changed_at(record: Record) -> datetime:
    """When something happened to a record last."""
    return record.history[-1].at if record.history else record.created_at


def settled_before(record: Record, before: datetime) -> bool:
    """Whether nothing is left to do with a record, and nothing has happened to it since a moment."""
    return record.settled and changed_at(record) < before


def purgeable_attempts(attempts: Sequence[Candidate], before: datetime) -> list[Candidate]:
    """The attempts at one digest, the oldest first, that are past, but for the first, the last, and the last verdict.

    The first one tells whoever observes the digest again that it is known (its row is there already), the last one
    carries the number that the next attempt counts on, the last verdict what a rollback needs.
    """
    verdict = next((one for one in reversed(attempts) if one.state in VERDICTS), None)
    return [one for one in attempts[1:-1] if one != verdict and settled_before(one, before)]


def rows_in_use(
    promotions: Sequence[Promotion],
    stable: StableTag,
    seen: Observation,
    bases: Collection[str],
    at_least: int,
    is_allowed: Callable[[Digest], bool],
) -> set[str]:
    """The rows of a stable tag's promotions, the oldest first, that something stands on, or can go back to.

    1. What the tag stands on or is moved to, what its source tag is now, what is held, and the bases of apps.
    2. What is offered as a way back: the last `at_least` other digests that were promoted and may stand again, of all
       and of those that were observed before what the tag stands on. Where there are no more nobody is asked what may.
    """
    needed = {*bases, stable.digest, stable.claim.digest if stable.claim else None}
    rows = {stable.promotion, promotion_row(stable.tag, seen.sequence)}
    rows |= {one.row for one in promotions if one.state is PromotionState.HELD or one.digest in needed}  # 1
    others = (one for one in reversed(promotions) if one.digest != stable.digest and one.unique)
    ways_back = [one for one in others if one.state is PromotionState.PROMOTED]
    for offered in (ways_back, [one for one in ways_back if one.sequence <= stable.sequence]):  # 2
        rows |= _newest(offered, at_least, is_allowed)
    return rows


def _newest(promotions: Iterable[Promotion], count: int, is_allowed: Callable[[Digest], bool]) -> set[str]:
    """The rows of the first promotions of so many digests that may stand."""
    by_digest: dict[Digest, str] = {}
    for one in promotions:
        by_digest.setdefault(one.digest, one.row)
    if len(by_digest) <= count:
        return set(by_digest.values())
    rows = set[str]()
    for digest, row in by_digest.items():
        if len(rows) < count and is_allowed(digest):
            rows.add(row)
    return rows


def bases_of(app: AppRecord) -> set[str]:
    """The digests of what an app is built on, what is live, and what it can go back to."""
    bases = (app.base, *(image.base for image in app.good))
    return {base.digest for base in bases if base is not None}


def is_purgeable(rollout: Rollout, app: AppRecord, before: datetime) -> bool:
    """Whether a rollout is past and nothing asks for it: it is not that of the app's base, and not of a good image.

    That an image of somebody else is known keeps the sweep from deploying it again, while no newer one was live.
    """
    if not settled_before(rollout, before) or rollout.name in (app.base_rollout, app.deploying):
        return False
    image = rollout.image
    if image is None:
        return True
    is_old_news = rollout.cause is not Cause.IMAGE or app.is_newer(image.built_at)
    return is_old_news and image.digest not in {good.digest for good in app.good}


def last_seen(seen: Observation) -> datetime | None:
    """When anything was learned of a source tag last; None where that is not known."""
    moments = (seen.first_seen, seen.doubted_at, seen.missed_at, seen.hinted_at, *seen.returned_at)
    return max(filter(None, moments), default=None)


KEPT = timedelta(days=7)
"""How long an answer is kept for a repeat."""


class IdempotentCall(Row, frozen=True, kw_only=True):
    """The record of one call.

    `call` names what was asked for (method, path, and a digest of the query and the body), `answer` is the JSON of
    the first answer, "" while it is being worked on.
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
        """The ledger partition: all calls, by the first digit of their key."""
        return self.key[:1]
