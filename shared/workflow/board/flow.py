"""The flow picture: from an upstream digest to a running container, for each stable tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.domain.candidate import Candidate, CandidateState, TagRecord
from shared.workflow.view_models import Action, AppLane, Lane, Stage, Tone, age, moment, short_digest, tone_of

Shown = Mapping[str, Any]
"""A gate or an app as the report has it."""


def lane(
    gate: Shown, tag: str, newest: Candidate | None, apps: Sequence[Shown], earlier: tuple[str, ...], now: datetime
) -> Lane:
    """One stable tag with everything before and after it; `earlier` are the unique tags one may roll back to."""
    stable = next((stable for stable in gate["stable"] if stable["tag"] == tag), None)
    record = _tag_record(newest, tag)
    stages = (
        _upstream(gate, tag, newest, record, now),
        _candidate(newest, now),
        _unique(record, now),
        _stable(tag, stable, newest, now),
    )
    actions = tuple(_lane_actions(gate["name"], tag, stable, earlier))
    return Lane(tag=tag, stages=stages, apps=tuple(app_lane(app, now) for app in apps), actions=actions)


def app_lane(app: Shown, now: datetime) -> AppLane:
    """An app: the image of its last rollout, and what runs."""
    path = f"apps/{app['name']}"
    actions = (
        Action(label=f"Rebuild {app['name']}", path=f"{path}/rollouts"),
        Action(label=f"Roll back {app['name']}", path=f"{path}/rollback", grave=True),
    )
    return AppLane(name=app["name"], stages=(_image(app, now), _container(app, now)), actions=actions)


def explain(candidate: Candidate) -> str:
    """Why a candidate stands where it stands: its reason, else its last line of history while it is running."""
    if candidate.reason or candidate.finished:
        return candidate.reason
    if candidate.state is CandidateState.EXAMINING:
        for check in candidate.checks:
            if check.verdict is None:
                since = check.claimed_at or candidate.created_at
                return f"examining since {since:%H:%M}: {check.kind} {check.run_id}".rstrip()
    last = candidate.history[-1] if candidate.history else None
    return f"{last.what} {last.why}".strip() if last else ""


def _tag_record(candidate: Candidate | None, tag: str) -> TagRecord | None:
    index = candidate.tag_index(tag) if candidate else None
    return candidate.tags[index] if candidate and index is not None else None


def _upstream(gate: Shown, tag: str, newest: Candidate | None, record: TagRecord | None, now: datetime) -> Stage:
    title = "Upstream"
    if newest is None or record is None:
        return Stage(title=title, state="no push yet", full=f"{gate['source']}:{tag}")
    return Stage(
        title=title,
        subject=short_digest(newest.digest),
        full=str(newest.image),
        state="pushed",
        tone=Tone.GOOD,
        age=age(record.pushed_at, now),
    )


def _candidate(newest: Candidate | None, now: datetime) -> Stage:
    if newest is None:
        return Stage(title="Candidate")
    last = newest.history[-1].at if newest.history else newest.created_at
    return Stage(
        title="Candidate",
        subject=f"attempt {newest.attempt}",
        full=newest.digest,
        state=newest.state.value,
        tone=tone_of(newest.state),
        age=age(last if newest.finished else newest.created_at, now),
        reason=explain(newest),
        link=f"candidates/{newest.gate}.{newest.row}",
    )


def _unique(record: TagRecord | None, now: datetime) -> Stage:
    if record is None or not record.unique:
        return Stage(title="Unique tag")
    for state, at, tone in (
        ("locked", record.locked_at, Tone.GOOD),
        ("copied", record.copied_at, Tone.GOOD),
        ("copying", record.copy_started_at, Tone.BUSY),
    ):
        if at is not None:
            return Stage(title="Unique tag", subject=record.unique, state=state, tone=tone, age=age(at, now))
    return Stage(title="Unique tag", subject=record.unique, state="planned")


def _stable(tag: str, stable: Shown | None, newest: Candidate | None, now: datetime) -> Stage:
    title = "Stable tag"
    if stable is None:
        return Stage(title=title, full=tag)
    hold, digest = stable["hold"], stable["digest"]
    behind = newest is not None and newest.digest != digest
    state, tone, reason = (
        ("behind", Tone.WAITING, "the newest push is not promoted") if behind else ("current", Tone.GOOD, "")
    )
    if hold:
        state, tone, reason = "held", Tone.WAITING, f"{hold['actor']}: {hold['reason']}"
    return Stage(
        title=title,
        subject=stable["unique"] or short_digest(digest),
        full=f"{tag} is {digest or 'nothing yet'}",
        state=state,
        tone=tone,
        age=age(moment(stable["movedAt"]), now),
        reason=reason,
    )


def _image(app: Shown, now: datetime) -> Stage:
    latest, title = app["latest"], "App image"
    if latest is None:
        return Stage(title=title, state="no rollout yet")
    return Stage(
        title=title,
        subject=_name(latest["image"]),
        full=latest["image"] or "",
        state=latest["state"],
        tone=tone_of(latest["state"]),
        age=age(moment(latest["createdAt"]), now),
        reason=latest["reason"],
        link=f"rollouts/{latest['id']}",
    )


def _container(app: Shown, now: datetime) -> Stage:
    title, latest = "Container", app["latest"]
    if not app["live"]:
        return Stage(title=title, state="not running")
    busy = latest is not None and latest["state"] in ("deploying", "verifying", "restoring")
    return Stage(
        title=title,
        subject=_name(app["live"]),
        full=app["live"],
        state=latest["state"] if busy and latest else "live",
        tone=Tone.BUSY if busy else Tone.GOOD,
        age=age(moment(app["liveSince"]), now),
    )


def _name(image: str | None) -> str:
    return image.rpartition("/")[2] if image else "nothing yet"


def _lane_actions(gate: str, tag: str, stable: Shown | None, earlier: tuple[str, ...]) -> Iterator[Action]:
    path, fields = f"gates/{gate}", {"tag": tag}
    yield Action(label=f"Examine {tag}", path=f"{path}/candidates", fields=fields)
    if stable is not None and stable["hold"]:
        yield Action(label=f"Lift hold of {tag}", path=f"{path}/hold", method="DELETE", fields=fields)
    else:
        yield Action(label=f"Hold {tag}", path=f"{path}/hold", fields=fields)
    choices = tuple(unique for unique in earlier if stable is None or unique != stable["unique"])
    if choices:
        yield Action(label=f"Roll back {tag}", path=f"{path}/rollback", fields=fields, choices=choices, grave=True)
