"""The overview: each stable tag from its upstream digest to the running containers, and what needs attention.

It takes four queries a gate (five if it scans), three an app, one a registry and one more, whatever the size of the
ledger.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from shared.board import buttons, parts
from shared.board.buttons import Action, Choice
from shared.board.findings import requested_exceptions
from shared.board.parts import STABLE, Item, Severity, SummaryPage, item_of, short_digest, short_image, with_alarm
from shared.domain.alarm import STALLS, Alarm, AlarmKind
from shared.domain.candidate import Candidate, CandidateState, CandidateSummary
from shared.domain.image import short
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion, PromotionSummary
from shared.domain.record import RecordSummary
from shared.domain.rollout import AppRecord, Rollout, RolloutState, RolloutSummary
from shared.domain.stable_tag import Hold, StableTag, TagScan
from shared.health import HealthResult
from shared.ports import Services, read
from shared.promotion.vetoes import Vetoes
from shared.queries.records import base_of, source_of
from shared.records.alarms import Alarms

RECENT = 100
"""How many promotions are read of a gate, for the newest one of each tag and the choices of a rollback."""

_ALARMS = 5
"""How many alarms the overview shows; the drift page shows all."""

_CHOICES, _QUIET_ROWS = 10, 3
_QUIET = (Severity.GOOD, Severity.IDLE)
_CHECKING = "Health checks are running"
_URGENCY = (Severity.BAD, Severity.WAITING)
_TAG_ALARMS = (
    AlarmKind.STABLE_MOVED, AlarmKind.UNRECORDED, AlarmKind.STABLE_VETOED, AlarmKind.UNIQUE_CHANGED,
    AlarmKind.PROMOTED_GONE,
)  # fmt: skip
_DEPLOYING = (RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag, from its source to its apps; or one of these apps: its image and its container."""

    name: str
    cells: tuple[Item, ...]
    actions: tuple[Action, ...]
    apps: tuple["Row", ...] = ()


class GateFlow(msgspec.Struct, frozen=True, kw_only=True):
    """A gate with its rows; `quiet` rows are collapsed. `items` need attention, `alarms` are active; `scans` sums up
    what the newest reports say of its stable tags, "" if it does not scan.
    """

    name: str
    source: str
    target: str
    scans: str
    rows: tuple[Row, ...]
    quiet: tuple[Row, ...]
    items: tuple[Item, ...]
    alarms: tuple[Alarm, ...]


class Overview(SummaryPage, frozen=True, kw_only=True):
    """All gates, and what needs attention."""

    action_items: tuple[Item, ...]
    gates: tuple[GateFlow, ...]
    running: bool


class AppState(msgspec.Struct, frozen=True, kw_only=True):
    """An app in the ledger: its rule, its live image, and its last rollout."""

    app: App
    record: AppRecord
    latest: RolloutSummary | None
    alarms: tuple[Alarm, ...]


class TagState(msgspec.Struct, frozen=True, kw_only=True):
    """A stable tag in the ledger: its record, its promotions (the newest first), and the apps on it.

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
    def scan(self) -> TagScan | None:
        """What is known of the scans of the stable tag's digest; None if nothing is."""
        return self.stable.current_scan if self.stable else None

    @property
    def newest(self) -> PromotionSummary | None:
        """The promotion of the source tag's digest; None if the source tag returned to the stable tag's digest."""
        newest, stable = self.promotions[0] if self.promotions else None, self.stable
        if newest is None or stable is None or stable.moved_by or stable.sequence <= newest.sequence:
            return newest
        return None


def overview_page(services: Services, now: datetime, unready: Sequence[HealthResult] | None = ()) -> Overview:
    """The overview; what failed comes before what waits, each once."""
    flows = tuple(_gate(gate, services, now) for gate in services.policy.gates.values())
    found: dict[str, Item] = {}
    for item in chain(*(flow.items for flow in flows)):
        found.setdefault(f"{item.state} {item.link} {item.subject}", item)
    items = tuple(sorted(found.values(), key=lambda item: _URGENCY.index(item.severity)))
    registries = (Alarms(services).active(f"registries/{name}") for name in services.policy.registries)
    stalls = Alarms(services).active(STALLS)  # a stalled record may be older than those that the overview reads
    shown = any(item.state == "stalled" for item in items)
    stalls = [alarm for alarm in stalls if not shown or alarm.subject.startswith("listener ")]
    active = chain(*(flow.alarms for flow in flows), *registries, stalls)
    alarms = (*map(_unready, unready or ()), *parts.alarm_items((alarm.scope, alarm) for alarm in active))
    rows = (part for flow in flows for row in flow.rows for part in (row, *row.apps))
    busy = sum(cell.severity is Severity.BUSY for row in rows for cell in row.cells)
    severities = [item.severity for item in (*items, *alarms)]
    return Overview(
        action_items=items,
        alarms=alarms[:_ALARMS],
        more_alarms=len(alarms[_ALARMS:]),
        gates=flows,
        headline=_headline(items, len(alarms), busy) or ("No problems" if unready is not None else _CHECKING),
        severity=parts.worst([*severities, Severity.BUSY] if busy else severities),
        running=busy > 0 or unready is None,
    )


def _unready(result: HealthResult) -> Item:
    """A health result that stops the app."""
    reason = ": ".join(filter(None, (result.dependency, result.detail, result.remedy)))
    return Item(title="not ready", subject=result.dependency, state="alarm", severity=Severity.BAD, reason=reason)


def _headline(items: tuple[Item, ...], alarms: int, busy: int) -> str:
    """The summary for the status line and for screen readers, "" if there is nothing to report."""
    counts = [f"{number} {state}" for state, number in Counter(item.state for item in items).items()]
    counts += [parts.counted(alarms, "alarm")] if alarms else []
    counts += [f"{busy} in progress"] if busy else []
    return ", ".join(counts)


def _gate(gate: Gate, services: Services, now: datetime) -> GateFlow:
    """A gate with a row for each of its tags; of the quiet ones without an app, only the first few are visible."""
    source, alarms = source_of(gate, services), tuple(Alarms(services).active(f"gates/{gate.name}"))
    candidates = services.ledger.page(Candidate, gate.name, RECENT).items
    tags = _read_tags(gate.name, candidates, alarms, services)
    rows = [_row(tag, source, now) for tag in tags]
    others = [alarm for alarm in alarms if alarm.kind is not AlarmKind.AT_RISK]  # those are items
    quiet = [row for row in rows if not row.apps and all(cell.severity in _QUIET for cell in row.cells)]
    collapsed = quiet[_QUIET_ROWS:]
    return GateFlow(
        name=gate.name,
        source=source,
        target=Vetoes(services).target(gate),
        scans=parts.scans_in_words([tag.scan for tag in tags if tag.scan is not None], now),
        rows=tuple(row for row in rows if row not in collapsed),
        quiet=tuple(collapsed),
        items=(
            *_of_candidates(candidates, now),
            *requested_exceptions(services, gate),
            *(item for tag in tags for item in _of_tag(tag, now)),
        ),
        alarms=(*others, *(alarm for tag in tags for app in tag.apps for alarm in app.alarms)),
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

    known = (tag for tag, one in stable.items() if one.digest or one.hold)
    tags = dict.fromkeys([*known, *(state.app.base.tag for state in apps), *(one.tag for one in promotions)])
    return [state_of(tag) for tag in tags]


def _read_app(app: App, services: Services) -> AppState:
    return AppState(
        app=app,
        record=read(services.ledger, AppRecord(app=app.name)),
        latest=next(iter(services.ledger.page(Rollout, app.name, 1).items), None),
        alarms=tuple(Alarms(services).active(f"apps/{app.name}")),
    )


def _of_candidates(candidates: Sequence[CandidateSummary], now: datetime) -> Iterator[Item]:
    """The candidates of a gate that need attention: stalled, or awaiting approval."""
    for candidate in candidates:
        yield from _stalled(now, candidate)
        if candidate.state == CandidateState.AWAITING_APPROVAL:
            why = f"attempt {candidate.attempt} has passed every check before this one"
            actions = buttons.decisions(candidate.id, short(candidate.digest))
            yield _action_item(candidate, "Review its evidence, then approve or reject.", reason=why, actions=actions)


def _of_tag(tag: TagState, now: datetime) -> Iterator[Item]:
    """What needs attention of a tag and its apps: failed, stalled or withdrawn records, and the hold."""
    newest, candidate, stable = tag.newest, tag.candidate, tag.stable
    if newest is not None and candidate is not None and candidate.state in ("failed", "rejected"):
        stays = f"{tag.tag} stays on {stable.unique}." if stable and stable.unique else f"{tag.tag} is not promoted."
        failed = candidate.state == "failed"
        what = "Read the log; rerun if the cause was outside the image." if failed else "Rerun to ask again."
        actions = (buttons.action("rerun", candidate.id, subject=short(candidate.digest)),)
        yield _action_item(candidate, f"{stays} {what}", actions=actions)
    yield from _stalled(now, *tag.promotions)
    if newest is not None and newest.state == "withdrawn":
        yield _action_item(newest, "It is promoted when its tag exists again with the same digest.")
    if stable is not None and stable.hold is not None:
        yield _held(tag, stable, stable.hold)
    if stable is not None and tag.scan is not None and tag.scan.at_risk:  # else it has moved on since the sweep
        yield from (_at_risk(alarm, tag, stable, tag.scan) for alarm in tag.alarms if alarm.kind is AlarmKind.AT_RISK)
    for state in tag.apps:
        if state.latest is not None:
            yield from _of_rollout(state.latest, state.app, now)


def _of_rollout(latest: RolloutSummary, app: App, now: datetime) -> Iterator[Item]:
    yield from _stalled(now, latest)
    if latest.state in (RolloutState.FAILED, RolloutState.RESTORED):
        restored = latest.state == RolloutState.RESTORED
        result = "The last good image is restored." if restored else "The new image is not live."
        yield _action_item(latest, f"{result} Rebuild when the cause is fixed.", actions=tuple(buttons.of_app(app)))


def _held(tag: TagState, stable: StableTag, hold: Hold) -> Item:
    waiting = sum(promotion.state == "held" for promotion in tag.promotions)
    promotions = f"Promotions that wait for it: {waiting}." if waiting else "No promotion waits for it."
    return Item(
        subject=f"{tag.gate} {tag.tag} at {stable.unique or short_digest(stable.digest)}",
        state="held",
        severity=Severity.WAITING,
        since=hold.at,
        reason=f"{hold.actor}: {hold.reason}",
        advice=f"{promotions} Lift the hold when the tag may move again.",
        link=f"gates/{tag.gate}",
        actions=(buttons.action("lift_hold", tag.gate, subject=tag.tag, fields={"tag": tag.tag}),),
    )


def _at_risk(alarm: Alarm, tag: TagState, stable: StableTag, scan: TagScan) -> Item:
    """What the alarm says, without what the item says already."""
    running = [(state.app.name, state.record.live) for state in tag.apps]
    apps = [name for name, live in running if live and live.base and live.base.digest == stable.digest]
    new = f"{scan.new} new since it was promoted. " if scan.new else ""
    on_it = f"On it: {', '.join(apps)}. " if apps else ""
    return Item(
        subject=f"{stable.gate} {stable.tag} at {stable.unique or short_digest(stable.digest)}",
        state="at risk",
        severity=Severity.BAD,
        since=alarm.since,
        reason=scan.reason,
        advice=f"{new}{on_it}{alarm.plan[0].upper()}{alarm.plan[1:]}.",
        link=f"candidates/{stable.gate}.{stable.candidate}" if stable.candidate else f"gates/{stable.gate}",
    )


def _stalled(now: datetime, *records: RecordSummary) -> Iterator[Item]:
    """The stalled ones of some records, with the remedy and the next try."""
    for record in records:
        if record.state == "stalled":
            remedy = f"{record.remedy[0].upper()}{record.remedy[1:]}. " if record.remedy else ""
            due = record.next_try_at is not None and record.next_try_at > now
            when = f"in {parts.age(now, record.next_try_at)}" if due and record.next_try_at else "now"
            yield _action_item(record, f"{remedy}It resumes automatically once the cause is gone; next try {when}.")


def _action_item(record: RecordSummary, advice: str, **more: Any) -> Item:
    """A record that needs attention."""
    match record:
        case CandidateSummary():
            subject, link = f"{record.gate} {record.tag}, {short(record.digest)}", f"candidates/{record.id}"
        case PromotionSummary():
            subject = f"{record.gate} {record.tag}, {short(record.digest)}"
            link = f"candidates/{record.candidate}" if record.candidate else f"gates/{record.gate}"
        case _:
            subject, link = record.id.partition(".")[0], f"rollouts/{record.id}"
    return item_of(record, subject=subject, link=link, advice=advice, **more)


def _row(tag: TagState, source: str, now: datetime) -> Row:
    return Row(
        name=tag.tag,
        cells=(_upstream(tag, source), _candidate(tag), _unique(tag), _stable(tag, now)),
        apps=tuple(map(_app_row, tag.apps)),
        actions=tuple(buttons.of_tag(tag.gate, tag.tag, tag.stable, _earlier(tag))),
    )


def _app_row(state: AppState) -> Row:
    cells = (_image(state), _container(state)) if state.app.deploy else (_image(state),)
    return Row(name=state.app.name, cells=cells, actions=tuple(buttons.of_app(state.app)))


def _upstream(tag: TagState, source: str) -> Item:
    newest, stable = tag.newest, tag.stable
    digest = newest.digest if newest else stable.digest if stable else None
    if digest is None:
        return Item("Upstream", full=f"{source}:{tag.tag}", state="no push yet")
    at = newest.created_at if newest else stable.moved_at if stable else None
    gone = newest is not None and newest.state == "withdrawn"
    state, severity = ("withdrawn", Severity.WAITING) if gone else ("pushed", Severity.GOOD)
    return Item("Upstream", short(digest), f"{source}@{digest}", state=state, severity=severity, since=at)


def _candidate(tag: TagState) -> Item:
    candidate, newest, stable = tag.candidate, tag.newest, tag.stable
    if newest is None or candidate is None:  # it is older than those that the overview reads
        promoted = f"{stable.gate}.{stable.candidate}" if stable is not None and stable.candidate else ""
        known = (newest.candidate if newest else "") or promoted
        if not known:
            return Item("Candidate")
        subject = f"attempt {int(known.rpartition('-')[2])}"
        return Item("Candidate", subject, state="passed", severity=Severity.GOOD, link=f"candidates/{known}")
    subject, link = f"attempt {candidate.attempt}", f"candidates/{candidate.id}"
    item = item_of(candidate, title="Candidate", subject=subject, full=candidate.digest, link=link)
    return replace(item, reason="an operator must approve") if item.state == CandidateState.AWAITING_APPROVAL else item


def _unique(tag: TagState) -> Item:
    newest, title = tag.newest, "Unique tag"
    if newest is None or not newest.progress:
        known = newest or tag.stable
        return Item(title, (known.unique if known else "") or "nothing yet")
    stuck = newest.state == "stalled"
    state, reason = ("stalled", newest.reason) if stuck else (newest.progress, "")
    severity = Severity.WAITING if stuck else Severity.BUSY if newest.progress == "copying" else Severity.GOOD
    return Item(title, newest.unique, state=state, severity=severity, since=newest.since, reason=reason)


def _stable(tag: TagState, now: datetime) -> Item:
    stable = tag.stable
    if stable is None or not (stable.digest or stable.hold):
        return Item(STABLE, full=tag.tag)
    state, severity, reason = _stable_state(stable, tag)
    subject, full = stable.unique or short_digest(stable.digest), f"{tag.tag} is {stable.digest or 'nothing yet'}"
    at = stable.hold.at if stable.hold else stable.moved_at
    note = parts.scan_in_words(tag.scan, now) if tag.scan else ""
    item = Item(STABLE, subject, full, note, state=state, severity=severity, since=at, reason=reason)
    return with_alarm(item, next((alarm for alarm in tag.alarms if alarm.kind in _TAG_ALARMS), None), why=True)


def _stable_state(stable: StableTag, tag: TagState) -> tuple[str, Severity, str]:
    """State, severity and reason of a stable tag. While the newest push is in progress, it is expected to be behind."""
    newest, candidate = tag.newest, tag.candidate
    if tag.scan is not None and tag.scan.at_risk:
        return "at risk", Severity.BAD, tag.scan.reason
    if stable.hold:
        return "held", Severity.WAITING, f"{stable.hold.actor}: {stable.hold.reason}"
    if newest is None or newest.digest == stable.digest or newest.state == "superseded":
        return "current", Severity.GOOD, ""
    if newest.state == "promoting":
        return "behind", Severity.IDLE, "the newest push is being promoted"
    state = newest.state
    if candidate is not None and state in ("waiting", "refused", "canceled"):
        state = candidate.state
    if parts.severity_of(state) is Severity.BUSY:
        return "behind", Severity.IDLE, "the newest push is being examined"
    return "behind", Severity.WAITING, f"the newest push is {state}; the tag is unchanged"


def _image(state: AppState) -> Item:
    latest, title = state.latest, "App image"
    if latest is None:
        return Item(title, state="no rollout yet")
    subject, link = short_image(latest.image), f"rollouts/{latest.id}"
    item = item_of(latest, title=title, subject=subject, full=latest.image or "", link=link)
    return replace(item, reason="") if item.severity is Severity.IDLE else item


def _container(state: AppState) -> Item:
    record, latest, item = state.record, state.latest, Item("Container", state="not running")
    if record.live:
        image, at, on = str(record.live), record.live_since, f"on {short_image(base_of(record))}"
        item = Item("Container", short_image(image), image, state="live", severity=Severity.GOOD, since=at, reason=on)
    item = with_alarm(item, next((one for one in state.alarms if one.kind is AlarmKind.CONTAINER), None), why=True)
    busy = latest is not None and latest.state in _DEPLOYING
    return replace(item, state=latest.state, severity=Severity.BUSY) if latest and busy else item


def _earlier(tag: TagState) -> list[Choice]:
    """The unique tags that a stable tag can be rolled back to, the newest first."""
    uniques: dict[str, Choice] = {}
    for promotion in tag.promotions:
        if promotion.state == "promoted" and promotion.progress in ("copied", "locked"):
            label = f"{promotion.unique}, {promotion.created_at:%d %b %H:%M} UTC"
            uniques.setdefault(promotion.unique, Choice(promotion.unique, label))
    return [*uniques.values()][:_CHOICES]
