"""The kinds of checks, one module each. A further kind is one more module and its entry in `KINDS`."""

from typing import Any

import msgspec

from shared.checks.approval import ApprovalCheckKind
from shared.checks.kind import CheckKind
from shared.checks.scan import ScanCheckKind
from shared.checks.signature import SignatureCheckKind
from shared.checks.task import TaskCheckKind
from shared.domain.policy import plug_in_type
from shared.ports import Services

KINDS: dict[str, type[CheckKind[Any]]] = {
    kind.rule.kind: kind for kind in (SignatureCheckKind, TaskCheckKind, ScanCheckKind, ApprovalCheckKind)
}
"""The kinds of checks by their key in gates.yaml, in the order of its schema: the cheap ones first."""


def check_type() -> type[msgspec.Struct]:
    """The type of a check in gates.yaml."""
    return plug_in_type("Check", "One check: exactly one kind.", tuple(kind.rule for kind in KINDS.values()))


def check_kinds(services: Services) -> dict[str, CheckKind[Any]]:
    """The kinds of checks by their key, with the services that they use."""
    return {name: kind(services) for name, kind in KINDS.items()}
