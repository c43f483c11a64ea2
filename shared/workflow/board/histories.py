"""The history of a gate or an app, a page at a time, filtered by state and time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.policy import App, Gate
from shared.domain.rollout import BuiltImage, Rollout, RolloutState
from shared.domain.standing import Veto
from shared.ports import Listed, Only
from shared.workflow.board import verbs
from shared.workflow.board.actions import Action
from shared.workflow.board.filters import understood
from shared.workflow.board.glance import source_of, target_of
from shared.workflow.board.lines import CandidateLine, RolloutLine, candidate_lines, rollout_lines
from shared.workflow.board.models import Filter, History, Row, VetoView
from shared.workflow.board.tones import Tone, tone_of
from shared.workflow.board.wording import age, moment, short_digest, short_image
from shared.workflow.dependents import AppRecords
from shared.workflow.services import Services

_ROWS = 25
_QUERIES = 5
"""A filtered page of the ledger may be short: so many are asked for at most, and the link to older ones goes on."""

_CANDIDATE_STATES = tuple(state.value for state in CandidateState)
_ROLLOUT_STATES = tuple(state.value for state in RolloutState)

L = TypeVar("L", CandidateLine, RolloutLine)


class Histories:
    """Prepares pages of histories. `now` is the moment that ages are counted to."""

    def __init__(self, services: Services, now: datetime) -> None:
        self._services, self._now = services, now

    def gate(self, gate: Gate, shown: Filter, token: str) -> History:
        """A page of a gate's candidates, and the vetoes that stand at it. Raises `Malformed`."""
        only = understood(shown, _CANDIDATE_STATES)
        lines, following = self._read(Candidate, candidate_lines, gate.name, (only, token))
        vetoes = (stored.record for stored in self._services.ledger.list(Veto, gate.name))
        return History(
            kind="gates",
            name=gate.name,
            source=source_of(gate, self._services),
            target=target_of(gate, self._services),
            shown=shown,
            states=_CANDIDATE_STATES,
            rows=tuple(self._candidate(line) for line in lines),
            older=_query(shown, following),
            running=any(line.running for line in lines),
            vetoes=tuple(self._veto(veto) for veto in vetoes if veto.stands),
        )

    def app(self, app: App, shown: Filter, token: str) -> History:
        """A page of an app's rollouts. Raises `Malformed`."""
        only = understood(shown, _ROLLOUT_STATES)
        lines, following = self._read(Rollout, rollout_lines, app.name, (only, token))
        again = _deployable(app, lines, AppRecords(self._services).read(app.name).live)
        return History(
            kind="apps",
            name=app.name,
            source=f"gate {app.base.gate}, tag {app.base.tag}",
            target=app.deploy.container_group if app.deploy else f"{app.build.image}, not deployed",
            shown=shown,
            states=_ROLLOUT_STATES,
            rows=tuple(self._rollout(line, again.get(line.id, ())) for line in lines),
            older=_query(shown, following),
            running=any(line.running for line in lines),
            actions=tuple(verbs.of_app(app)),
        )

    def _read(
        self,
        kind: type[Listed],
        typed: Callable[[list[dict[str, Any]]], tuple[L, ...]],
        partition: str,
        asked: tuple[Only, str],
    ) -> tuple[list[L], str]:
        """The lines that are asked for, from a token on, and the token of the next page."""
        only, token = asked
        found: list[L] = []
        for _ in range(_QUERIES):
            page = self._services.ledger.page(kind, partition, _ROWS - len(found), token, only)
            found += typed(page.items)
            token = page.token
            if not token or len(found) == _ROWS:
                break
        return found, token

    def _candidate(self, line: CandidateLine) -> Row:
        return Row(
            link=f"candidates/{line.id}",
            subject=short_digest(line.digest),
            full=line.image,
            note=f"{', '.join(line.tags)}, attempt {line.attempt}",
            state="awaits approval" if line.awaits_approval else line.state.value,
            tone=tone_of("held" if line.awaits_approval else line.state),
            age=age(line.created_at, self._now),
            at=moment(line.created_at),
            reason=_why(line),
        )

    def _rollout(self, line: RolloutLine, actions: tuple[Action, ...]) -> Row:
        return Row(
            link=f"rollouts/{line.id}",
            subject=short_image(line.image) if line.image else "no image yet",
            full=line.image or line.id,
            note=f"because of {line.cause}, on {short_image(line.base)}" if line.base else f"because of {line.cause}",
            state=line.state.value,
            tone=tone_of(line.state),
            age=age(line.created_at, self._now),
            at=moment(line.created_at),
            reason=_why(line),
            actions=actions,
        )

    def _veto(self, veto: Veto) -> VetoView:
        return VetoView(
            digest=short_digest(veto.digest),
            full=veto.digest,
            actor=veto.actor,
            reason=veto.reason,
            age=age(veto.at, self._now),
            at=moment(veto.at),
            lift=verbs.lift_veto(veto.gate, veto.digest),
        )


def _deployable(app: App, lines: list[RolloutLine], live: BuiltImage | None) -> dict[str, tuple[Action, ...]]:
    """What stands beside which rollout: an image that was live and is not can be deployed again, where it was last."""
    if app.deploy is None:
        return {}
    was_live = (line for line in reversed(lines) if line.state is RolloutState.LIVE and line.image)
    last = {line.image: line for line in was_live if line.image != str(live)}
    return {
        line.id: (verbs.deploy(app, image.rpartition(":")[2], short_image(image)),)
        for image, line in last.items()
        if image is not None
    }


def _why(line: CandidateLine | RolloutLine) -> str:
    """Why it stands where it stands; where all is well, nothing needs to be said."""
    return line.last if line.running else "" if tone_of(line.state) is Tone.GOOD else line.reason


def _query(shown: Filter, token: str) -> str:
    """The query of the next page; "" where there is none."""
    return urlencode({**msgspec.to_builtins(shown), "token": token}) if token else ""
