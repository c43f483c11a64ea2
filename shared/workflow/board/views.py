"""What the board shows: view models made from the report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Malformed
from shared.workflow.flow import app_lane, lane
from shared.workflow.report import PAGE_LIMIT, Report
from shared.workflow.stories import candidate_page, rollout_page
from shared.workflow.view_models import (
    Action,
    AppLane,
    GateFlow,
    HistoryPage,
    Row,
    StoryPage,
    Tone,
    VetoView,
    age,
    moment,
    short_digest,
    tone_of,
)

_RECENT = 30
"""How far back the flow picture looks for the newest candidate of each tag, and for what one may roll back to."""

_ROWS = 25
_SCANNED_PAGES = 5
"""How many pages of a hundred a filter reads at most; the next-page link goes on from there."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All gates, and the apps that stand on none of their tags; `running` where anything is under way."""

    gates: tuple[GateFlow, ...]
    loose: tuple[AppLane, ...]
    running: bool
    headline: str


class Views:
    """Prepares pages. `now` is the moment that ages are counted to."""

    def __init__(self, report: Report, now: datetime) -> None:
        self._report, self._now = report, now

    def overview(self) -> Overview:
        """The flow picture."""
        status = self._report.status()
        gates = tuple(self._flow(gate, status["apps"]) for gate in status["gates"])
        names = {gate.name for gate in gates}
        loose = tuple(app_lane(app, self._now) for app in status["apps"] if app["standsOn"]["gate"] not in names)
        words = _headline(gates)
        return Overview(gates=gates, loose=loose, running=words.startswith("Working"), headline=words)

    def candidate(self, identifier: str) -> StoryPage:
        """The page of a candidate. Raises `Malformed` or `NotThere`."""
        story, etag = self._report.candidate(identifier)
        return candidate_page(story, etag, self._now)

    def rollout(self, identifier: str) -> StoryPage:
        """The page of a rollout. Raises `Malformed` or `NotThere`."""
        story, etag = self._report.rollout(identifier)
        return rollout_page(story, etag, self._now)

    def history(self, gate_name: str, state: str = "", token: str = "") -> HistoryPage:
        """A page of a gate's history.

        Raises:
            Malformed: there is no such state. NotThere: there is no such gate.
        """
        states = tuple(known.value for known in CandidateState)
        if state and state not in states:
            raise Malformed("state", f"must be one of {', '.join(states)}")
        gate = self._report.gate(gate_name)
        items, following = self._items(gate_name, state, token)
        return HistoryPage(
            gate=gate["name"],
            source=gate["source"],
            target=gate["target"],
            state=state,
            states=states,
            rows=tuple(self._row(item) for item in items),
            vetoes=tuple(self._veto(gate["name"], veto) for veto in gate["vetoes"]),
            token=following,
            running=any(tone_of(item["state"]) is Tone.BUSY for item in items),
        )

    def _items(self, gate: str, state: str, token: str) -> tuple[list[dict[str, Any]], str]:
        if not state:
            page = self._report.candidates(gate, _ROWS, token)
            return page["items"], page["next"]
        found: list[dict[str, Any]] = []
        for _ in range(_SCANNED_PAGES):
            page = self._report.candidates(gate, PAGE_LIMIT, token)
            found += [item for item in page["items"] if item["state"] == state]
            token = page["next"]
            if not token or len(found) >= _ROWS:
                break
        return found, token

    def _flow(self, gate: dict[str, Any], apps: list[dict[str, Any]]) -> GateFlow:
        recent = self._report.candidates(gate["name"], _RECENT, "")["items"]
        ours = [app for app in apps if app["standsOn"]["gate"] == gate["name"]]
        tags = dict.fromkeys(
            [stable["tag"] for stable in gate["stable"]]
            + [app["standsOn"]["tag"] for app in ours]
            + [tag for item in recent for tag in item["tags"]]
        )
        lanes = []
        for tag in tags:
            stories = self._stories(recent, tag)
            earlier = tuple(_uniques(stories, tag))
            standing = [app for app in ours if app["standsOn"]["tag"] == tag]
            lanes.append(lane(gate, tag, stories[0] if stories else None, standing, earlier, self._now))
        return GateFlow(name=gate["name"], source=gate["source"], target=gate["target"], lanes=tuple(lanes))

    def _stories(self, recent: list[dict[str, Any]], tag: str) -> list[Candidate]:
        """The newest candidate of a tag, then the promoted ones."""
        items = [item for item in recent if tag in item["tags"]]
        wanted = items[:1] + [item for item in items[1:] if item["state"] == CandidateState.PROMOTED][:5]
        return [msgspec.convert(self._report.candidate(item["id"])[0], Candidate) for item in wanted]

    def _row(self, item: dict[str, Any]) -> Row:
        return Row(
            link=f"candidates/{item['id']}",
            digest=short_digest(item["digest"]),
            full=item["digest"],
            tags=", ".join(item["tags"]),
            attempt=item["attempt"],
            state=item["state"],
            tone=tone_of(item["state"]),
            age=age(moment(item["createdAt"]), self._now),
            reason=item["reason"],
        )

    def _veto(self, gate: str, veto: dict[str, Any]) -> VetoView:
        digest = veto["digest"]
        return VetoView(
            digest=short_digest(digest),
            full=digest,
            actor=veto["actor"],
            reason=veto["reason"],
            age=age(moment(veto["at"]), self._now),
            lift=Action(label="Lift veto", path=f"gates/{gate}/vetoes/{digest}", method="DELETE"),
        )


def _uniques(stories: list[Candidate], tag: str) -> Iterator[str]:
    for story in stories:
        if story.state is CandidateState.PROMOTED:
            index = story.tag_index(tag)
            if index is not None and story.tags[index].copied_at is not None:
                yield story.tags[index].unique


def _headline(gates: tuple[GateFlow, ...]) -> str:
    """The picture in one sentence, for the status line and for a screen reader."""
    stages = [stage for gate in gates for lane in gate.lanes for stage in lane.stages]
    stages += [stage for gate in gates for lane in gate.lanes for app in lane.apps for stage in app.stages]
    counts = {tone: sum(stage.tone is tone for stage in stages) for tone in Tone}
    parts = [
        f"{counts[tone]} {word}" for tone, word in ((Tone.BAD, "failed"), (Tone.WAITING, "waiting")) if counts[tone]
    ]
    if counts[Tone.BUSY]:
        parts.insert(0, f"Working: {counts[Tone.BUSY]} under way")
    return ", ".join(parts) or "All quiet"
