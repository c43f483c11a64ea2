"""The commands that act, each as the call it makes."""

from __future__ import annotations

import re

import typer

from basegate_cli.acting import acting
from basegate_cli.client import Act, segment
from basegate_cli.options import (
    App,
    BackTo,
    CandidateId,
    Digest,
    Gate,
    HoldAll,
    Image,
    RecordId,
    RollBack,
    Tag,
    To,
    Until,
)  # fmt: skip

_CANDIDATE = re.compile(r"[a-z0-9-]+\.[0-9a-f]{12,64}(-[0-9]{1,3})?")


def record_path(identifier: str) -> str:
    """The path of a candidate or a rollout, told apart by the shape of the id."""
    kind = "candidates" if _CANDIDATE.fullmatch(identifier) else "rollouts"
    return f"{kind}/{segment(identifier)}"


def examine(gate: Gate, tag: Tag) -> Act:
    """Examine what a tag of the source is now."""
    return Act("POST", f"gates/{segment(gate)}/candidates", {"tag": tag})


def rerun(candidate: CandidateId) -> Act:
    """Examine a digest again, as a new attempt."""
    return Act("POST", f"candidates/{segment(candidate)}/rerun", {})


def cancel(identifier: RecordId) -> Act:
    """Stop a candidate, or a rollout that is being built."""
    return Act("POST", f"{record_path(identifier)}/cancel", {})


def approve(candidate: CandidateId) -> Act:
    """Approve a candidate that waits for it."""
    return Act("POST", f"candidates/{segment(candidate)}/approve", {})


def reject(candidate: CandidateId) -> Act:
    """Reject a candidate that waits for approval."""
    return Act("POST", f"candidates/{segment(candidate)}/reject", {})


def hold(gate: Gate, tag: Tag, until: Until = "lifted") -> Act:
    """Keep a stable tag where it is."""
    return Act("POST", f"gates/{segment(gate)}/hold", {"tag": tag, "until": until})


def lift(gate: Gate, tag: Tag) -> Act:
    """Lift a hold; what passed meanwhile goes on."""
    return Act("DELETE", f"gates/{segment(gate)}/hold", {"tag": tag})


def veto(gate: Gate, digest: Digest, rollback: RollBack = False, to: BackTo = "", until: Until = "lifted") -> Act:
    """Ban a digest, and get off it where it is promoted."""
    back = {"rollback": True, "until": until} if rollback or to else {}
    return Act("POST", f"gates/{segment(gate)}/vetoes", {"digest": digest} | back | ({"to": to} if to else {}))


def unveto(gate: Gate, digest: Digest) -> Act:
    """Lift a veto."""
    return Act("DELETE", f"gates/{segment(gate)}/vetoes/{segment(digest)}", {})


def rollback(gate: Gate, tag: Tag, to: To, until: Until = "lifted") -> Act:
    """Move a stable tag back to what once passed, and hold it there."""
    return Act("POST", f"gates/{segment(gate)}/rollback", {"tag": tag, "to": to, "until": until})


def app_rebuild(app: App, image: Image = "") -> Act:
    """Build an app again on its current base, and deploy it; or deploy an image that was built before."""
    return Act("POST", f"apps/{segment(app)}/rollouts", {"image": image} if image else {})


def app_rollback(app: App) -> Act:
    """Deploy the image that was live before."""
    return Act("POST", f"apps/{segment(app)}/rollback", {})


def sweep() -> Act:
    """Find drift now, and repair it."""
    return Act("POST", "sweep", {})


def rebuild_ledger(hold_all: HoldAll = False) -> Act:
    """Take down what stands, after the ledger was lost or an old one restored."""
    return Act("POST", "ledger/rebuild", {"hold_all": True} if hold_all else {})


VERBS = (
    examine, rerun, cancel, approve, reject, hold, lift, veto, unveto, rollback, app_rebuild, app_rollback, sweep,
    rebuild_ledger,
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for verb in VERBS:
        app.command(verb.__name__.replace("_", "-"), rich_help_panel="Acting")(acting(verb))
