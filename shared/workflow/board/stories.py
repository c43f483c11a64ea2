"""The page of one record: its state, its checks with their evidence, its timeline, and what can be done with it."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from shared.domain.candidate import Candidate, CheckRecord
from shared.domain.policy import App
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.record import Record
from shared.domain.rollout import BuildRecord, Rollout, RolloutState
from shared.ports import Stored
from shared.workflow.board import verbs
from shared.workflow.board.models import Event, Fact, Step, Story, Tone, facts, tone_of
from shared.workflow.board.wording import duration, moment, short_digest

_NOT_BEGUN = "not begun"


def candidate_story(stored: Stored[Candidate], promotions: Sequence[Promotion], now: datetime) -> Story:
    """The page of a candidate, and of what promotes its digest."""
    record = stored.record
    steps = tuple(_check(check, now) for check in record.checks)
    logged = any(check.evidence.log_blob for check in record.checks) or any(step.runs_now for step in steps)
    known = facts(("Image", str(record.image)), ("Attempt", f"{record.attempt}"), ("Asked for by", record.requested_by))
    return Story(
        **_common(record, [("", record), *((f"{one.tag}: ", one) for one in promotions)]),
        kind="Candidate",
        heading=f"{record.repository} {short_digest(record.digest)}",
        facts=(*known, *_stall_facts(record), *map(_promotion_fact, promotions)),
        steps=steps,
        actions=tuple(verbs.of_candidate(record, promotions, stored.etag)),
        parent=f"gates/{record.gate}",
        log=f"candidates/{record.id}/log" if logged else "",
    )


def rollout_story(stored: Stored[Rollout], app: App | None, now: datetime) -> Story:
    """The page of a rollout; `app` is its app's rule, if there still is one."""
    record = stored.record
    build = _build(record, now)
    return Story(
        **_common(record, [("", record)]),
        kind="Rollout",
        heading=f"{record.app} {record.image.tag if record.image else record.name}",
        facts=(*_rollout_facts(record), *_stall_facts(record)),
        steps=(build, *_deployments(record)),
        actions=tuple(verbs.of_rollout(record, app, stored.etag)),
        parent=f"apps/{record.app}",
        log=f"rollouts/{record.id}/log" if record.build.evidence.log_blob or build.runs_now else "",
    )


def _common(record: Record, histories: Sequence[tuple[str, Record]]) -> dict[str, Any]:
    """What the pages of all records say, of their histories by the prefixes of their lines."""
    return {
        "state": record.state_name,
        "tone": tone_of(record.state_name),
        "since": record.history[-1].at if record.settled and record.history else record.created_at,
        "reason": _why(record),
        "running": not all(one.settled for _, one in histories),
        "events": _events(histories),
        "parent_name": record.partition,
    }


def _why(record: Record) -> str:
    """Why it stands where it stands: its reason, else the last line of its history while it is running."""
    if record.why or record.settled:
        return record.why
    last = record.history[-1] if record.history else None
    return f"{last.what}: {last.why}".removesuffix(": ") if last else ""


def _stall_facts(record: Record) -> tuple[Fact, ...]:
    if record.stall is None or record.settled:
        return ()
    stall = record.stall
    return (
        *facts(("Stalled on", stall.dependency), ("What to do", stall.remedy)),
        Fact("Next try", moment(stall.next_try_at)),
    )


def _promotion_fact(promotion: Promotion) -> Fact:
    unique = f", unique tag {promotion.unique} {promotion.progress}" if promotion.progress else ""
    why = "" if promotion.state is PromotionState.PROMOTED or not promotion.why else f": {promotion.why}"
    return Fact(f"Tag {promotion.tag}, number {promotion.sequence}", f"{promotion.state_name}{unique}{why}")


def _rollout_facts(record: Rollout) -> tuple[Fact, ...]:
    return facts(
        ("Rollout", record.name),
        ("Cause", record.cause.value),
        ("Stands on", record.known_base or ""),
        ("Image", f"{record.image}@{record.image.digest}" if record.image else ""),
        ("Address", record.deploy.address),
    )


def _check(check: CheckRecord, now: datetime) -> Step:
    state, tone = _check_state(check)
    took = duration(check.started_at or check.claimed_at, check.finished_at or now)
    step = Step(kind=check.kind, state=state, tone=tone, took=took, reason=check.reason)
    step = _with_run(step, check)
    return replace(step, run="") if check.kind == "approval" else step  # what stands in the place of its run id is none


def _with_run(step: Step, run: CheckRecord | BuildRecord) -> Step:
    """A step with the run that it was, and what that wrote."""
    log, runs_now = "\n".join(run.evidence.log_tail), step.tone is Tone.BUSY and bool(run.run_id)
    return replace(step, run=run.run_id, status=run.evidence.status, log_tail=log, runs_now=runs_now)


def _check_state(check: CheckRecord) -> tuple[str, Tone]:
    if check.verdict:
        return check.verdict.value, tone_of(check.verdict)
    if check.claimed_at is None:
        return _NOT_BEGUN, Tone.IDLE
    return ("awaiting approval", Tone.WAITING) if check.kind == "approval" else ("running", Tone.BUSY)


def _build(record: Rollout, now: datetime) -> Step:
    build = record.build
    failed = record.state is RolloutState.FAILED and record.image is None
    state = "failed" if failed else "built" if record.image else "running" if build.claimed_at else _NOT_BEGUN
    tone = Tone.IDLE if state == _NOT_BEGUN else tone_of(state)
    took = duration(build.started_at, build.finished_at or now) if build.run_id else ""
    reason = record.reason if failed else ""
    return _with_run(Step(kind="build", state=state, tone=tone, took=took, reason=reason), build)


def _deployments(record: Rollout) -> Iterator[Step]:
    over = record.settled or record.state is RolloutState.RESTORING
    for kind, deploy, good, ended in (
        ("deploy", record.deploy, RolloutState.LIVE, over),
        ("restore", record.restore, RolloutState.RESTORED, record.settled),
    ):
        if deploy.touched:
            state = "passed" if record.state is good else "failed" if ended else "running"
            yield Step(kind=kind, state=state, tone=tone_of(state), reason=deploy.seen)


def _events(records: Iterable[tuple[str, Record]]) -> tuple[Event, ...]:
    """The histories of records as one, the newest line first; each is named by a prefix."""
    lines = [(entry.at, of, n, entry) for of, one in records for n, entry in enumerate(one.history)]
    lines.sort(key=lambda line: line[:3], reverse=True)
    return tuple(Event(at, of + entry.what, entry.why) for at, of, _, entry in lines)
