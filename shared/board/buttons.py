"""The verbs of `operate` as buttons: which ones stand beside what."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.image import short
from shared.domain.policy import App
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import Rollout, RolloutState
from shared.domain.stable_tag import StableTag
from shared.findings.exceptions import end_days
from shared.interface import OPERATIONS
from shared.queries.findings import FindingItem
from shared.queries.models import StandingException


class Choice(msgspec.Struct, frozen=True):
    """One of the values that a dialog offers."""

    value: str
    label: str


class Ask(msgspec.Struct, frozen=True):
    """A field that the dialog of an action asks for, beside the reason."""

    name: str
    label: str
    choices: tuple[Choice, ...]


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A day that the dialog of an action asks for, from the first to the last one; `value` is proposed."""

    name: str
    label: str
    first: str
    last: str
    value: str


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A verb as a button: what is called, with which fixed fields, and what its dialog asks.

    `label` is the verb, `verb` the one in the dialog if that is another, `subject` what it acts on; `path` is below
    `/api/`; `etag` guards a stale view.
    """

    label: str
    method: str
    path: str
    verb: str = ""
    subject: str = ""
    fields: Mapping[str, str | bool] = {}
    asks: tuple[Ask | Day, ...] = ()
    etag: str = ""
    grave: bool = False

    @property
    def body(self) -> str:
        """The fixed fields as JSON."""
        return msgspec.json.encode(self.fields).decode()

    @property
    def asks_json(self) -> str:
        """What the dialog asks, as JSON."""
        return msgspec.json.encode(self.asks).decode()


_LABELS = {
    "ask_exception": "Accept until…",
    "cancel_candidate": "Cancel",
    "cancel_rollout": "Cancel",
    "grant_exception": "Grant",
    "roll_back_app": "Roll back",
    "roll_out": "Rebuild",
    "sweep": "Sweep now",
}
"""The labels that are not the names of their operations."""

_GRAVE = frozenset(
    ("cancel_candidate", "cancel_rollout", "end_exception", "reject", "roll_back", "roll_back_app", "veto")
)
_PROPOSED = timedelta(days=30)
"""How long an exception lasts if the dialog's proposal is not changed."""

_UNTIL = Ask("until", "Held until", (Choice("lifted", "it is lifted"), Choice("newer", "a newer digest passes")))


def action(operation: str, *at: str, **more: Any) -> Action:
    """An operation of the table as a button, with the values in its path."""
    called = OPERATIONS[operation]
    label = _LABELS.get(operation, operation.replace("_", " ").capitalize())
    shown: dict[str, Any] = {"label": label, "grave": operation in _GRAVE, **more}
    return Action(method=called.method, path=called.at(*at), **shown)


def of_tag(gate: str, tag: str, stable: StableTag | None, earlier: Iterable[Choice]) -> Iterator[Action]:
    """What can be done with a stable tag; `earlier` are the unique tags it may go back to."""
    shown = {"subject": tag, "fields": {"tag": tag}}
    yield action("examine", gate, **shown)
    if stable is not None and stable.hold:
        yield action("lift_hold", gate, **shown)
    else:
        yield action("hold", gate, asks=(_UNTIL,), **shown)
    choices = tuple(choice for choice in earlier if stable is None or choice.value != stable.unique)
    if choices:
        yield action("roll_back", gate, asks=(Ask("to", "Back to", choices), _UNTIL), **shown)


def of_app(app: App) -> Iterator[Action]:
    """What can be done with an app."""
    yield action("roll_out", app.name, subject=app.name)
    if app.deploy is not None:
        yield action("roll_back_app", app.name, subject=app.name)


def decisions(identifier: str, name: str, etag: str = "") -> tuple[Action, ...]:
    """Yes and no to a candidate that waits for a person."""
    return tuple(action(verb, identifier, subject=name, etag=etag) for verb in ("approve", "reject"))


def of_candidate(record: Candidate, promotions: Iterable[Promotion], etag: str) -> Iterator[Action]:
    """What can be done with a candidate as it is now, and with the tags that its digest was promoted to."""
    name, gate, ban = short(record.digest), record.gate, {"digest": record.digest}
    if record.state is CandidateState.AWAITING_APPROVAL:
        yield from decisions(record.id, name, etag)
    yield action("rerun" if record.settled else "cancel_candidate", record.id, subject=name, etag=etag)
    yield action("veto", gate, subject=name, fields=ban)
    promoted = dict.fromkeys(one.tag for one in promotions if one.state is PromotionState.PROMOTED)
    if promoted:
        yield action("veto", gate, label="Veto and roll back", subject=name, fields={**ban, "rollback": True})
    for tag in promoted:
        back = {"tag": tag, "to": record.digest}
        yield action("roll_back", gate, subject=f"{tag} to this", fields=back, asks=(_UNTIL,))


def accept(gate: str, item: FindingItem, now: datetime) -> Action:
    """Ask for an exception about a finding: in its package in any version, or in this version only."""
    first, last = end_days(now)
    until = Day(
        name="until", label="Until the end of (UTC)", first=f"{first}", last=f"{last}", value=f"{first + _PROPOSED}"
    )
    name, exact = item.package, f"{item.package}@{item.version}"
    versions = Choice(name, f"{name}, any version"), Choice(exact, f"{name}, version {item.version} only")
    package = Ask("package", "In", versions if name and item.version else (Choice(name, name or "any package"),))
    fields, subject = {"vulnerability": item.vulnerability}, f"{item.vulnerability} in {name or 'any package'}"
    shown = {"verb": "Ask to accept", "subject": subject, "fields": fields, "asks": (package, until)}
    return action("ask_exception", gate, **shown)


def of_exception(one: StandingException, subject: str) -> tuple[Action, ...]:
    """What can be done with an exception that was asked for and has not ended: a request is granted or denied."""
    if one.state != "requested":
        return (action("end_exception", one.gate, one.id, subject=subject),)
    grant = action("grant_exception", one.gate, one.id, subject=subject)
    return grant, action("end_exception", one.gate, one.id, label="Deny", subject=subject)


def of_rollout(record: Rollout, app: App | None, etag: str) -> Iterator[Action]:
    """What can be done with a rollout and its app (None: the rules do not name it any more)."""
    if record.state is RolloutState.BUILDING:
        yield action("cancel_rollout", record.id, subject=record.name, etag=etag)
    if app is not None:
        yield from of_app(app)
