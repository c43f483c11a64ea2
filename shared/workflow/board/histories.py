"""The history of a gate or an app, a page at a time, filtered by state and time."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.errors import Malformed
from shared.domain.policy import App, Gate
from shared.domain.rollout import AppRecord, BuiltImage, Rollout, RolloutState
from shared.domain.stable_tag import Veto
from shared.ports import Listed, Only, Services, read
from shared.promotion.vetoes import Vetoes
from shared.workflow.answers import CandidateSummary, RecordSummary, RolloutSummary
from shared.workflow.board import verbs
from shared.workflow.board.models import Action, Filter, History, Item, Tone, tone_of
from shared.workflow.board.wording import short_digest, short_image
from shared.workflow.report import source_of

_ROWS = 25
_QUERIES = 5
"""A filtered page of the ledger may be short: so many are asked for at most, and the link to older ones goes on."""

L = TypeVar("L", CandidateSummary, RolloutSummary)


def gate_history(services: Services, gate: Gate, shown: Filter, token: str) -> History:
    """A page of a gate's candidates, and the vetoes that stand at it. Raises `Malformed`."""
    asked, vetoes = _understood(shown, CandidateState), Vetoes(services)
    items, following = _read(services, Candidate, CandidateSummary, gate.name, (asked, token))
    return History(
        **_common(shown, CandidateState, items, following),
        name=gate.name,
        source=source_of(gate, services),
        target=vetoes.target(gate),
        rows=tuple(_candidate(item) for item in items),
        vetoes=tuple(_veto(veto) for veto in vetoes.all(gate) if veto.stands),
    )


def app_history(services: Services, app: App, shown: Filter, token: str) -> History:
    """A page of an app's rollouts. Raises `Malformed`."""
    asked = _understood(shown, RolloutState)
    items, following = _read(services, Rollout, RolloutSummary, app.name, (asked, token))
    again = _deployable(app, items, read(services.ledger, AppRecord(app=app.name)).live)
    return History(
        **_common(shown, RolloutState, items, following),
        name=app.name,
        source=f"gate {app.base.gate}, tag {app.base.tag}",
        target=app.deploy.container_group if app.deploy else f"{app.build.image}, not deployed",
        rows=tuple(_rollout(item, again.get(item.id, ())) for item in items),
        actions=tuple(verbs.of_app(app)),
    )


def _common(shown: Filter, states: type[StrEnum], items: Sequence[RecordSummary], token: str) -> dict[str, Any]:
    """What the pages of both say: `token` is that of the next page, "" where there is none."""
    return {
        "shown": shown,
        "states": tuple(state.value for state in states),
        "older": urlencode({**msgspec.to_builtins(shown), "token": token}) if token else "",
        "running": any(tone_of(item.state) is Tone.BUSY for item in items),
    }


def _read(
    services: Services, kind: type[Listed], summary: type[L], partition: str, asked: tuple[Only, str]
) -> tuple[list[L], str]:
    """The items that are asked for, from a token on, and the token of the next page."""
    only, token = asked
    found: list[L] = []
    for _ in range(_QUERIES):
        page = services.ledger.page(kind, partition, _ROWS - len(found), token, only)
        found += msgspec.convert(page.items, list[summary])  # type: ignore[valid-type]
        token = page.token
        if not token or len(found) == _ROWS:
            break
    return found, token


def _understood(shown: Filter, states: type[StrEnum]) -> Only:
    """A filter as a person gives it, for the ledger. A day counts in UTC, and `until` includes it.

    Raises:
        Malformed: there is no such state, or a time is none; `field` says which.
    """
    if shown.state and shown.state not in tuple(states):
        raise Malformed("state", f"must be one of {', '.join(states)}")
    since, until = _moment("since", shown.since), _moment("until", shown.until)
    if until is not None and _is_day(shown.until):
        until += timedelta(days=1)
    return Only(state=shown.state, since=since, until=until)


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
    subject, note = short_digest(item.digest), f"{item.tag}, attempt {item.attempt}"
    return _row(item, Item(link=f"candidates/{item.id}", subject=subject, full=item.image, note=note))


def _rollout(item: RolloutSummary, actions: tuple[Action, ...]) -> Item:
    subject, full = short_image(item.image) if item.image else "no image yet", item.image or item.id
    note = f"because of {item.cause}{f', on {short_image(item.base)}' if item.base else ''}"
    return _row(item, Item(link=f"rollouts/{item.id}", subject=subject, full=full, note=note, actions=actions))


def _row(record: RecordSummary, item: Item) -> Item:
    """An item with how its record stands, and why; where all is well, nothing needs to be said."""
    tone = tone_of(record.state)
    reason = record.last if tone is Tone.BUSY else "" if tone is Tone.GOOD else record.reason
    return msgspec.structs.replace(item, state=record.state, tone=tone, since=record.created_at, reason=reason)


def _veto(veto: Veto) -> Item:
    return Item(
        subject=short_digest(veto.digest),
        full=veto.digest,
        note=veto.actor,
        state="vetoed",
        tone=Tone.WAITING,
        since=veto.at,
        reason=veto.reason,
        actions=(verbs.lift_veto(veto.gate, veto.digest),),
    )


def _deployable(app: App, items: list[RolloutSummary], live: BuiltImage | None) -> dict[str, tuple[Action, ...]]:
    """What stands beside which rollout: an image that was live and is not can be deployed again, where it was last."""
    if app.deploy is None:
        return {}
    was_live = (item for item in reversed(items) if item.state == RolloutState.LIVE and item.image)
    last = {item.image: item for item in was_live if item.image != str(live)}
    return {
        item.id: (verbs.deploy(app, image.rpartition(":")[2], short_image(image)),)
        for image, item in last.items()
        if image is not None
    }
