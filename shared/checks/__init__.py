"""The kinds of checks, one module each. A further kind is one more module and its entry in `KINDS`."""

from functools import cache
from typing import Any

import msgspec

from shared.checks.approval import ApprovalCheckKind
from shared.checks.kind import CheckKind
from shared.checks.task import TaskCheckKind
from shared.domain.policy import Rule
from shared.ports import Services

KINDS: dict[str, type[CheckKind[Any]]] = {kind.rule.kind: kind for kind in (TaskCheckKind, ApprovalCheckKind)}
"""The kinds of checks by their key in gates.yaml, in the order of its schema."""


@cache
def check_type() -> type[msgspec.Struct]:
    """The type of a check in gates.yaml: a key for each kind, of which exactly one has a rule."""
    keys = [(name, kind.rule | None, None) for name, kind in KINDS.items()]
    described = {"__doc__": "One check: exactly one kind."}
    return msgspec.defstruct("Check", keys, bases=(Rule,), namespace=described, frozen=True, kw_only=True)


def check_kinds(services: Services) -> dict[str, CheckKind[Any]]:
    """The kinds of checks by their key, with the services that they use."""
    return {name: kind(services) for name, kind in KINDS.items()}
