"""The page of one record: its state, its checks with their evidence, its timeline, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from shared.domain.candidate import Candidate, CandidateState, CheckRecord
from shared.domain.record import Record
from shared.domain.rollout import DeployRecord, Rollout, RolloutState
from shared.workflow.flow import explain
from shared.workflow.view_models import (
    Action,
    CheckView,
    Event,
    Fact,
    StoryPage,
    Tone,
    age,
    duration,
    short_digest,
    tone_of,
)


def candidate_page(story: dict[str, Any], etag: str, now: datetime) -> StoryPage:
    """The page of a candidate, from its story in the report."""
    record = msgspec.convert(story, Candidate)
    path = f"candidates/{story['id']}"
    kept = any(check.evidence.log_blob for check in record.checks)
    return StoryPage(
        kind="Candidate",
        id=story["id"],
        heading=f"{record.repository} {short_digest(record.digest)}",
        state=record.state.value,
        tone=tone_of(record.state),
        age=age(record.created_at, now),
        running=not record.finished,
        reason=explain(record),
        facts=tuple(_candidate_facts(record)),
        checks=tuple(_check(check, now) for check in record.checks),
        events=_events(record),
        actions=tuple(_candidate_actions(record, path, etag)),
        log=f"{path}/log" if kept else "",
        parent=f"gates/{record.gate}",
    )


def rollout_page(story: dict[str, Any], etag: str, now: datetime) -> StoryPage:
    """The page of a rollout, from its story in the report."""
    record = msgspec.convert(story, Rollout)
    last = record.history[-1] if record.history else None
    told = record.reason or (f"{last.what} {last.why}".strip() if last and not record.finished else "")
    cancel = Action(label="Cancel", path=f"rollouts/{story['id']}/cancel", etag=etag, grave=True)
    verbs = (
        Action(label="Rebuild app", path=f"apps/{record.app}/rollouts"),
        Action(label="Roll back app", path=f"apps/{record.app}/rollback", grave=True),
    )
    return StoryPage(
        kind="Rollout",
        id=story["id"],
        heading=f"{record.app} {record.name}",
        state=record.state.value,
        tone=tone_of(record.state),
        age=age(record.created_at, now),
        running=not record.finished,
        reason=told,
        facts=tuple(_rollout_facts(record)),
        checks=(_build(record, now), *_deployments(record)),
        events=_events(record),
        actions=((cancel,) if record.state is RolloutState.BUILDING else ()) + verbs,
    )


def _candidate_facts(record: Candidate) -> Iterator[Fact]:
    yield Fact(name="Image", value=str(record.image))
    for tag in record.tags:
        outcome = tag.outcome or ("held" if tag.held else "not promoted yet")
        unique = f", unique tag {tag.unique}" if tag.unique else ""
        yield Fact(name=f"Tag {tag.tag}", value=f"{outcome}{unique}")
    yield Fact(name="Attempt", value=f"{record.attempt}")
    if record.requested_by:
        yield Fact(name="Asked for by", value=record.requested_by)


def _rollout_facts(record: Rollout) -> Iterator[Fact]:
    yield Fact(name="Cause", value=record.cause.value)
    if record.base:
        yield Fact(name="Stands on", value=str(record.base))
    if record.image:
        yield Fact(name="Image", value=str(record.image))
    if record.deploy.address:
        yield Fact(name="Address", value=record.deploy.address)


def _check(check: CheckRecord, now: datetime) -> CheckView:
    state = check.verdict.value if check.verdict else "running" if check.claimed_at else "not begun"
    tone = tone_of(check.verdict) if check.verdict else Tone.BUSY if check.claimed_at else Tone.IDLE
    return CheckView(
        kind=check.kind,
        state=state,
        tone=tone,
        run=check.run_id,
        took=duration(check.started_at, check.finished_at or now),
        reason=check.reason,
        status=check.evidence.status,
        log_tail="\n".join(check.evidence.log_tail),
    )


def _build(record: Rollout, now: datetime) -> CheckView:
    build = record.build
    done = build.finished_at is not None or record.image is not None
    failed = record.state is RolloutState.FAILED and record.image is None
    state = "failed" if failed else "built" if done else "running" if build.claimed_at else "not begun"
    return CheckView(
        kind="build",
        state=state,
        tone=Tone.IDLE if state == "not begun" else tone_of(state),
        run=build.run_id,
        took=duration(build.started_at, build.finished_at or now) if build.run_id else "",
        status=build.evidence.status,
        log_tail="\n".join(build.evidence.log_tail),
    )


def _deployments(record: Rollout) -> Iterator[CheckView]:
    for kind, deploy in (("deploy", record.deploy), ("restore", record.restore)):
        if deploy.touched:
            yield _deployment(kind, deploy, record)


def _deployment(kind: str, deploy: DeployRecord, record: Rollout) -> CheckView:
    good = RolloutState.LIVE if kind == "deploy" else RolloutState.RESTORED
    state = "running" if not record.finished else "passed" if record.state is good else "failed"
    return CheckView(kind=kind, state=state, tone=tone_of(state), reason=deploy.seen)


def _events(record: Record) -> tuple[Event, ...]:
    return tuple(
        Event(at=f"{entry.at:%Y-%m-%dT%H:%M:%SZ}", clock=f"{entry.at:%d %b %H:%M:%S}", what=entry.what, why=entry.why)
        for entry in reversed(record.history)
    )


def _candidate_actions(record: Candidate, path: str, etag: str) -> Iterator[Action]:
    waiting = any(check.kind == "approval" and check.claimed_at and check.verdict is None for check in record.checks)
    if waiting and not record.finished:
        yield Action(label="Approve", path=f"{path}/approve", etag=etag)
        yield Action(label="Reject", path=f"{path}/reject", etag=etag, grave=True)
    if record.finished:
        yield Action(label="Rerun", path=f"{path}/rerun", etag=etag)
    else:
        yield Action(label="Cancel", path=f"{path}/cancel", etag=etag, grave=True)
    gate = f"gates/{record.gate}"
    yield Action(label="Veto digest", path=f"{gate}/vetoes", fields={"digest": record.digest}, grave=True)
    if record.state is CandidateState.PROMOTED:
        for tag in record.tags:
            fields = {"tag": tag.tag, "to": record.digest}
            yield Action(label=f"Roll {tag.tag} back to this", path=f"{gate}/rollback", fields=fields, grave=True)
