"""The HTTP interface as data: one table of its operations.

The functions of the app, the OpenAPI document, the buttons of the board and the commands of the command line are made
from it. Entries name code as `module:attribute`, which is imported on first use: this module imports nothing of the
layers above it.
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
    """An operation that reads, or one that acts, with a body.

    `name` is the name of its function in Azure, `path` is below `/api/`, `description` adds to the `summary`. `role` is
    required of the caller; None: everybody may call it, without a key. `command` is its command in the command line, ""
    if there is none; two operations may share one, and the format of the id selects one of them.

    `handler` is the function to call: a method of the app (`shared.bootstrap.Basegate`), else `module:attribute`. Its
    positional arguments are the values in the path. Its keyword arguments are the fields of the body, with `who` in
    place of the reason; of a read, the requested page and the flags. `answer` is the type of its JSON; `RunLog` is a
    log as text, `dict` JSON of any shape. `body` is the type of the body, "" for an operation that reads, and
    `examples` has examples of it, by their titles.

    A `paged` one returns a page of a list, which can be filtered by time, and by its `states`. `flags` has the boolean
    parameters of a read, with their descriptions, `formats` the operations that return the same in another format, as
    JSON, by the option of its command that selects them. The response has an ETag for `If-Match` if `etag` is set: the
    handler returns it with the answer. `also` has further statuses whose response has the same type.
    """

    name: str
    method: str
    path: str
    role: Role | None
    summary: str
    description: str = ""
    command: str = ""
    handler: str
    answer: str
    body: str = ""
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    paged: bool = False
    states: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)
    etag: bool = False
    also: Mapping[int, str] = field(default_factory=dict)

    @property
    def in_path(self) -> Sequence[str]:
        """The names of the values in its path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def in_query(self) -> Sequence[str]:
        """The names of the query parameters of a read."""
        return (*(PAGE if self.paged else ()), *(("state",) if self.states else ()), *self.flags)

    def at(self, *values: str) -> str:
        """Its path with these values."""
        parts = dict(zip(self.in_path, (quote(value, safe=":") for value in values), strict=True))
        return self.path.format_map(parts)


def resolve(reference: str) -> Any:
    """The object that `module:attribute` names, imported on first use."""
    module, _, attribute = reference.partition(":")
    return attrgetter(attribute)(import_module(module))


PAGE = ("limit", "token", "since", "until")
"""The query parameters of every list by time."""

_NAME = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9-]+$"}
IN_PATH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gate": ("The gate's name.", _NAME),
    "app": ("The app's name.", _NAME),
    "digest": ("A digest.", {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
    "candidate": (
        "`<gate>.<digest>[-<attempt>]`: 12 digits of the digest are enough; the default is the last attempt.",
        {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[0-9a-f]{12,64}(-[0-9]{1,3})?$"},
    ),
    "exception": ("The id of an exception.", {"type": "string", "pattern": "^[0-9a-f]{12}$"}),
    "rollout": ("`<app>.<name>`.", {"type": "string", "pattern": "^[a-z0-9-]{1,63}\\.[A-Za-z0-9._-]{1,200}$"}),
}
"""The parameters in paths: their descriptions and schemas."""

_WHY = {"reason": "it is three in the morning"}
_TAG = {"tag": "15-alpine", **_WHY}
_DIGEST = "sha256:0475d149c683b8b9a3a7a0f8a9d4c3b2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6"
_BAN = {"digest": _DIGEST, **_WHY}


def _read(name: str, path: str, handler: str, answer: str, summary: str, **more: Any) -> Operation:
    answer = answer if ":" in answer else f"shared.queries.models:{answer}"
    common = {"role": Role.READER, "method": "GET"} | more
    return Operation(name=name, path=path, handler=handler, answer=answer, summary=summary, **common)


def _act(name: str, path: str, handler: str, body: str, summary: str, **more: Any) -> Operation:
    common = {"role": Role.OPERATOR, "method": "POST", "answer": "functions.web.responses:PlanResponse"} | more
    body = f"{__name__}.bodies:{body}"
    return Operation(name=name, path=path, handler=handler, body=body, summary=summary, **common)


# fmt: off
OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in (
    _read("status", "v1/status", "queries.status", "Status",
          "An overview of all gates and apps", command="status"),
    _read("gates", "v1/gates", "queries.gates", "Gates",
          "An overview of all gates"),
    _read("gate", "v1/gates/{gate}", "queries.gate", "GateDetail",
          "One gate: its rule, its stable tags with their holds, its vetoes", command="gate",
          description="Of the values for its tasks, only the names are returned."),
    _read("candidates", "v1/gates/{gate}/candidates", "queries.candidates", "CandidatePage",
          "The candidates of a gate, by the time of their creation, the newest first", command="candidates",
          paged=True, states="shared.domain.candidate:CandidateState"),
    _read("promotions", "v1/gates/{gate}/promotions", "queries.promotions", "MovePage",
          "All moves of a gate's stable tags, including rollbacks, the newest first", command="promotions",
          paged=True),
    _read("apps", "v1/apps", "queries.apps", "Apps",
          "An overview of all apps"),
    _read("app", "v1/apps/{app}", "queries.app", "AppDetail",
          "One app: its rule, its live image, and the base of that image",
          description="Of the values for its build and its containers, only the names are returned."),
    _read("rollouts", "v1/apps/{app}/rollouts", "queries.rollouts", "RolloutPage",
          "The rollouts of an app, by the time of their creation, the newest first", command="rollouts",
          paged=True, states="shared.domain.rollout:RolloutState"),
    _read("drift", "v1/drift", "drift.drift", "shared.queries.drift:Drift",
          "Upstream, ledger, stable tag, app and container side by side, as the last sweep read them", command="drift"),
    _read("holds", "v1/holds", "queries.holds", "Holds",
          "All active holds, the newest first", command="holds"),
    _read("vetoes", "v1/vetoes", "queries.vetoes", "Vetoes",
          "The active vetoes, the newest first", command="vetoes",
          flags={"all": "Include vetoes that were lifted."}),
    _read("exceptions", "v1/exceptions", "queries.exceptions", "Exceptions",
          "The exceptions that operators asked for, and whether they count", command="exceptions",
          description="Those of the rules stand in gates.yaml.",
          flags={"all": "Include those that have ended."}),
    _read("candidate", "v1/candidates/{candidate}", "queries.candidate", "CandidateDetail",
          "A candidate: its checks with evidence, its history, and the promotions of its digest", command="why",
          etag=True),
    _read("candidate_log", "v1/candidates/{candidate}/log", "logs.of_candidate", "shared.queries.records:RunLog",
          "The log of a candidate's check: stored, or so far if the check is running", command="log"),
    _read("findings", "v1/candidates/{candidate}/findings", "findings.of_candidate", "shared.queries.findings:Findings",
          "What the scan of a candidate found, judged under the rules and exceptions of today", command="findings",
          description="Those that fail come first, then those that the promoted image does not have, then the most "
          "severe; at most 1000.", formats={"sarif": "findings_sarif"}),
    _read("findings_sarif", "v1/candidates/{candidate}/findings.sarif", "findings.sarif", "builtins:dict",
          "The findings of a candidate as SARIF 2.1.0",
          description="Findings that an exception or a VEX statement covers are suppressed."),
    _read("rollout", "v1/rollouts/{rollout}", "queries.rollout", "RolloutDetail",
          "A rollout: its build, its deployment and its history", command="why", etag=True),
    _read("rollout_log", "v1/rollouts/{rollout}/log", "logs.of_rollout", "shared.queries.records:RunLog",
          "The log of a rollout's build: stored, or so far if the build is running", command="log"),
    _read("openapi", "v1/openapi.json", "functions.web.openapi:document", "builtins:dict",
          "This document"),
    _read("readyz", "readyz", "health.readiness", "shared.health:Readiness",
          "Whether each dependency of the rules can be used, and what to do if not",
          also={503: "a dependency cannot be used"}),
    _read("healthz", "healthz", "functions.web.responses:Health", "functions.web.responses:Health",
          "Whether the app is running", role=None),
    _act("examine", "v1/gates/{gate}/candidates", "operate.candidates.examine", "TagRequest",
         "Examine the current digest of a source tag", command="examine",
         examples={"examine": _TAG}),
    _act("rerun", "v1/candidates/{candidate}/rerun", "operate.candidates.rerun", "ReasonRequest",
         "Examine a digest again, as a new attempt", command="rerun",
         examples={"rerun": _WHY}),
    _act("cancel_candidate", "v1/candidates/{candidate}/cancel", "operate.candidates.cancel", "ReasonRequest",
         "Cancel a candidate and its running check", command="cancel",
         description="If it has passed, its promotions are canceled. Refused once a stable tag is being moved to it: "
         "roll back instead.",
         examples={"cancel": _WHY}),
    _act("approve", "v1/candidates/{candidate}/approve", "operate.candidates.approve", "ReasonRequest",
         "Approve a candidate that awaits approval", command="approve", role=Role.APPROVER,
         examples={"approve": {"reason": "read the change notes"}}),
    _act("reject", "v1/candidates/{candidate}/reject", "operate.candidates.reject", "ReasonRequest",
         "Reject a candidate that awaits approval", command="reject", role=Role.APPROVER,
         examples={"reject": {"reason": "the change notes mention a new libc"}}),
    _act("roll_back", "v1/gates/{gate}/rollback", "operate.gates.roll_back", "RollbackRequest",
         "Move a stable tag back to a digest that passed, and hold it there", command="rollback",
         examples={"to a unique tag": _TAG | {"to": "15-alpine-cb2"},
                   "until a newer digest passes": _TAG | {"to": _DIGEST, "until": "newer"}}),
    _act("hold", "v1/gates/{gate}/hold", "operate.gates.hold", "HoldRequest",
         "Keep a stable tag at its digest", command="hold",
         description="Candidates are still examined; the promotions of those that pass wait until the hold is lifted. "
         "`inFlight` lists the move, the promotions and the rollouts in progress.",
         examples={"hold": _TAG | {"until": "lifted"}}),
    _act("lift_hold", "v1/gates/{gate}/hold", "operate.gates.lift", "TagRequest",
         "Lift a hold", command="lift", method="DELETE",
         description="The newest digest that passed meanwhile is promoted, or the current digest of the source tag.",
         examples={"lift": _TAG}),
    _act("veto", "v1/gates/{gate}/vetoes", "operate.vetoes.veto", "VetoRequest",
         "Ban a digest, optionally with a rollback from it", command="veto",
         description="It applies to every gate that promotes into the same repository. A stable tag that points to the "
         "digest stays there: a warning says so, with a digest to roll back to. With `rollback` or `to` it is rolled "
         "back, and held as after any rollback. `inFlight` lists the moves, promotions and rollouts in progress.",
         examples={"ban": _BAN, "ban and roll back": _BAN | {"rollback": True},
                   "ban and roll back to": _BAN | {"to": "15-alpine-cb2"}}),
    _act("lift_veto", "v1/gates/{gate}/vetoes/{digest}", "operate.vetoes.lift", "ReasonRequest",
         "Lift a veto; source tags with that digest are promoted", command="unveto", method="DELETE",
         examples={"lift": {"reason": "it was the wrong digest"}}),
    _act("ask_exception", "v1/gates/{gate}/exceptions", "operate.exceptions.ask", "ExceptionRequest",
         "Ask for an exception: a vulnerability that does not fail scans of a gate until a time", command="except",
         description="It counts once an approver has granted it. The reason is its justification.",
         examples={"except": {"vulnerability": "CVE-2026-1234", "package": "openssl", "until": "2026-12-31",
                              "reason": "TLS ends before it, nothing in the image uses it"}}),
    _act("grant_exception", "v1/gates/{gate}/exceptions/{exception}/grant", "operate.exceptions.grant",
         "ReasonRequest", "Grant an exception; images that only it kept from passing are promoted", command="grant",
         role=Role.APPROVER, description="Their stored reports are judged again; nothing is run.",
         examples={"grant": {"reason": "agreed with the team of the app"}}),
    _act("end_exception", "v1/gates/{gate}/exceptions/{exception}", "operate.exceptions.end", "ReasonRequest",
         "End an exception, or refuse the request for one", command="end-exception", method="DELETE",
         description="What was promoted stays promoted.",
         examples={"end": {"reason": "the fixed package is in"}}),
    _act("roll_out", "v1/apps/{app}/rollouts", "operate.apps.roll_out", "RolloutRequest",
         "Rebuild an app and deploy it, or deploy an earlier image", command="app-rebuild",
         description="The image must be one of an earlier rollout of the app, and its tag must still point to it.",
         examples={"rebuild": _WHY, "deploy an earlier image": {"image": "cc3", "reason": "the new one is slow"}}),
    _act("roll_back_app", "v1/apps/{app}/rollback", "operate.apps.roll_back", "ReasonRequest",
         "Deploy the previous live image", command="app-rollback",
         examples={"roll back": _WHY}),
    _act("cancel_rollout", "v1/rollouts/{rollout}/cancel", "operate.apps.cancel", "ReasonRequest",
         "Cancel a rollout that is building, or waiting for its turn to be deployed", command="cancel",
         examples={"cancel": _WHY}),
    _act("sweep", "v1/sweep", "operate.sweeps.sweep", "ReasonRequest",
         "Find and repair drift now", command="sweep",
         description="A dry run reads everything and repairs nothing. The timer continues a sweep that takes longer "
         "than a minute.",
         examples={"sweep": {"reason": "the registry was unavailable"}}),
    _act("rebuild_ledger", "v1/ledger/rebuild", "operate.ledger.rebuild", "RebuildRequest",
         "Rebuild the ledger after it was lost, or restored from a backup", command="rebuild-ledger",
         description="It is read from registries and container groups. A stable tag that differs is recorded if a "
         "promotion left a unique tag of its digest; it is held, and examined again. An app is recorded with the "
         "image of its container group, if a run of the app's own task built it. With `hold_all` all stable tags are "
         "held: a restored ledger lacks the last decisions. The effects list what is lost.",
         examples={"rebuild": {"reason": "the table was deleted"}}),
)}
# fmt: on
"""All operations by their names, in the order of the OpenAPI document."""
