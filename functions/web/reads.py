"""The calls that read."""

from __future__ import annotations

from functions.web import shapes
from functions.web.operations import Body, Read
from shared.domain.candidate import CandidateState
from shared.domain.rollout import RolloutState
from shared.workflow import answers, drift

_PAGES = (
    "One query a page, however long the list is. A page with a filter may be short, even empty, while `next` is set: "
    "go on until `next` is empty."
)

READS: tuple[Read, ...] = (
    Read(path="/v1/status", summary="All gates and apps at a glance", answer=answers.Status),
    Read(path="/v1/gates", summary="All gates at a glance", answer=answers.Gates),
    Read(
        path="/v1/gates/{gate}",
        summary="One gate: its rule, its stable tags with their holds, its vetoes",
        answer=answers.GateStory,
        more="Of the values that its tasks get the names are told, and not the values.",
    ),
    Read(
        path="/v1/gates/{gate}/candidates",
        summary="The candidates of a gate, by the time they were admitted, the newest first",
        answer=answers.CandidatePage,
        more=_PAGES,
        paged=True,
        states=tuple(CandidateState),
    ),
    Read(
        path="/v1/gates/{gate}/promotions",
        summary="Every move of a gate's stable tags, rollbacks among them, the newest first",
        answer=answers.PromotionPage,
        more=_PAGES,
        paged=True,
    ),
    Read(path="/v1/apps", summary="All apps at a glance", answer=answers.Apps),
    Read(
        path="/v1/apps/{app}",
        summary="One app: its rule, what is live, what it stands on",
        answer=answers.AppStory,
        more="Of the values that its build and its containers get the names are told, and not the values.",
    ),
    Read(
        path="/v1/apps/{app}/rollouts",
        summary="The rollouts of an app, by the time they began, the newest first",
        answer=answers.RolloutPage,
        more=_PAGES,
        paged=True,
        states=tuple(RolloutState),
    ),
    Read(
        path="/v1/drift",
        summary="Upstream, ledger, stable tag, app and container side by side, as the last sweep saw them",
        answer=drift.Drift,
    ),
    Read(path="/v1/holds", summary="All holds that stand, the newest first", answer=answers.Holds),
    Read(
        path="/v1/vetoes",
        summary="The vetoes that stand, the newest first",
        answer=answers.Vetoes,
        flags={"all": "Those that were lifted, too."},
    ),
    Read(
        path="/v1/candidates/{candidate}",
        summary="The whole story of a candidate, in order, with its evidence",
        answer=answers.CandidateStory,
        etag=True,
    ),
    Read(
        path="/v1/candidates/{candidate}/log",
        summary="The log of a candidate's check: so far while it runs, then as it was kept",
        answer=Body.LOG,
    ),
    Read(
        path="/v1/rollouts/{rollout}",
        summary="The whole story of a rollout",
        answer=answers.RolloutStory,
        etag=True,
    ),
    Read(
        path="/v1/rollouts/{rollout}/log",
        summary="The log of a rollout's build: so far while it runs, then as it was kept",
        answer=Body.LOG,
    ),
    Read(path="/v1/openapi.json", summary="This document", answer=Body.DOCUMENT),
    Read(
        path="/readyz",
        summary="Whether everything that the rules need can be used, each with what to do if not",
        answer=shapes.Readiness,
        also={503: "something cannot be used"},
    ),
    Read(path="/healthz", summary="Whether the app is up", answer=shapes.Health, open=True),
)
