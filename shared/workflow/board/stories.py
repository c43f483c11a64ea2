"""The page of one record: its state, its checks with their evidence, its timeline, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shared.domain.candidate import Candidate, CheckRecord
from shared.domain.policy import App
from shared.domain.record import Record
from shared.domain.rollout import DeployRecord, Rollout, RolloutState
from shared.ports import Stored
from shared.workflow.board import verbs
from shared.workflow.board.models import Event, Fact, Step, Story
from shared.workflow.board.tones import Tone, tone_of
from shared.workflow.board.wording import age, duration, moment, short_digest
from shared.workflow.find import candidate_id, rollout_id

_NOT_BEGUN = "not begun"


def candidate_story(stored: Stored[Candidate], now: datetime) -> Story:
    """The page of a candidate."""
    record, identifier = stored.record, candidate_id(stored.record)
    awaits = record.open_check == "approval"
    steps = tuple(_check(check, now) for check in record.checks)
    logged = any(check.evidence.log_blob for check in record.checks) or any(step.runs_now for step in steps)
    since = _since(record)
    return Story(
        kind="Candidate",
        id=identifier,
        heading=f"{record.repository} {short_digest(record.digest)}",
        state="awaits approval" if awaits else record.state.value,
        tone=Tone.WAITING if awaits else tone_of(record.state),
        age=age(since, now),
        at=moment(since),
        reason=_told(record),
        running=not record.finished,
        facts=tuple(_candidate_facts(record)),
        steps=steps,
        events=_events(record),
        actions=tuple(verbs.of_candidate(record, identifier, stored.etag)),
        parent=f"gates/{record.gate}",
        parent_name=record.gate,
        log=f"candidates/{identifier}/log" if logged else "",
    )


def rollout_story(stored: Stored[Rollout], app: App | None, now: datetime) -> Story:
    """The page of a rollout; `app` is its app's rule, if there still is one."""
    record, identifier = stored.record, rollout_id(stored.record)
    since, build = _since(record), _build(record, now)
    logged = bool(record.build.evidence.log_blob) or build.runs_now
    return Story(
        kind="Rollout",
        id=identifier,
        heading=f"{record.app} {record.image.tag if record.image else record.name}",
        state=record.state.value,
        tone=tone_of(record.state),
        age=age(since, now),
        at=moment(since),
        reason=_told(record),
        running=not record.finished,
        facts=tuple(_rollout_facts(record)),
        steps=(build, *_deployments(record)),
        events=_events(record),
        actions=tuple(verbs.of_rollout(record, app, identifier, stored.etag)),
        parent=f"apps/{record.app}",
        parent_name=record.app,
        log=f"rollouts/{identifier}/log" if logged else "",
    )


def _since(record: Record) -> datetime:
    return record.history[-1].at if record.finished and record.history else record.created_at


def _told(record: Record) -> str:
    """Why it stands where it stands: its reason, else the last line of its history while it is running."""
    if record.reason or record.finished:
        return record.reason
    last = record.history[-1] if record.history else None
    return f"{last.what}: {last.why}".removesuffix(": ") if last else ""


def _candidate_facts(record: Candidate) -> Iterator[Fact]:
    yield Fact("Image", str(record.image))
    for tag in record.tags:
        outcome = tag.outcome.value if tag.outcome else "held" if tag.held else "not promoted"
        yield Fact(f"Tag {tag.tag}", f"{outcome}, unique tag {tag.unique}" if tag.unique else outcome)
    yield Fact("Attempt", f"{record.attempt}")
    if record.requested_by:
        yield Fact("Asked for by", record.requested_by)


def _rollout_facts(record: Rollout) -> Iterator[Fact]:
    yield Fact("Rollout", record.name)
    yield Fact("Cause", record.cause.value)
    if record.base:
        yield Fact("Stands on", str(record.base))
    if record.image:
        yield Fact("Image", f"{record.image}@{record.image.digest}")
    if record.deploy.address:
        yield Fact("Address", record.deploy.address)


def _check(check: CheckRecord, now: datetime) -> Step:
    asked = check.kind == "approval"  # what stands in the place of its run id is none
    state, tone = _check_state(check)
    return Step(
        kind=check.kind,
        state=state,
        tone=tone,
        run="" if asked else check.run_id,
        took=duration(check.started_at or check.claimed_at, check.finished_at or now),
        reason=check.reason,
        status=check.evidence.status,
        log_tail="\n".join(check.evidence.log_tail),
        runs_now=tone is Tone.BUSY and bool(check.run_id),
    )


def _check_state(check: CheckRecord) -> tuple[str, Tone]:
    if check.verdict:
        return check.verdict.value, tone_of(check.verdict)
    if check.claimed_at is None:
        return _NOT_BEGUN, Tone.IDLE
    return ("awaits approval", Tone.WAITING) if check.kind == "approval" else ("running", Tone.BUSY)


def _build(record: Rollout, now: datetime) -> Step:
    build = record.build
    failed = record.state is RolloutState.FAILED and record.image is None
    state = "failed" if failed else "built" if record.image else "running" if build.claimed_at else _NOT_BEGUN
    return Step(
        kind="build",
        state=state,
        tone=Tone.IDLE if state == _NOT_BEGUN else tone_of(state),
        run=build.run_id,
        took=duration(build.started_at, build.finished_at or now) if build.run_id else "",
        reason=record.reason if failed else "",
        status=build.evidence.status,
        log_tail="\n".join(build.evidence.log_tail),
        runs_now=state == "running" and bool(build.run_id),
    )


def _deployments(record: Rollout) -> Iterator[Step]:
    for kind, deploy, good in (
        ("deploy", record.deploy, RolloutState.LIVE),
        ("restore", record.restore, RolloutState.RESTORED),
    ):
        if deploy.touched:
            yield _deployment(kind, deploy, record, good)


def _deployment(kind: str, deploy: DeployRecord, record: Rollout, good: RolloutState) -> Step:
    over = record.finished or (kind == "deploy" and record.state is RolloutState.RESTORING)
    state = "passed" if record.state is good else "failed" if over else "running"
    return Step(kind=kind, state=state, tone=tone_of(state), reason=deploy.seen)


def _events(record: Record) -> tuple[Event, ...]:
    return tuple(
        Event(moment(entry.at), f"{entry.at:%d %b %H:%M:%S}", entry.what, entry.why)
        for entry in reversed(record.history)
    )
