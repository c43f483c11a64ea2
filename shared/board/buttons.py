"""The verbs of `operate` as buttons: which ones stand beside what."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from shared.domain.candidate import Candidate, CandidateState
from shared.domain.image import short
from shared.domain.policy import App
from shared.domain.promotion import Promotion, PromotionState
from shared.domain.rollout import Rollout, RolloutState
from shared.domain.stable_tag import StableTag


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

    `label` is the verb, `subject` what it acts on; `path` is below `/api/v1`; `etag` guards a stale view.
    """

    label: str
    subject: str
    path: str
    method: str = "POST"
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


_UNTIL = Ask("until", "Held until", (Choice("lifted", "it is lifted"), Choice("newer", "a newer digest passes")))


def sweep() -> Action:
    """Compare everything with the ledger now."""
    return Action(label="Sweep now", subject="", path="sweep")


def of_tag(gate: str, tag: str, stable: StableTag | None, earlier: Iterable[Choice]) -> Iterator[Action]:
    """What can be done with a stable tag; `earlier` are the unique tags it may go back to."""
    path, fields = f"gates/{gate}", {"tag": tag}
    yield Action(label="Examine", subject=tag, path=f"{path}/candidates", fields=fields)
    if stable is not None and stable.hold:
        yield lift_hold(gate, tag)
    else:
        yield Action(label="Hold", subject=tag, path=f"{path}/hold", fields=fields, asks=(_UNTIL,))
    choices = tuple(choice for choice in earlier if stable is None or choice.value != stable.unique)
    if choices:
        asks = (Ask("to", "Back to", choices), _UNTIL)
        yield Action(label="Roll back", subject=tag, path=f"{path}/rollback", fields=fields, asks=asks, grave=True)


def lift_hold(gate: str, tag: str) -> Action:
    """End the hold of a stable tag."""
    return Action(label="Lift hold", subject=tag, path=f"gates/{gate}/hold", method="DELETE", fields={"tag": tag})


def lift_veto(gate: str, digest: str) -> Action:
    """End the veto of a digest."""
    return Action(label="Lift veto", subject=short(digest), path=f"gates/{gate}/vetoes/{digest}", method="DELETE")


def of_app(app: App) -> Iterator[Action]:
    """What can be done with an app."""
    yield Action(label="Rebuild", subject=app.name, path=f"apps/{app.name}/rollouts")
    if app.deploy is not None:
        yield Action(label="Roll back", subject=app.name, path=f"apps/{app.name}/rollback", grave=True)


def deploy(app: App, tag: str, name: str) -> Action:
    """Deploy an image of the app that was built before."""
    return Action(label="Deploy", subject=name, path=f"apps/{app.name}/rollouts", fields={"image": tag}, grave=True)


def rerun(identifier: str, name: str, etag: str = "") -> Action:
    """Examine a digest again, as a new attempt."""
    return Action(label="Rerun", subject=name, path=f"candidates/{identifier}/rerun", etag=etag)


def answers(identifier: str, name: str, etag: str = "") -> tuple[Action, Action]:
    """Yes and no to a candidate that waits for a person."""
    path = f"candidates/{identifier}"
    return (
        Action(label="Approve", subject=name, path=f"{path}/approve", etag=etag),
        Action(label="Reject", subject=name, path=f"{path}/reject", etag=etag, grave=True),
    )


def of_candidate(record: Candidate, promotions: Iterable[Promotion], etag: str) -> Iterator[Action]:
    """What can be done with a candidate as it is now, and with the tags that its digest was promoted to."""
    name, gate = short(record.digest), f"gates/{record.gate}"
    if record.state is CandidateState.AWAITING_APPROVAL:
        yield from answers(record.id, name, etag)
    if record.settled:
        yield rerun(record.id, name, etag)
    else:
        yield Action(label="Cancel", subject=name, path=f"candidates/{record.id}/cancel", etag=etag, grave=True)
    ban = {"digest": record.digest}
    yield Action(label="Veto", subject=name, path=f"{gate}/vetoes", fields=ban, grave=True)
    promoted = dict.fromkeys(one.tag for one in promotions if one.state is PromotionState.PROMOTED)
    if promoted:
        both: dict[str, str | bool] = {**ban, "rollback": True}
        yield Action(label="Veto and roll back", subject=name, path=f"{gate}/vetoes", fields=both, grave=True)
    for tag in promoted:
        path, subject, back = f"{gate}/rollback", f"{tag} to this", {"tag": tag, "to": record.digest}
        yield Action(label="Roll back", subject=subject, path=path, fields=back, asks=(_UNTIL,), grave=True)


def of_rollout(record: Rollout, app: App | None, etag: str) -> Iterator[Action]:
    """What can be done with a rollout and its app (None: the rules do not name it any more)."""
    if record.state is RolloutState.BUILDING:
        path = f"rollouts/{record.id}/cancel"
        yield Action(label="Cancel", subject=record.name, path=path, etag=etag, grave=True)
    if app is not None:
        yield from of_app(app)
