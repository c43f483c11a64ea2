"""What wants a person: what failed, what waits for an answer, what is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from shared.domain.candidate import CandidateState
from shared.domain.rollout import RolloutState
from shared.workflow.board import verbs
from shared.workflow.board.glance import AppGlance, GateGlance, TagGlance
from shared.workflow.board.lines import CandidateLine
from shared.workflow.board.models import Concern
from shared.workflow.board.tones import Tone
from shared.workflow.board.wording import age, moment, short_digest

_URGENCY = (Tone.BAD, Tone.WAITING)


def concerns(gates: Sequence[GateGlance], now: datetime) -> tuple[Concern, ...]:
    """What wants a person at all gates: the failed before the waiting, each once."""
    found: dict[str, Concern] = {}
    for gate in gates:
        for tag in gate.tags:
            for concern in _of_tag(tag, now):
                found.setdefault(f"{concern.state} {concern.link} {concern.subject}", concern)
    return tuple(sorted(found.values(), key=lambda concern: _URGENCY.index(concern.tone)))


def _of_tag(glance: TagGlance, now: datetime) -> Iterator[Concern]:
    newest = glance.newest
    if newest is not None and newest.state is CandidateState.FAILED:
        yield _failed(newest, glance, now)
    for line in glance.candidates:
        if line.awaits_approval:
            yield _unanswered(line, now)
    if glance.track is not None and glance.track.hold is not None:
        yield _held(glance, now)
    for app in glance.apps:
        if app.latest is not None and app.latest.state in (RolloutState.FAILED, RolloutState.RESTORED):
            yield _broken(app, now)


def _failed(line: CandidateLine, glance: TagGlance, now: datetime) -> Concern:
    stands = glance.track.unique if glance.track else ""
    stays = f"{glance.tag} stays on {stands}." if stands else f"{glance.tag} is not promoted."
    name = short_digest(line.digest)
    return Concern(
        subject=f"{line.gate} {', '.join(line.tags)}, {name}",
        state="failed",
        tone=Tone.BAD,
        age=age(line.changed_at, now),
        at=moment(line.changed_at),
        reason=line.reason,
        advice=f"{stays} Read the log; rerun if the cause was outside the image.",
        link=f"candidates/{line.id}",
        actions=(verbs.rerun(line.id, name),),
    )


def _unanswered(line: CandidateLine, now: datetime) -> Concern:
    name = short_digest(line.digest)
    return Concern(
        subject=f"{line.gate} {', '.join(line.tags)}, {name}",
        state="awaits approval",
        tone=Tone.WAITING,
        age=age(line.changed_at, now),
        at=moment(line.changed_at),
        reason=f"attempt {line.attempt} has passed every check before this one",
        advice="Read its story, then approve or reject.",
        link=f"candidates/{line.id}",
        actions=verbs.answers(line.id, name),
    )


def _held(glance: TagGlance, now: datetime) -> Concern:
    assert glance.track is not None and glance.track.hold is not None  # the caller has looked
    hold, stands = glance.track.hold, glance.track.unique or short_digest(glance.track.digest)
    waiting = sum(line.state is CandidateState.HELD for line in glance.candidates)
    behind = f"Passed, and waiting behind it: {waiting}." if waiting else "Nothing waits behind it."
    return Concern(
        subject=f"{glance.gate} {glance.tag} on {stands}",
        state="held",
        tone=Tone.WAITING,
        age=age(hold.at, now),
        at=moment(hold.at),
        reason=f"{hold.actor}: {hold.reason}",
        advice=f"{behind} Lift the hold when the tag may move again.",
        link=f"gates/{glance.gate}",
        actions=(verbs.lift_hold(glance.gate, glance.tag),),
    )


def _broken(glance: AppGlance, now: datetime) -> Concern:
    latest = glance.latest
    assert latest is not None  # the caller has looked
    restored = latest.state is RolloutState.RESTORED
    advice = "The last good image is back." if restored else "The new image is not live."
    return Concern(
        subject=glance.app.name,
        state=latest.state.value,
        tone=Tone.BAD,
        age=age(latest.changed_at, now),
        at=moment(latest.changed_at),
        reason=latest.reason,
        advice=f"{advice} Rebuild when the cause is mended.",
        link=f"rollouts/{latest.id}",
        actions=tuple(verbs.of_app(glance.app)),
    )
