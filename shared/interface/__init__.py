"""The HTTP interface as data: one table of its operations.

The functions of the app, the OpenAPI document, the buttons of the board and the commands of the command line are made
from it. What an entry names as `module:attribute` is imported on first use, so that this module costs nothing, and
knows nothing of what stands above it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from operator import attrgetter
from typing import Any
from urllib.parse import quote


class Role(StrEnum):
    """App roles; each includes those before it."""

    READER = "Basegate.Reader"
    OPERATOR = "Basegate.Operator"
    APPROVER = "Basegate.Approver"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation: one that reads, or one that acts, with a body.

    `name` is that of its function in Azure, `path` is below `/api/`. `description` is what more there is to say than
    the `summary`. `role` is who may call it, None: everybody, without a key. `command` is that of the command line, ""
    where there is none; two operations may share one, which the shape of the id tells apart.
    """

    name: str
    method: str
    path: str
    role: Role | None
    summary: str
    description: str = ""
    command: str = ""

    handler: str
    """What is called: a method of the app (`shared.bootstrap.Basegate`), else `module:attribute`.

    It gets the values in the path in their order, and by their names the fields of the body but its reason, with `who`
    acts; or the page that is asked for, and the flags.
    """

    answer: str
    """The type of its JSON; `RunLog` is a log as text, `dict` JSON of no shape that is known here."""

    body: str = ""
    """The type of the body of an operation that acts; "" of one that reads."""

    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Bodies, by what they are an example of."""

    paged: bool = False
    """Whether it answers a page of a list, which may be asked for by time."""

    states: str = ""
    """The states that such a list may be asked for."""

    flags: Mapping[str, str] = field(default_factory=dict)
    """What a read may be asked besides, and what that means."""

    etag: bool = False
    """Whether the answer has an ETag to act on: the handler returns it with the answer."""

    also: Mapping[int, str] = field(default_factory=dict)
    """Other statuses with the same kind of answer."""

    @property
    def in_path(self) -> Sequence[str]:
        """The names of the values in its path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def in_query(self) -> Sequence[str]:
        """The names of the parameters that the query of a read may have."""
        return (*(PAGE if self.paged else ()), *(("state",) if self.states else ()), *self.flags)

    def at(self, *values: str) -> str:
        """Its path with these values."""
        parts = dict(zip(self.in_path, (quote(value, safe=":") for value in values), strict=True))
        return self.path.format_map(parts)


def resolve(reference: str) -> Any:
    """What `module:attribute` names, imported on first use."""
    module, _, attribute = reference.partition(":")
    return attrgetter(attribute)(import_module(module))


PAGE = ("limit", "token", "since", "until")
"""What the query of every list by time may have."""

_NAME = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9-]+$"}
IN_PATH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gate": ("The gate's name.", _NAME),
    "app": ("The app's name.", _NAME),
    "digest": ("A digest.", {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
    "candidate": (
        "`<gate>.<digest>[-<attempt>]`: 12 digits of the digest are enough; without an attempt, the last one.",
        {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[0-9a-f]{12,64}(-[0-9]{1,3})?$"},
    ),
    "rollout": ("`<app>.<name>`.", {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[A-Za-z0-9._-]{1,200}$"}),
}
"""What stands in paths: what it means, and its schema."""

_WHY = {"reason": "it is three in the morning"}
_TAG = {"tag": "15-alpine", **_WHY}
_DIGEST = "sha256:0475d149c683b8b9a3a7a0f8a9d4c3b2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6"
_BAN = {"digest": _DIGEST, **_WHY}


def _read(name: str, path: str, handler: str, answer: str, summary: str, **more: Any) -> Operation:
    answer = answer if ":" in answer else f"shared.queries.answers:{answer}"
    said = {"role": Role.READER, "method": "GET"} | more
    return Operation(name=name, path=path, handler=handler, answer=answer, summary=summary, **said)


def _act(name: str, path: str, handler: str, body: str, summary: str, **more: Any) -> Operation:
    said = {"role": Role.OPERATOR, "method": "POST", "answer": "functions.web.answers:PlanAnswer"} | more
    body = f"{__name__}.bodies:{body}"
    return Operation(name=name, path=path, handler=handler, body=body, summary=summary, **said)


# fmt: off
_TABLE = (
    _read("status", "v1/status", "report.status", "Status",
          "All gates and apps at a glance", command="status"),
    _read("gates", "v1/gates", "report.gates", "Gates",
          "All gates at a glance"),
    _read("gate", "v1/gates/{gate}", "report.gate", "GateStory",
          "One gate: its rule, its stable tags with their holds, its vetoes", command="gate",
          description="Of the values that its tasks get, only the names are answered."),
    _read("candidates", "v1/gates/{gate}/candidates", "report.candidates", "CandidatePage",
          "The candidates of a gate, by the time they were admitted, the newest first", command="candidates",
          paged=True, states="shared.domain.candidate:CandidateState"),
    _read("promotions", "v1/gates/{gate}/promotions", "report.promotions", "MovePage",
          "Every move of a gate's stable tags, rollbacks among them, the newest first", command="promotions",
          paged=True),
    _read("apps", "v1/apps", "report.apps", "Apps",
          "All apps at a glance"),
    _read("app", "v1/apps/{app}", "report.app", "AppStory",
          "One app: its rule, what is live, what it stands on",
          description="Of the values that its build and its containers get, only the names are answered."),
    _read("rollouts", "v1/apps/{app}/rollouts", "report.rollouts", "RolloutPage",
          "The rollouts of an app, by the time they began, the newest first", command="rollouts",
          paged=True, states="shared.domain.rollout:RolloutState"),
    _read("drift", "v1/drift", "drift.drift", "shared.queries.drift:Drift",
          "Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them", command="drift"),
    _read("holds", "v1/holds", "report.holds", "Holds",
          "All holds that stand, the newest first", command="holds"),
    _read("vetoes", "v1/vetoes", "report.vetoes", "Vetoes",
          "The vetoes that stand, the newest first", command="vetoes",
          flags={"all": "Those that were lifted, too."}),
    _read("candidate", "v1/candidates/{candidate}", "report.candidate", "CandidateStory",
          "The whole story of a candidate, with its evidence and what promotes its digest", command="why", etag=True),
    _read("candidate_log", "v1/candidates/{candidate}/log", "logs.of_candidate", "shared.queries.run_logs:RunLog",
          "The log of a candidate's check: so far while it runs, then as it was kept", command="log"),
    _read("rollout", "v1/rollouts/{rollout}", "report.rollout", "RolloutStory",
          "The whole story of a rollout", command="why", etag=True),
    _read("rollout_log", "v1/rollouts/{rollout}/log", "logs.of_rollout", "shared.queries.run_logs:RunLog",
          "The log of a rollout's build: so far while it runs, then as it was kept", command="log"),
    _read("openapi", "v1/openapi.json", "functions.web.openapi:document", "builtins:dict",
          "This document"),
    _read("readyz", "readyz", "health.readiness", "shared.health:Readiness",
          "Whether everything that the rules need can be used, each with what to do if not",
          also={503: "something cannot be used"}),
    _read("healthz", "healthz", "functions.web.answers:Health", "functions.web.answers:Health",
          "Whether the app is up", role=None),
    _act("examine", "v1/gates/{gate}/candidates", "operate.candidates.examine", "TagAsked",
         "Examine what a tag of the source is now", command="examine",
         examples={"examine": _TAG}),
    _act("rerun", "v1/candidates/{candidate}/rerun", "operate.candidates.rerun", "Asked",
         "Examine a digest again, as a new attempt", command="rerun",
         examples={"rerun": _WHY}),
    _act("cancel_candidate", "v1/candidates/{candidate}/cancel", "operate.candidates.cancel", "Asked",
         "Stop a candidate and the run that examines it", command="cancel",
         description="Of one that has passed, the promotions that stand on it are canceled. Refused once a stable tag "
         "is being moved to it: roll back instead.",
         examples={"cancel": _WHY}),
    _act("approve", "v1/candidates/{candidate}/approve", "operate.candidates.approve", "Asked",
         "Approve a candidate that waits for it", command="approve", role=Role.APPROVER,
         examples={"approve": {"reason": "read the change notes"}}),
    _act("reject", "v1/candidates/{candidate}/reject", "operate.candidates.reject", "Asked",
         "Reject a candidate that waits for approval", command="reject", role=Role.APPROVER,
         examples={"reject": {"reason": "the change notes speak of a new libc"}}),
    _act("roll_back", "v1/gates/{gate}/rollback", "operate.gates.roll_back", "RollbackAsked",
         "Move a stable tag back to what passed when it was examined last, and hold it there", command="rollback",
         examples={"to a unique tag": _TAG | {"to": "15-alpine-cb2"},
                   "until a newer digest passes": _TAG | {"to": _DIGEST, "until": "newer"}}),
    _act("hold", "v1/gates/{gate}/hold", "operate.gates.hold", "HoldAsked",
         "Keep a stable tag where it is", command="hold",
         description="Candidates are examined all the same; what passes waits until the hold is lifted. `inFlight` "
         "names the move, the promotions and the rollouts that had begun by then.",
         examples={"hold": _TAG | {"until": "lifted"}}),
    _act("lift_hold", "v1/gates/{gate}/hold", "operate.gates.lift", "TagAsked",
         "Lift a hold", command="lift", method="DELETE",
         description="The newest of what passed meanwhile is promoted, or what the source tag is now.",
         examples={"lift": _TAG}),
    _act("veto", "v1/gates/{gate}/vetoes", "operate.vetoes.veto", "VetoAsked",
         "Ban a digest, and roll back from it if asked", command="veto",
         description="It counts for every gate that promotes into the same repository. Where a stable tag stands on "
         "the digest, it stays there: a warning says so, and what to roll back to. With `rollback` or `to` that is "
         "done, and the tag is held there as after any rollback. `inFlight` names the moves, promotions and rollouts "
         "under way.",
         examples={"ban": _BAN, "ban and roll back": _BAN | {"rollback": True},
                   "ban and roll back to": _BAN | {"to": "15-alpine-cb2"}}),
    _act("lift_veto", "v1/gates/{gate}/vetoes/{digest}", "operate.vetoes.lift", "Asked",
         "Lift a veto; source tags that are the digest now are promoted", command="unveto", method="DELETE",
         examples={"lift": {"reason": "it was the wrong digest"}}),
    _act("roll_out", "v1/apps/{app}/rollouts", "operate.apps.roll_out", "RolloutAsked",
         "Build an app again and deploy it, or deploy an image that was built before", command="app-rebuild",
         description="An image must be one of the app's own that a rollout had before, and still be what it was then.",
         examples={"build again": _WHY, "deploy what was built": {"image": "cc3", "reason": "the new one is slow"}}),
    _act("roll_back_app", "v1/apps/{app}/rollback", "operate.apps.roll_back", "Asked",
         "Deploy the image that was live before", command="app-rollback",
         examples={"roll back": _WHY}),
    _act("cancel_rollout", "v1/rollouts/{rollout}/cancel", "operate.apps.cancel", "Asked",
         "Stop a rollout that is still being built", command="cancel",
         examples={"cancel": _WHY}),
    _act("sweep", "v1/sweep", "operate.sweeps.sweep", "Asked",
         "Find drift now, and repair it", command="sweep",
         description="A dry run reads everything and repairs nothing. A sweep that is not done in a minute is gone on "
         "with by the timer.",
         examples={"sweep": {"reason": "the registry was away"}}),
    _act("rebuild_ledger", "v1/ledger/rebuild", "operate.ledger.rebuild", "RebuildAsked",
         "Take down what stands, after the ledger was lost or an old one restored", command="rebuild-ledger",
         description="Stable tags that stand elsewhere than the ledger says are taken over where a promotion has left "
         "a unique tag of their digest; they are held, and examined again. Apps are taken over with the image that "
         "their container group shows, if a run of their own task has built it. With `hold_all` all stable tags are "
         "held: an old ledger lacks what was decided since. The answer names what cannot be known any more.",
         examples={"rebuild": {"reason": "the table was deleted"}}),
)
# fmt: on

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _TABLE}
"""All operations by their names, in the order in which the OpenAPI document has them."""
