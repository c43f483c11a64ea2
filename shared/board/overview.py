"""The overview: the flow picture, from an upstream digest to a running container, and what needs a person.

It is read with four queries a gate, three an app, one a registry and one more, however long the ledger is.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from shared.board import buttons
from shared.board.buttons import Action, Choice
from shared.board.parts import STABLE, Headed, Item, Tone, item_of, loudest, marked, newest_first, tone_of
from shared.board.wording import age, counted, short_digest, short_image
from shared.domain.alarm import STALLS, Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateSummary
from shared.domain.image import short
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion, PromotionSummary
from shared.domain.record import RecordSummary
from shared.domain.rollout import AppRecord, Rollout, RolloutState, RolloutSummary
from shared.domain.stable_tag import Hold, StableTag
from shared.health import HealthResult
from shared.ports import Services, read
from shared.promotion.vetoes import Vetoes
from shared.queries.report import base_of, source_of
from shared.records.alarms import Alarms

RECENT = 100
"""How far back the overview goes for the newest promotion of each tag, and for what one may roll back to."""

_ALARMS = 5
"""How many alarms the overview tells; the drift page tells all."""

_CHOICES, _QUIET_LANES = 10, 3
_QUIET = (Tone.GOOD, Tone.IDLE)
_CHECKING = "Checking what the rules need"
_URGENCY = (Tone.BAD, Tone.WAITING)
_OF_THE_TAG = (
    AlarmKind.STABLE_MOVED, AlarmKind.UNRECORDED, AlarmKind.STABLE_VETOED, AlarmKind.UNIQUE_CHANGED,
    AlarmKind.PROMOTED_GONE,
)  # fmt: skip
_ON_THE_GROUP = (RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING)


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One stable tag, from its source to what runs on it, or one app on it: its image and its container."""

    name: str
    stages: tuple[Item, ...]
    actions: tuple[Action, ...]
    apps: tuple["Lane", ...] = ()


class GateFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One gate with its lanes; `quiet` are those that are folded away. `items` need a person, `alarms` stand at it."""

    name: str
    source: str
    target: str
    lanes: tuple[Lane, ...]
    quiet: tuple[Lane, ...]
    items: tuple[Item, ...]
    alarms: tuple[Alarm, ...]


class Overview(Headed, frozen=True, kw_only=True):
    """All gates, and what needs a person."""

    action_items: tuple[Item, ...]
    gates: tuple[GateFlow, ...]
    running: bool


class AppState(msgspec.Struct, frozen=True, kw_only=True):
    """An app as the ledger has it: its rule, what runs, and its last rollout."""

    app: App
    record: AppRecord
    latest: RolloutSummary | None
    alarms: tuple[Alarm, ...]


class TagState(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag as the ledger has it: where it stands, its promotions (the newest first), and the apps on it.

    `candidate` is the last attempt at the digest of the newest promotion.
    """

    gate: str
    tag: str
    stable: StableTag | None
    promotions: tuple[PromotionSummary, ...]
    candidate: CandidateSummary | None
    apps: tuple[AppState, ...]
    alarms: tuple[Alarm, ...]

    @property
    def newest(self) -> PromotionSummary | None:
        """The promotion of what the source tag is; None where the tag came back to what the stable tag stands on."""
        newest, stable = self.promotions[0] if self.promotions else None, self.stable
        if newest is None or stable is None or stable.moved_by or stable.sequence <= newest.sequence:
            return newest
        return None


def overview_page(services: Services, now: datetime, unready: Sequence[HealthResult] | None = ()) -> Overview:
    """The flow picture, and what needs a person: the failed before the waiting, each once."""
    flows = tuple(_gate(gate, services, now) for gate in services.policy.gates.values())
    found: dict[str, Item] = {}
    for item in chain(*(flow.items for flow in flows)):
        found.setdefault(f"{item.state} {item.link} {item.subject}", item)
    items = tuple(sorted(found.values(), key=lambda item: _URGENCY.index(item.tone)))
    registries = (Alarms(services).active(f"registries/{name}") for name in services.policy.registries)
    stalls = Alarms(services).active(STALLS)  # a record that stalls may be further back than the overview goes
    told = any(item.state == "stalled" for item in items)
    stalls = [alarm for alarm in stalls if not told or alarm.subject.startswith("listener ")]
    standing = chain(*(flow.alarms for flow in flows), *registries, stalls)
    alarms = (*map(_unready, unready or ()), *newest_first((alarm.scope, alarm) for alarm in standing))
    lanes = (part for flow in flows for lane in flow.lanes for part in (lane, *lane.apps))
    busy = sum(stage.tone is Tone.BUSY for lane in lanes for stage in lane.stages)
    tones = [item.tone for item in (*items, *alarms)]
    return Overview(
        action_items=items,
        alarms=alarms[:_ALARMS],
        more_alarms=len(alarms[_ALARMS:]),
        gates=flows,
        headline=_headline(items, len(alarms), busy) or ("All quiet" if unready is not None else _CHECKING),
        tone=loudest([*tones, Tone.BUSY] if busy else tones),
        running=busy > 0 or unready is None,
    )


def _unready(result: HealthResult) -> Item:
    """What stops the app, by its health checks."""
    reason = ": ".join(filter(None, (result.dependency, result.detail, result.remedy)))
    return Item(title="not ready", subject=result.dependency, state="alarm", tone=Tone.BAD, reason=reason)


def _headline(items: tuple[Item, ...], alarms: int, busy: int) -> str:
    """The picture in one sentence, for the status line and for a screen reader; "" where there is nothing to say."""
    parts = [f"{number} {state}" for state, number in Counter(item.state for item in items).items()]
    parts += [counted(alarms, "alarm")] if alarms else []
    parts += [f"{busy} under way"] if busy else []
    return ", ".join(parts)


def _gate(gate: Gate, services: Services, now: datetime) -> GateFlow:
    """A gate with a lane for each of its tags; of many quiet ones without an app, the first few stand in front."""
    source, alarms = source_of(gate, services), tuple(Alarms(services).active(f"gates/{gate.name}"))
    candidates = services.ledger.page(Candidate, gate.name, RECENT).items
    tags = _read_tags(gate.name, candidates, alarms, services)
    lanes = [_lane(tag, source) for tag in tags]
    quiet = [lane for lane in lanes if not lane.apps and all(stage.tone in _QUIET for stage in lane.stages)]
    behind = quiet[_QUIET_LANES:]
    return GateFlow(
        name=gate.name,
        source=source,
        target=Vetoes(services).target(gate),
        lanes=tuple(lane for lane in lanes if lane not in behind),
        quiet=tuple(behind),
        items=(*_of_candidates(candidates, now), *(item for tag in tags for item in _of_tag(tag, now))),
        alarms=(*alarms, *(alarm for tag in tags for app in tag.apps for alarm in app.alarms)),
    )


def _read_tags(
    gate: str, candidates: Sequence[CandidateSummary], alarms: Sequence[Alarm], services: Services
) -> list[TagState]:
    stable: dict[str, StableTag] = {one.record.tag: one.record for one in services.ledger.list(StableTag, gate)}
    promotions = services.ledger.page(Promotion, gate, RECENT).items
    apps = [_read_app(app, services) for app in services.policy.apps.values() if app.base.gate == gate]

    def state_of(tag: str) -> TagState:
        ours = sorted((one for one in promotions if one.tag == tag), key=lambda one: one.sequence, reverse=True)
        return TagState(
            gate=gate,
            tag=tag,
            stable=stable.get(tag),
            promotions=tuple(ours),
            candidate=next((one for one in candidates if ours and one.digest == ours[0].digest), None),
            apps=tuple(state for state in apps if state.app.base.tag == tag),
            alarms=tuple(alarm for alarm in alarms if alarm.subject == tag),
        )

    standing = (tag for tag, one in stable.items() if one.digest or one.hold)
    tags = dict.fromkeys([*standing, *(state.app.base.tag for state in apps), *(one.tag for one in promotions)])
    return [state_of(tag) for tag in tags]


def _read_app(app: App, services: Services) -> AppState:
    return AppState(
        app=app,
        record=read(services.ledger, AppRecord(app=app.name)),
        latest=next(iter(services.ledger.page(Rollout, app.name, 1).items), None),
        alarms=tuple(Alarms(services).active(f"apps/{app.name}")),
    )


def _of_candidates(candidates: Sequence[CandidateSummary], now: datetime) -> Iterator[Item]:
    """What needs a person of a gate's candidates: what is stalled, and what waits for an answer."""
    for candidate in candidates:
        yield from _stalled(now, candidate)
        if candidate.state == "awaiting approval":
            why = f"attempt {candidate.attempt} has passed every check before this one"
            actions = buttons.answers(candidate.id, short(candidate.digest))
            yield _asking(candidate, "Read its story, then approve or reject.", reason=why, actions=actions)


def _of_tag(tag: TagState, now: datetime) -> Iterator[Item]:
    """What needs a person of a tag and its apps: what failed, is stalled or withdrawn, and the hold."""
    newest, candidate, stable = tag.newest, tag.candidate, tag.stable
    if newest is not None and candidate is not None and candidate.state in ("failed", "rejected"):
        stays = f"{tag.tag} stays on {stable.unique}." if stable and stable.unique else f"{tag.tag} is not promoted."
        failed = candidate.state == "failed"
        what = "Read the log; rerun if the cause was outside the image." if failed else "Rerun to ask again."
        actions = (buttons.rerun(candidate.id, short(candidate.digest)),)
        yield _asking(candidate, f"{stays} {what}", actions=actions)
    yield from _stalled(now, *tag.promotions)
    if newest is not None and newest.state == "withdrawn":
        yield _asking(newest, "It is promoted once its tag is there again with the same digest.")
    if stable is not None and stable.hold is not None:
        yield _held(tag, stable, stable.hold)
    for state in tag.apps:
        if state.latest is not None:
            yield from _of_rollout(state.latest, state.app, now)


def _of_rollout(latest: RolloutSummary, app: App, now: datetime) -> Iterator[Item]:
    yield from _stalled(now, latest)
    if latest.state in (RolloutState.FAILED, RolloutState.RESTORED):
        restored = latest.state == RolloutState.RESTORED
        end = "The last good image is back." if restored else "The new image is not live."
        yield _asking(latest, f"{end} Rebuild when the cause is fixed.", actions=tuple(buttons.of_app(app)))


def _held(tag: TagState, stable: StableTag, hold: Hold) -> Item:
    waiting = sum(promotion.state == "held" for promotion in tag.promotions)
    behind = f"Passed, and waiting behind it: {waiting}." if waiting else "Nothing waits behind it."
    return Item(
        subject=f"{tag.gate} {tag.tag} on {stable.unique or short_digest(stable.digest)}",
        state="held",
        tone=Tone.WAITING,
        since=hold.at,
        reason=f"{hold.actor}: {hold.reason}",
        advice=f"{behind} Lift the hold when the tag may move again.",
        link=f"gates/{tag.gate}",
        actions=(buttons.lift_hold(tag.gate, tag.tag),),
    )


def _stalled(now: datetime, *records: RecordSummary) -> Iterator[Item]:
    """Those of some records that are stalled: what to do about each, and when it is tried again."""
    for record in records:
        if record.state == "stalled":
            remedy = f"{record.remedy[0].upper()}{record.remedy[1:]}. " if record.remedy else ""
            due = record.next_try_at is not None and record.next_try_at > now
            when = f"in {age(now, record.next_try_at)}" if due and record.next_try_at else "at any moment"
            yield _asking(record, f"{remedy}It goes on by itself once that is right; the next try is {when}.")


def _asking(record: RecordSummary, advice: str, **more: Any) -> Item:
    """A record that needs a person."""
    match record:
        case CandidateSummary():
            subject, link = f"{record.gate} {record.tag}, {short(record.digest)}", f"candidates/{record.id}"
        case PromotionSummary():
            subject = f"{record.gate} {record.tag}, {short(record.digest)}"
            link = f"candidates/{record.candidate}" if record.candidate else f"gates/{record.gate}"
        case _:
            subject, link = record.id.partition(".")[0], f"rollouts/{record.id}"
    return item_of(record, subject=subject, link=link, advice=advice, **more)


def _lane(tag: TagState, source: str) -> Lane:
    return Lane(
        name=tag.tag,
        stages=(_upstream(tag, source), _candidate(tag), _unique(tag), _stable(tag)),
        apps=tuple(map(_app_lane, tag.apps)),
        actions=tuple(buttons.of_tag(tag.gate, tag.tag, tag.stable, _earlier(tag))),
    )


def _app_lane(state: AppState) -> Lane:
    stages = (_image(state), _container(state)) if state.app.deploy else (_image(state),)
    return Lane(name=state.app.name, stages=stages, actions=tuple(buttons.of_app(state.app)))


def _upstream(tag: TagState, source: str) -> Item:
    newest, stable = tag.newest, tag.stable
    digest = newest.digest if newest else stable.digest if stable else None
    if digest is None:
        return Item(title="Upstream", state="no push yet", full=f"{source}:{tag.tag}")
    at = newest.created_at if newest else stable.moved_at if stable else None
    gone = newest is not None and newest.state == "withdrawn"
    state, tone = ("withdrawn", Tone.WAITING) if gone else ("pushed", Tone.GOOD)
    full = f"{source}@{digest}"
    return Item(title="Upstream", subject=short(digest), full=full, state=state, tone=tone, since=at)


def _candidate(tag: TagState) -> Item:
    candidate, newest, stable = tag.candidate, tag.newest, tag.stable
    if newest is None or candidate is None:  # it is further back than the overview goes
        stands_on = f"{stable.gate}.{stable.candidate}" if stable is not None and stable.candidate else ""
        known = (newest.candidate if newest else "") or stands_on
        if not known:
            return Item(title="Candidate")
        subject = f"attempt {int(known.rpartition('-')[2])}"
        return Item(title="Candidate", subject=subject, state="passed", tone=Tone.GOOD, link=f"candidates/{known}")
    subject, link = f"attempt {candidate.attempt}", f"candidates/{candidate.id}"
    item = item_of(candidate, title="Candidate", subject=subject, full=candidate.digest, link=link)
    return replace(item, reason="a person must approve") if item.state == "awaiting approval" else item


def _unique(tag: TagState) -> Item:
    title, newest, stable = "Unique tag", tag.newest, tag.stable
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


def _stable(tag: TagState) -> Item:
    stable = tag.stable
    if stable is None or not (stable.digest or stable.hold):
        return Item(title=STABLE, full=tag.tag)
    state, tone, reason = _standing(stable, tag)
    item = Item(
        title=STABLE,
        subject=stable.unique or short_digest(stable.digest),
        full=f"{tag.tag} is {stable.digest or 'nothing yet'}",
        state=state,
        tone=tone,
        since=stable.hold.at if stable.hold else stable.moved_at,
        reason=reason,
    )
    return marked(item, next((alarm for alarm in tag.alarms if alarm.kind in _OF_THE_TAG), None), why=True)


def _standing(stable: StableTag, tag: TagState) -> tuple[str, Tone, str]:
    """State, tone and reason of a stable tag. To be behind is ordinary as long as the newest push is under way."""
    newest, candidate = tag.newest, tag.candidate
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


def _image(state: AppState) -> Item:
    latest, title = state.latest, "App image"
    if latest is None:
        return Item(title=title, state="no rollout yet")
    subject, link = short_image(latest.image), f"rollouts/{latest.id}"
    item = item_of(latest, title=title, subject=subject, full=latest.image or "", link=link)
    return replace(item, reason="") if item.tone is Tone.IDLE else item


def _container(state: AppState) -> Item:
    record, latest = state.record, state.latest
    base = base_of(record) if record.live else None
    item = Item(
        title="Container",
        subject=short_image(str(record.live) if record.live else ""),
        full=str(record.live) if record.live else "",
        state="live" if record.live else "not running",
        tone=Tone.GOOD if record.live else Tone.IDLE,
        since=record.live_since if record.live else None,
        reason=f"on {short_image(base)}" if base else "",
    )
    item = marked(item, next((one for one in state.alarms if one.kind is AlarmKind.CONTAINER), None), why=True)
    busy = latest is not None and latest.state in _ON_THE_GROUP
    return replace(item, state=latest.state, tone=Tone.BUSY) if latest and busy else item


def _earlier(tag: TagState) -> list[Choice]:
    """The unique tags that a stable tag may go back to, the newest first."""
    uniques: dict[str, Choice] = {}
    for promotion in tag.promotions:
        if promotion.state == "promoted" and promotion.progress in ("copied", "locked"):
            label = f"{promotion.unique}, {promotion.created_at:%d %b %H:%M} UTC"
            uniques.setdefault(promotion.unique, Choice(promotion.unique, label))
    return [*uniques.values()][:_CHOICES]
