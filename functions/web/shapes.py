"""Answers that only the HTTP interface gives, as types; the others are in `shared/workflow/answers.py`."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from shared.workflow.answers import Answer
from shared.workflow.findings import Finding
from shared.workflow.operate import Effect


class Plan(Answer, frozen=True, kw_only=True):
    """What is done, or with `dryRun` would be. `see` is the path of the record to look at."""

    dry_run: bool
    effects: tuple[Effect, ...]
    see: str | UnsetType = UNSET


class Problem(Answer, frozen=True, kw_only=True):
    """Why not, as RFC 9457 has it: `title` is the same for all of a kind, `detail` is about this one.

    `field` is the place in a request that is not right; `cause` and `remedy` say what stands in the way, where that is
    known, and what to do about it.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    remedy: str | UnsetType = UNSET


class Readiness(Answer, frozen=True, kw_only=True):
    """Whether everything that the rules need can be used."""

    ready: bool
    findings: tuple[Finding, ...]


class Health(Answer, frozen=True, kw_only=True):
    """The app is up."""

    status: str = "up"
