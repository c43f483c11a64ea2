"""What needs a person: what failed, what is stalled, what waits for an answer, what is held."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from shared.domain.rollout import RolloutState
from shared.workflow.answers import CandidateSummary, PromotionSummary, RecordSummary
from shared.workflow.board import verbs
from shared.workflow.board.models import Item, Tone
from shared.workflow.board.overview import AppOverview, GateOverview, TagOverview
from shared.workflow.board.wording import age, short_digest

_URGENCY = (Tone.BAD, Tone.WAITING)
_NOT_PASSED = ("failed", "rejected")


def action_items(gates: Sequence[GateOverview], now: datetime) -> tuple[Item, ...]:
    """What needs a person at all gates: the failed before the waiting, each once."""
    found: dict[str, Item] = {}
    for gate in gates:
        for item in _of_gate(gate, now):
            found.setdefault(f"{item.state} {item.link} {item.subject}", item)
    return tuple(sorted(found.values(), key=lambda item: _URGENCY.index(item.tone)))


def _of_gate(gate: GateOverview, now: datetime) -> Iterator[Item]:
    for candidate in gate.candidates:
        if candidate.state == "awaiting approval":
            why = f"attempt {candidate.attempt} has passed every check before this one"
            item = _item(candidate, reason=why, advice="Read its story, then approve or reject.")
            yield replace(item, actions=verbs.answers(candidate.id, short_digest(candidate.digest)))
        elif candidate.state == "stalled":
            yield _item(candidate, reason=candidate.reason, advice=_goes_on(candidate, now))
    for tag in gate.tags:
        yield from _of_tag(tag, now)
        for app in tag.apps:
            yield from _of_app(app, now)


def _of_tag(overview: TagOverview, now: datetime) -> Iterator[Item]:
    newest, candidate = overview.newest, overview.candidate
    if newest is not None and candidate is not None and candidate.state in _NOT_PASSED:
        yield _not_passed(candidate, overview)
    for promotion in overview.promotions:
        if promotion.state == "stalled":
            yield _item(promotion, reason=promotion.reason, advice=_goes_on(promotion, now))
    if newest is not None and newest.state == "withdrawn":
        advice = "It is promoted once its tag is there again with the same digest."
        yield _item(newest, reason=newest.reason, advice=advice)
    if overview.stable is not None and overview.stable.hold is not None:
        yield _held(overview)


def _item(record: RecordSummary, *, reason: str, advice: str) -> Item:
    match record:
        case CandidateSummary():
            subject, link = f"{record.gate} {record.tag}, {short_digest(record.digest)}", f"candidates/{record.id}"
        case PromotionSummary():
            subject = f"{record.gate} {record.tag}, {short_digest(record.digest)}"
            link = f"candidates/{record.candidate}" if record.candidate else f"gates/{record.gate}"
        case _:
            subject, link = record.id.partition(".")[0], f"rollouts/{record.id}"
    since, state = record.changed_at, record.state
    return Item(subject=subject, link=link, state=state, tone=Tone.WAITING, since=since, reason=reason, advice=advice)


def _goes_on(record: RecordSummary, now: datetime) -> str:
    """What to do about a stalled record, and when it is tried again."""
    remedy = f"{record.remedy[0].upper()}{record.remedy[1:]}. " if record.remedy else ""
    due = record.next_try_at is not None and record.next_try_at > now
    when = f"in {age(now, record.next_try_at)}" if due and record.next_try_at else "at any moment"
    return f"{remedy}It goes on by itself once that is right; the next try is {when}."


def _not_passed(candidate: CandidateSummary, overview: TagOverview) -> Item:
    stands = overview.stable.unique if overview.stable else ""
    stays = f"{overview.tag} stays on {stands}." if stands else f"{overview.tag} is not promoted."
    failed = candidate.state == "failed"
    what = "Read the log; rerun if the cause was outside the image." if failed else "Rerun to ask again."
    item = _item(candidate, reason=candidate.reason, advice=f"{stays} {what}")
    return replace(item, tone=Tone.BAD, actions=(verbs.rerun(candidate.id, short_digest(candidate.digest)),))


def _held(overview: TagOverview) -> Item:
    assert overview.stable is not None and overview.stable.hold is not None  # the caller has checked
    hold, stands = overview.stable.hold, overview.stable.unique or short_digest(overview.stable.digest)
    waiting = sum(promotion.state == "held" for promotion in overview.promotions)
    behind = f"Passed, and waiting behind it: {waiting}." if waiting else "Nothing waits behind it."
    return Item(
        subject=f"{overview.gate} {overview.tag} on {stands}",
        state="held",
        tone=Tone.WAITING,
        since=hold.at,
        reason=f"{hold.actor}: {hold.reason}",
        advice=f"{behind} Lift the hold when the tag may move again.",
        link=f"gates/{overview.gate}",
        actions=(verbs.lift_hold(overview.gate, overview.tag),),
    )


def _of_app(overview: AppOverview, now: datetime) -> Iterator[Item]:
    latest = overview.latest
    if latest is None:
        return
    if latest.state == "stalled":
        yield _item(latest, reason=latest.reason, advice=_goes_on(latest, now))
    if latest.state in (RolloutState.FAILED, RolloutState.RESTORED):
        restored = latest.state == RolloutState.RESTORED
        end = "The last good image is back." if restored else "The new image is not live."
        advice = f"{end} Rebuild when the cause is fixed."
        item = _item(latest, reason=latest.reason, advice=advice)
        yield replace(item, tone=Tone.BAD, actions=tuple(verbs.of_app(overview.app)))
