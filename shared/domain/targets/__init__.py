"""The deployment targets, one file for each, with its rule, texts and defaults.

A further target is one more file, its entry in `TARGETS`, and an adapter that implements the port `DeploymentTarget`.
"""

import msgspec

from shared.domain.policy import DeployRule, plug_in_type
from shared.domain.targets.aci import AciRule

TARGETS: dict[str, type[DeployRule]] = {rule.kind: rule for rule in (AciRule,)}
"""The rules of all targets by their keys in gates.yaml."""


def deploy_type() -> type[msgspec.Struct]:
    """The type of `deploy` in gates.yaml."""
    return plug_in_type("Deploy", "Where the app runs: exactly one target.", tuple(TARGETS.values()))
