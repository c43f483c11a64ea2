"""The flow picture: from an upstream digest to a running container, for each stable tag."""

from collections.abc import Iterator

from msgspec.structs import replace

from shared.domain.alarm import AlarmKind
from shared.domain.rollout import RolloutState
from shared.domain.stable_tag import StableTag
from shared.workflow.answers import RecordSummary
from shared.workflow.board import verbs
from shared.workflow.board.alarms import IN_PLACE
from shared.workflow.board.models import Choice, GateFlow, Item, Lane, Tone, tone_of
from shared.workflow.board.overview import AppOverview, GateOverview, TagOverview
from shared.workflow.board.wording import short_digest, short_image
from shared.workflow.report import base_of

_CHOICES, _QUIET_LANES = 10, 3
_QUIET = (Tone.GOOD, Tone.IDLE)
_OF_THE_TAG = (AlarmKind.STABLE_MOVED, AlarmKind.STABLE_VETOED, AlarmKind.UNIQUE_CHANGED, AlarmKind.PROMOTED_GONE)
_ON_THE_GROUP = (RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING)


def gate_flow(gate: GateOverview) -> GateFlow:
    """A gate with a lane for each of its tags; of many quiet ones without an app, the first few stand in front."""
    lanes = [_lane(tag, gate.source) for tag in gate.tags]
    quiet = [lane for lane in lanes if not lane.apps and all(stage.tone in _QUIET for stage in lane.stages)]
    behind = {lane.name for lane in quiet[_QUIET_LANES:]}
    return GateFlow(
        name=gate.gate.name,
        source=gate.source,
        target=gate.target,
        lanes=tuple(lane for lane in lanes if lane.name not in behind),
        quiet=tuple(quiet[_QUIET_LANES:]),
    )


def _lane(overview: TagOverview, source: str) -> Lane:
    stages = (_upstream(overview, source), _candidate(overview), _unique(overview), _stable(overview))
    return Lane(
        name=overview.tag,
        stages=stages,
        apps=tuple(_app_lane(app) for app in overview.apps),
        actions=tuple(verbs.of_tag(overview.gate, overview.tag, overview.stable, _earlier(overview))),
    )


def _app_lane(overview: AppOverview) -> Lane:
    stages = (_image(overview), _container(overview)) if overview.app.deploy else (_image(overview),)
    return Lane(name=overview.app.name, stages=stages, actions=tuple(verbs.of_app(overview.app)))


def _upstream(overview: TagOverview, source: str) -> Item:
    title, newest, digest = "Upstream", overview.newest, overview.observed
    if digest is None:
        return Item(title=title, state="no push yet", full=f"{source}:{overview.tag}")
    at = newest.created_at if newest else overview.stable.moved_at if overview.stable else None
    gone = newest is not None and newest.state == "withdrawn"
    state, tone = ("withdrawn", Tone.WAITING) if gone else ("pushed", Tone.GOOD)
    subject, full = short_digest(digest), f"{source}@{digest}"
    return Item(title=title, subject=subject, full=full, state=state, tone=tone, since=at)


def _candidate(overview: TagOverview) -> Item:
    candidate, newest, title = overview.candidate, overview.newest, "Candidate"
    if newest is None or candidate is None:  # it is further back than the overview goes
        stable = overview.stable
        stands_on = f"{stable.gate}.{stable.candidate}" if stable is not None and stable.candidate else ""
        known = (newest.candidate if newest else "") or stands_on
        if not known:
            return Item(title=title)
        subject = f"attempt {int(known.rpartition('-')[2])}"
        return Item(title=title, subject=subject, state="passed", tone=Tone.GOOD, link=f"candidates/{known}")
    subject, link = f"attempt {candidate.attempt}", f"candidates/{candidate.id}"
    item = _standing_of(candidate, Item(title=title, subject=subject, full=candidate.digest, link=link))
    return replace(item, reason="a person must approve") if item.state == "awaiting approval" else item


def _standing_of(record: RecordSummary, item: Item) -> Item:
    """An item with how its record stands, since when, and why; where all is well, nothing needs to be said."""
    tone = tone_of(record.state)
    if tone is Tone.BUSY:
        return replace(item, state=record.state, tone=tone, since=record.created_at, reason=record.last)
    reason = "" if tone is Tone.GOOD else record.reason
    return replace(item, state=record.state, tone=tone, since=record.changed_at, reason=reason)


def _unique(overview: TagOverview) -> Item:
    title, newest, stable = "Unique tag", overview.newest, overview.stable
    if newest is None:
        return Item(title=title, subject=(stable.unique if stable else "") or "nothing yet")
    if not newest.progress:
        return Item(title=title, subject=newest.unique or "nothing yet")
    stuck = newest.state == "stalled"
    return Item(
        title=title,
        subject=newest.unique,
        state="stalled" if stuck else newest.progress,
        tone=Tone.WAITING if stuck else Tone.BUSY if newest.progress == "copying" else Tone.GOOD,
        since=newest.since,
        reason=newest.reason if stuck else "",
    )


def _stable(overview: TagOverview) -> Item:
    title, stable = "Stable tag", overview.stable
    if stable is None or not (stable.digest or stable.hold):
        return Item(title=title, full=overview.tag)
    state, tone, reason = _standing(stable, overview)
    since = stable.hold.at if stable.hold else stable.moved_at
    alarm = next((alarm for alarm in overview.alarms if alarm.kind in _OF_THE_TAG), None)
    if alarm is not None:
        state, tone, reason, since = IN_PLACE[alarm.kind][1], Tone.BAD, alarm.words, alarm.since
    return Item(
        title=title,
        subject=stable.unique or short_digest(stable.digest),
        full=f"{overview.tag} is {stable.digest or 'nothing yet'}",
        state=state,
        tone=tone,
        since=since,
        reason=reason,
    )


def _standing(stable: StableTag, overview: TagOverview) -> tuple[str, Tone, str]:
    """State, tone and reason of a stable tag. To be behind is ordinary as long as the newest push is under way."""
    newest, candidate = overview.newest, overview.candidate
    if stable.hold:
        return "held", Tone.WAITING, f"{stable.hold.actor}: {stable.hold.reason}"
    if newest is None or newest.digest == stable.digest or newest.state == "superseded":
        return "current", Tone.GOOD, ""
    if newest.state == "promoting":
        return "behind", Tone.IDLE, "the newest push is being promoted"
    state = newest.state
    if candidate is not None and state in ("waiting", "refused", "canceled"):
        state = candidate.state
    if tone_of(state) is Tone.BUSY:
        return "behind", Tone.IDLE, "the newest push is being examined"
    return "behind", Tone.WAITING, f"the newest push is {state}: the tag stays"


def _image(overview: AppOverview) -> Item:
    latest, title = overview.latest, "App image"
    if latest is None:
        return Item(title=title, state="no rollout yet")
    subject, link = short_image(latest.image), f"rollouts/{latest.id}"
    item = _standing_of(latest, Item(title=title, subject=subject, full=latest.image or "", link=link))
    return replace(item, reason="") if item.tone is Tone.IDLE else item


def _container(overview: AppOverview) -> Item:
    record, latest, title = overview.record, overview.latest, "Container"
    busy = latest is not None and latest.state in _ON_THE_GROUP
    quiet, tone, since = (
        ("not running", Tone.IDLE, None) if record.live is None else ("live", Tone.GOOD, record.live_since)
    )
    alarm = next((alarm for alarm in overview.alarms if alarm.kind is AlarmKind.CONTAINER), None)
    if alarm is not None:
        quiet, tone, since = IN_PLACE[alarm.kind][1], Tone.BAD, alarm.since
    image = str(record.live) if record.live else ""
    base = base_of(record) if record.live else None
    return Item(
        title=title,
        subject=short_image(image),
        full=image,
        state=latest.state if busy and latest else quiet,
        tone=Tone.BUSY if busy else tone,
        since=since,
        reason=alarm.words if alarm else f"on {short_image(base)}" if base else "",
    )


def _earlier(overview: TagOverview) -> Iterator[Choice]:
    """The unique tags that a stable tag may go back to, the newest first."""
    uniques: dict[str, Choice] = {}
    for promotion in overview.promotions:
        if promotion.state == "promoted" and promotion.progress in ("copied", "locked"):
            label = f"{promotion.unique}, {promotion.created_at:%d %b %H:%M} UTC"
            uniques.setdefault(promotion.unique, Choice(promotion.unique, label))
    return iter([*uniques.values()][:_CHOICES])
