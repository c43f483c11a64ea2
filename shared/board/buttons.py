"""The verbs of `operate` as buttons: which ones stand beside what."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.image import short
from shared.domain.policy import App
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import Rollout, RolloutState
from shared.domain.stable_tag import StableTag
from shared.interface import OPERATIONS


class Choice(msgspec.Struct, frozen=True):
    """One of the values that a dialog offers."""

    value: str
    label: str


class Ask(msgspec.Struct, frozen=True):
    """A field that the dialog of an action asks for, beside the reason."""

    name: str
    label: str
    choices: tuple[Choice, ...]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A verb as a button: what is called, with which fixed fields, and what its dialog asks.

    `label` is the verb, `subject` what it acts on; `path` is below `/api/`; `etag` guards a stale view.
    """

    label: str
    subject: str
    method: str
    path: str
    fields: Mapping[str, str | bool] = {}
    asks: tuple[Ask, ...] = ()
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


def _action(operation: str, *at: str, **more: Any) -> Action:
    """An operation of the table as a button, with the values in its path."""
    called = OPERATIONS[operation]
    return Action(method=called.method, path=called.at(*at), **more)


_UNTIL = Ask("until", "Held until", (Choice("lifted", "it is lifted"), Choice("newer", "a newer digest passes")))


def sweep() -> Action:
    """Compare everything with the ledger now."""
    return _action("sweep", label="Sweep now", subject="")


def of_tag(gate: str, tag: str, stable: StableTag | None, earlier: Iterable[Choice]) -> Iterator[Action]:
    """What can be done with a stable tag; `earlier` are the unique tags it may go back to."""
    fields = {"tag": tag}
    yield _action("examine", gate, label="Examine", subject=tag, fields=fields)
    if stable is not None and stable.hold:
        yield lift_hold(gate, tag)
    else:
        yield _action("hold", gate, label="Hold", subject=tag, fields=fields, asks=(_UNTIL,))
    choices = tuple(choice for choice in earlier if stable is None or choice.value != stable.unique)
    if choices:
        asks = (Ask("to", "Back to", choices), _UNTIL)
        yield _action("roll_back", gate, label="Roll back", subject=tag, fields=fields, asks=asks, grave=True)


def lift_hold(gate: str, tag: str) -> Action:
    """End the hold of a stable tag."""
    return _action("lift_hold", gate, label="Lift hold", subject=tag, fields={"tag": tag})


def lift_veto(gate: str, digest: str) -> Action:
    """End the veto of a digest."""
    return _action("lift_veto", gate, digest, label="Lift veto", subject=short(digest))


def of_app(app: App) -> Iterator[Action]:
    """What can be done with an app."""
    yield _action("roll_out", app.name, label="Rebuild", subject=app.name)
    if app.deploy is not None:
        yield _action("roll_back_app", app.name, label="Roll back", subject=app.name, grave=True)


def deploy(app: App, tag: str, name: str) -> Action:
    """Deploy an image of the app that was built before."""
    return _action("roll_out", app.name, label="Deploy", subject=name, fields={"image": tag}, grave=True)


def rerun(identifier: str, name: str, etag: str = "") -> Action:
    """Examine a digest again, as a new attempt."""
    return _action("rerun", identifier, label="Rerun", subject=name, etag=etag)


def decisions(identifier: str, name: str, etag: str = "") -> tuple[Action, Action]:
    """Yes and no to a candidate that waits for a person."""
    return (
        _action("approve", identifier, label="Approve", subject=name, etag=etag),
        _action("reject", identifier, label="Reject", subject=name, etag=etag, grave=True),
    )


def of_candidate(record: Candidate, promotions: Iterable[Promotion], etag: str) -> Iterator[Action]:
    """What can be done with a candidate as it is now, and with the tags that its digest was promoted to."""
    name, gate = short(record.digest), record.gate
    if record.state is CandidateState.AWAITING_APPROVAL:
        yield from decisions(record.id, name, etag)
    if record.settled:
        yield rerun(record.id, name, etag)
    else:
        yield _action("cancel_candidate", record.id, label="Cancel", subject=name, etag=etag, grave=True)
    ban = {"digest": record.digest}
    yield _action("veto", gate, label="Veto", subject=name, fields=ban, grave=True)
    promoted = dict.fromkeys(one.tag for one in promotions if one.state is PromotionState.PROMOTED)
    if promoted:
        both = {**ban, "rollback": True}
        yield _action("veto", gate, label="Veto and roll back", subject=name, fields=both, grave=True)
    for tag in promoted:
        subject, back = f"{tag} to this", {"tag": tag, "to": record.digest}
        yield _action("roll_back", gate, label="Roll back", subject=subject, fields=back, asks=(_UNTIL,), grave=True)


def of_rollout(record: Rollout, app: App | None, etag: str) -> Iterator[Action]:
    """What can be done with a rollout and its app (None: the rules do not name it any more)."""
    if record.state is RolloutState.BUILDING:
        yield _action("cancel_rollout", record.id, label="Cancel", subject=record.name, etag=etag, grave=True)
    if app is not None:
        yield from of_app(app)
