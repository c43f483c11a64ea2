"""The flow picture: from an upstream digest to a running container, for each stable tag."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shared.domain.alarm import AlarmKind
from shared.domain.candidate import CandidateState
from shared.domain.rollout import RolloutState
from shared.domain.track import Track
from shared.workflow.answers import PromotionProgress
from shared.workflow.board import verbs
from shared.workflow.board.actions import Choice
from shared.workflow.board.alarms import IN_PLACE
from shared.workflow.board.glance import AppGlance, GateGlance, TagGlance
from shared.workflow.board.lines import CandidateLine
from shared.workflow.board.models import AppLane, GateFlow, Lane, Stage
from shared.workflow.board.tones import Tone, tone_of
from shared.workflow.board.wording import age, moment, short_digest, short_image

_CHOICES, _QUIET_LANES = 10, 3
_QUIET = (Tone.GOOD, Tone.IDLE)
_OF_THE_TAG = (
    AlarmKind.STABLE_MOVED,
    AlarmKind.STABLE_VETOED,
    AlarmKind.UNIQUE_CHANGED,
    AlarmKind.PROMOTED_GONE,
)
_ON_THE_GROUP = (RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING)


def gate_flow(gate: GateGlance, now: datetime) -> GateFlow:
    """A gate with a lane for each of its tags; of many quiet ones without an app, the first few stand in front."""
    lanes = [_lane(tag, gate.source, now) for tag in gate.tags]
    quiet = [lane for lane in lanes if not lane.apps and all(stage.tone in _QUIET for stage in lane.stages)]
    behind = {lane.tag for lane in quiet[_QUIET_LANES:]}
    return GateFlow(
        name=gate.gate.name,
        source=gate.source,
        target=gate.target,
        lanes=tuple(lane for lane in lanes if lane.tag not in behind),
        quiet=tuple(quiet[_QUIET_LANES:]),
    )


def _lane(glance: TagGlance, source: str, now: datetime) -> Lane:
    newest = glance.newest
    promotion = newest.promotion(glance.tag) if newest else None
    stages = (
        _upstream(glance, promotion, source, now),
        _candidate(newest, now),
        _unique(promotion, now),
        _stable(glance, now),
    )
    actions = verbs.of_tag(glance.gate, glance.tag, glance.track, _earlier(glance))
    return Lane(
        tag=glance.tag,
        stages=stages,
        apps=tuple(_app_lane(app, now) for app in glance.apps),
        actions=tuple(actions),
    )


def _app_lane(glance: AppGlance, now: datetime) -> AppLane:
    stages = [_image(glance, now)]
    if glance.app.deploy is not None:
        stages.append(_container(glance, now))
    return AppLane(name=glance.app.name, stages=tuple(stages), actions=tuple(verbs.of_app(glance.app)))


def _upstream(glance: TagGlance, promotion: PromotionProgress | None, source: str, now: datetime) -> Stage:
    title, newest, track = "Upstream", glance.newest, glance.track
    if newest is not None:
        at, digest, full = promotion.pushed_at if promotion else newest.created_at, newest.digest, newest.image
    elif track is not None and track.digest:  # its candidates are further back than the overview looks
        at, digest, full = track.pushed_at or now, track.digest, f"{source}@{track.digest}"
    else:
        return Stage(title=title, state="no push yet", full=f"{source}:{glance.tag}")
    return Stage(
        title=title,
        subject=short_digest(digest),
        full=full,
        state="pushed",
        tone=Tone.GOOD,
        age=age(at, now),
        at=moment(at),
    )


def _candidate(newest: CandidateLine | None, now: datetime) -> Stage:
    if newest is None:
        return Stage(title="Candidate")
    state, tone = newest.state.value, tone_of(newest.state)
    reason = newest.last if newest.running else "" if tone is Tone.GOOD else newest.reason
    since = newest.created_at if newest.running else newest.changed_at
    if newest.awaits_approval:
        state, tone, reason, since = "awaits approval", Tone.WAITING, "a person must approve", newest.changed_at
    return Stage(
        title="Candidate",
        subject=f"attempt {newest.attempt}",
        full=newest.digest,
        state=state,
        tone=tone,
        age=age(since, now),
        at=moment(since),
        reason=reason,
        link=f"candidates/{newest.id}",
    )


def _unique(promotion: PromotionProgress | None, now: datetime) -> Stage:
    title = "Unique tag"
    if promotion is None or not promotion.progress:
        return Stage(title=title, subject=(promotion.unique if promotion else "") or "nothing yet")
    return Stage(
        title=title,
        subject=promotion.unique,
        state=promotion.progress,
        tone=Tone.BUSY if promotion.progress == "copying" else Tone.GOOD,
        age=age(promotion.since, now),
        at=moment(promotion.since),
    )


def _stable(glance: TagGlance, now: datetime) -> Stage:
    title, track = "Stable tag", glance.track
    if track is None or not (track.digest or track.hold):
        return Stage(title=title, full=glance.tag)
    state, tone, reason = _standing(track, glance.newest)
    since = track.hold.at if track.hold else track.moved_at
    alarm = next((alarm for alarm in glance.alarms if alarm.kind in _OF_THE_TAG), None)
    if alarm is not None:
        state, tone, reason, since = IN_PLACE[alarm.kind], Tone.BAD, alarm.words, alarm.since
    return Stage(
        title=title,
        subject=track.unique or short_digest(track.digest),
        full=f"{glance.tag} is {track.digest or 'nothing yet'}",
        state=state,
        tone=tone,
        age=age(since, now),
        at=moment(since),
        reason=reason,
    )


def _standing(track: Track, newest: CandidateLine | None) -> tuple[str, Tone, str]:
    """State, tone and reason of a stable tag. To be behind is ordinary as long as the newest push is under way."""
    if track.hold:
        return "held", Tone.WAITING, f"{track.hold.actor}: {track.hold.reason}"
    if newest is None or newest.digest == track.digest:
        return "current", Tone.GOOD, ""
    if newest.running and not newest.awaits_approval:
        doing = "examined" if newest.state is CandidateState.EXAMINING else "promoted"
        return "behind", Tone.IDLE, f"the newest push is being {doing}"
    if newest.state is CandidateState.SUPERSEDED:
        return "current", Tone.GOOD, ""
    state = "not approved yet" if newest.awaits_approval else newest.state
    return "behind", Tone.WAITING, f"the newest push is {state}: the tag stays"


def _image(glance: AppGlance, now: datetime) -> Stage:
    latest, title = glance.latest, "App image"
    if latest is None:
        return Stage(title=title, state="no rollout yet")
    since = latest.created_at if latest.running else latest.changed_at
    return Stage(
        title=title,
        subject=short_image(latest.image),
        full=latest.image or "",
        state=latest.state.value,
        tone=tone_of(latest.state),
        age=age(since, now),
        at=moment(since),
        reason=latest.last if latest.running else latest.reason if tone_of(latest.state) is Tone.BAD else "",
        link=f"rollouts/{latest.id}",
    )


def _container(glance: AppGlance, now: datetime) -> Stage:
    record, latest, title = glance.record, glance.latest, "Container"
    busy = latest is not None and latest.state in _ON_THE_GROUP
    quiet, tone, since = (
        ("not running", Tone.IDLE, None) if record.live is None else ("live", Tone.GOOD, record.live_since)
    )
    alarm = glance.alarm(AlarmKind.CONTAINER)
    if alarm is not None:
        quiet, tone, since = IN_PLACE[alarm.kind], Tone.BAD, alarm.since
    image = str(record.live) if record.live else ""
    return Stage(
        title=title,
        subject=short_image(image),
        full=image,
        state=latest.state if busy and latest else quiet,
        tone=Tone.BUSY if busy else tone,
        age=age(since, now),
        at=moment(since),
        reason=alarm.words if alarm else "",
    )


def _earlier(glance: TagGlance) -> Iterator[Choice]:
    """The unique tags that a stable tag may go back to, the newest first."""
    uniques: dict[str, Choice] = {}
    for line in glance.promoted:
        promotion = line.promotion(glance.tag)
        if promotion and promotion.progress in ("copied", "locked"):
            label = f"{promotion.unique}, {promotion.pushed_at:%d %b %H:%M} UTC"
            uniques.setdefault(promotion.unique, Choice(promotion.unique, label))
    return iter([*uniques.values()][:_CHOICES])
