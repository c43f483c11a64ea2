"""The pages of records: one candidate or rollout, and the history of a gate or an app."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec.structs import asdict, replace

from shared.board import buttons
from shared.board.buttons import Action
from shared.board.findings import FindingsSection, findings_section
from shared.board.parts import (
    Item,
    Severity,
    duration,
    facts,
    item_of,
    moment,
    scan_in_words,
    severity_of,
    short_image,
)
from shared.checks import KINDS
from shared.domain.candidate import Candidate, CandidateState, CandidateSummary, CheckRecord, Verdict
from shared.domain.errors import Malformed
from shared.domain.image import short
from shared.domain.policy import App
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import Entry, Record
from shared.domain.rollout import AppRecord, BuildRecord, BuiltImage, Rollout, RolloutState, RolloutSummary
from shared.domain.stable_tag import StableTag, TagScan, Veto
from shared.interface import OPERATIONS
from shared.ports import Listed, ListFilter, Services, read
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup
from shared.queries.records import source_of

_ROWS = 25
_MAX_QUERIES = 5
"""A filtered page of the ledger may be short: up to this many are read, and the link to older ones continues."""

L = TypeVar("L", CandidateSummary, RolloutSummary)
Run = CheckRecord | BuildRecord


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A check of a candidate or a step of a rollout, with its state and evidence."""

    kind: str
    state: str
    severity: Severity
    run: str = ""
    took: str = ""
    reason: str = ""
    status: str = ""
    log_tail: str = ""
    runs_now: bool = False


class RecordPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one candidate or rollout.

    `log` is the path of the log below `/api/` ("" if there is none).
    """

    kind: str
    heading: str
    state: str
    severity: Severity
    since: datetime
    reason: str
    running: bool
    facts: dict[str, str]
    steps: tuple[Step, ...]
    events: tuple[Entry, ...]
    actions: tuple[Action, ...]
    parent: str
    parent_name: str
    log: str = ""
    findings: FindingsSection | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter of a history, as in the query string: one state, from one day or moment to another; and the page."""

    state: str = ""
    since: str = ""
    until: str = ""
    token: str = ""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the history of a gate or an app. `older` is the query of the next page ("" on the last).

    `scans` are the stable tags whose images were scanned, those at risk first, at most 25.
    """

    name: str
    source: str
    target: str
    shown: Filter
    states: tuple[str, ...]
    rows: tuple[Item, ...]
    older: str
    running: bool
    vetoes: tuple[Item, ...] = ()
    scans: tuple[Item, ...] = ()
    actions: tuple[Action, ...] = ()


def candidate_page(services: Services, identifier: str, now: datetime) -> RecordPage:
    """The page of a candidate, with the promotions of its digest. Raises `Malformed` or `NotFound`."""
    lookup = Lookup(services)
    stored = lookup.candidate(identifier)
    record, promotions = stored.record, lookup.promotions_for(stored.record)
    known = facts({"Image": str(record.image), "Attempt": f"{record.attempt}", "Requested by": record.requested_by})
    return RecordPage(
        **_common(record, tuple(_check(check, now) for check in record.checks), record.checks, promotions),
        kind="Candidate",
        heading=f"{record.repository} {short(record.digest)}",
        facts=known | _stall_facts(record) | dict(map(_promotion_fact, promotions)),
        actions=tuple(buttons.of_candidate(record, promotions, stored.etag)),
        parent=f"gates/{record.gate}",
        findings=findings_section(services, record, now),
    )


def rollout_page(services: Services, identifier: str, now: datetime) -> RecordPage:
    """The page of a rollout. Raises `Malformed` or `NotFound`."""
    stored = Lookup(services).rollout(identifier)
    record = stored.record
    known = {
        "Rollout": record.name,
        "Cause": record.cause.value,
        "Base": record.known_base or "",
        "Image": f"{record.image}@{record.image.digest}" if record.image else "",
        "Address": record.deploy.address,
    }
    return RecordPage(
        **_common(record, (_build(record, now), *_deployments(record)), (record.build,)),
        kind="Rollout",
        heading=f"{record.app} {record.image.tag if record.image else record.name}",
        facts=facts(known) | _stall_facts(record),
        actions=tuple(buttons.of_rollout(record, services.app(record.app), stored.etag)),
        parent=f"apps/{record.app}",
    )


def _common(
    record: Candidate | Rollout, steps: tuple[Step, ...], runs: Sequence[Run], promotions: Sequence[Promotion] = ()
) -> dict[str, Any]:
    """The common fields of both pages."""
    logged = any(run.evidence.log_blob for run in runs) or any(step.runs_now for step in steps)
    histories = [("", record.history), *((f"{one.tag}: ", one.history) for one in promotions)]
    return {
        "state": record.state_name,
        "severity": severity_of(record.state_name),
        "since": record.history[-1].at if record.settled and record.history else record.created_at,
        "reason": _why(record),
        "running": not all(one.settled for one in (record, *promotions)),
        "steps": steps,
        "events": _events(histories),
        "parent_name": record.partition,
        "log": OPERATIONS[f"{record.work_item.kind}_log"].at(record.id) if logged else "",
    }


def _why(record: Record) -> str:
    """The reason of its state, else the last entry of its history while it is running."""
    if record.why or record.settled:
        return record.why
    last = record.history[-1] if record.history else None
    return f"{last.what}: {last.why}".removesuffix(": ") if last else ""


def _stall_facts(record: Record) -> dict[str, str]:
    stall = record.stall
    if stall is None or record.settled:
        return {}
    known = facts({"Stalled on": stall.dependency, "What to do": stall.remedy})
    return known | {"Next try": moment(stall.next_try_at)}


def _promotion_fact(promotion: Promotion) -> tuple[str, str]:
    unique = f", unique tag {promotion.unique} {promotion.progress}" if promotion.progress else ""
    why = "" if promotion.state is PromotionState.PROMOTED or not promotion.why else f": {promotion.why}"
    return f"Tag {promotion.tag}, sequence {promotion.sequence}", f"{promotion.state_name}{unique}{why}"


def _step(kind: str, state: str, took: str, reason: str, run: Run) -> Step:
    """A step with its run, and what that wrote. The id of a run that is in no registry is not shown."""
    severity = severity_of(state)
    return Step(
        kind=kind,
        state=state,
        severity=severity,
        run=run.run_id if run.registry else "",
        took=took,
        reason=reason,
        status=run.evidence.status,
        log_tail="\n".join(run.evidence.log_tail),
        runs_now=severity is Severity.BUSY and bool(run.run_id),
    )


def _check(check: CheckRecord, now: datetime) -> Step:
    took = duration(check.started_at or check.claimed_at, check.finished_at or now)
    return _step(check.kind, _check_state(check), took, check.reason, check)


def _check_state(check: CheckRecord) -> str:
    if check.verdict or check.retry_at:  # the last run of one that is run again gave no verdict
        return (check.verdict or Verdict.UNKNOWN).value
    if check.claimed_at is None:
        return "waiting" if check.reason else "not started"
    kind = KINDS.get(check.kind)
    return CandidateState.AWAITING_APPROVAL if kind is not None and kind.waits_for_person else "running"


def _build(record: Rollout, now: datetime) -> Step:
    build = record.build
    failed = record.state is RolloutState.FAILED and record.image is None
    state = "failed" if failed else "built" if record.image else "running" if build.claimed_at else "not started"
    took = duration(build.started_at, build.finished_at or now) if build.run_id else ""
    return _step("build", state, took, record.reason if failed else "", build)


def _deployments(record: Rollout) -> Iterator[Step]:
    over = record.settled or record.state is RolloutState.RESTORING
    for kind, deploy, good, ended in (
        ("deploy", record.deploy, RolloutState.LIVE, over),
        ("restore", record.restore, RolloutState.RESTORED, record.settled),
    ):
        if deploy.touched:
            state = "passed" if record.state is good else "failed" if ended else "running"
            yield Step(kind=kind, state=state, severity=severity_of(state), reason=deploy.seen)


def _events(histories: Iterable[tuple[str, Sequence[Entry]]]) -> tuple[Entry, ...]:
    """Several histories as one, the newest entry first; each has a prefix."""
    entries = [(entry.at, prefix, n, entry) for prefix, history in histories for n, entry in enumerate(history)]
    entries.sort(key=lambda one: one[:3], reverse=True)
    return tuple(Entry(at, prefix + entry.what, entry.why) for at, prefix, _, entry in entries)


def gate_history(services: Services, name: str, shown: Filter) -> History:
    """A page of a gate's candidates, its active vetoes, and its scans. Raises `Malformed` or `NotFound`."""
    gate, vetoes, now = Lookup(services).gate(name), Vetoes(services), services.clock.now()
    stables = [stored.record for stored in services.ledger.list(StableTag, name)]
    scanned = [(one, one.current_scan) for one in stables if one.current_scan is not None]
    scanned.sort(key=lambda pair: pair[1] is None or not pair[1].at_risk)
    items, common = _read(services, Candidate, CandidateState, name, shown)
    return History(
        **common,
        source=source_of(gate, services),
        target=vetoes.target(gate),
        rows=tuple(map(_candidate, items)),
        vetoes=tuple(_veto(veto) for veto in vetoes.all(gate) if veto.is_active),
        scans=tuple(_scan(stable, scan, now) for stable, scan in scanned[:_ROWS] if scan is not None),
    )


def app_history(services: Services, name: str, shown: Filter) -> History:
    """A page of an app's rollouts. Raises `Malformed` or `NotFound`."""
    app = Lookup(services).app(name)
    items, common = _read(services, Rollout, RolloutState, name, shown)
    buttons_of = _deployable(app, items, read(services.ledger, AppRecord(app=name)).live)
    return History(
        **common,
        source=f"gate {app.base.gate}, tag {app.base.tag}",
        target=app.deploy.name if app.deploy else f"{app.build.image}, not deployed",
        rows=tuple(_rollout(item, buttons_of.get(item.id, ())) for item in items),
        actions=tuple(buttons.of_app(app)),
    )


def _read(
    services: Services, kind: type[Listed[L]], states: type[StrEnum], name: str, shown: Filter
) -> tuple[list[L], dict[str, Any]]:
    """The items that match a filter, and the common fields of both pages."""
    only, found, token = _parsed(shown, states), list[L](), shown.token
    for _ in range(_MAX_QUERIES):
        page = services.ledger.page(kind, name, _ROWS - len(found), token, only)
        found += page.items
        token = page.next
        if not token or len(found) == _ROWS:
            break
    return found, {
        "name": name,
        "shown": shown,
        "states": tuple(state.value for state in states),
        "older": urlencode(asdict(replace(shown, token=token))) if token else "",
        "running": any(severity_of(item.state) is Severity.BUSY for item in found),
    }


def _parsed(shown: Filter, states: type[StrEnum]) -> ListFilter:
    """A filter, parsed for the ledger. Days are in UTC, and `until` includes its day. Raises `Malformed`."""
    if shown.state and shown.state not in tuple(states):
        raise Malformed("state", f"must be one of {', '.join(states)}")
    since, until = _moment("since", shown.since), _moment("until", shown.until)
    if until is not None and _is_day(shown.until):
        with suppress(OverflowError):  # the last possible day
            until += timedelta(days=1)
    return ListFilter(state=shown.state, since=since, until=until)


def _is_day(text: str) -> bool:
    return len(text) == len("2026-03-01")


def _moment(field: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.combine(date.fromisoformat(text), time()) if _is_day(text) else datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(field, f"{text[:40]!r} is neither a day (2026-03-01) nor a time (2026-03-01T12:00Z)") from None
    return at.replace(tzinfo=at.tzinfo or UTC)


def _candidate(item: CandidateSummary) -> Item:
    subject, note = short(item.digest), f"{item.tag}, attempt {item.attempt}"
    link = f"candidates/{item.id}"
    return item_of(item, since=item.created_at, link=link, subject=subject, full=item.image, note=note)


def _rollout(item: RolloutSummary, actions: tuple[Action, ...]) -> Item:
    return item_of(
        item,
        since=item.created_at,
        link=f"rollouts/{item.id}",
        subject=short_image(item.image) if item.image else "no image yet",
        full=item.image or item.id,
        note=f"cause: {item.cause}{f', on {short_image(item.base)}' if item.base else ''}",
        actions=actions,
    )


def _scan(stable: StableTag, scan: TagScan, now: datetime) -> Item:
    state, severity = ("at risk", Severity.BAD) if scan.at_risk else ("scanned", Severity.GOOD)
    return Item(
        subject=stable.tag,
        full=stable.unique or scan.digest,
        note=scan_in_words(scan, now),
        state=state if scan.scanned_at else "not scanned",
        severity=severity if scan.scanned_at else Severity.IDLE,
        since=scan.scanned_at,
        reason=scan.reason,
        link=f"candidates/{stable.gate}.{stable.candidate}",
    )


def _veto(veto: Veto) -> Item:
    return Item(
        subject=short(veto.digest),
        full=veto.digest,
        note=veto.actor,
        state="vetoed",
        severity=Severity.WAITING,
        since=veto.at,
        reason=veto.reason,
        actions=(buttons.action("lift_veto", veto.gate, veto.digest, subject=short(veto.digest)),),
    )


def _deployable(app: App, items: list[RolloutSummary], live: BuiltImage | None) -> dict[str, tuple[Action, ...]]:
    """The buttons by rollout: an image that was live and is not any more can be deployed again, at its last rollout."""
    if app.deploy is None:
        return {}
    was_live = (item for item in reversed(items) if item.state == RolloutState.LIVE and item.image)
    last = {str(item.image): item.id for item in was_live if item.image != str(live)}
    return {identifier: (_deploy(app, image),) for image, identifier in last.items()}


def _deploy(app: App, image: str) -> Action:
    fields = {"image": image.rpartition(":")[2]}
    return buttons.action("roll_out", app.name, label="Deploy", subject=short_image(image), fields=fields, grave=True)
