"""The deployment targets, one file for each, with its rule, texts and defaults.

A further target is one more file, its entry in `TARGETS`, and an adapter that implements the port `DeploymentTarget`.
"""

from functools import cache

import msgspec

from shared.domain.policy import DeployRule, Rule
from shared.domain.targets.aci import AciRule

TARGETS: dict[str, type[DeployRule]] = {rule.kind: rule for rule in (AciRule,)}
"""The rules of all targets by their keys in gates.yaml."""


def deploy_type() -> type[msgspec.Struct]:
    """The type of `deploy` in gates.yaml: a key for each target, of which exactly one has a rule."""
    return _deploy_type(tuple(TARGETS.values()))


@cache
def _deploy_type(rules: tuple[type[DeployRule], ...]) -> type[msgspec.Struct]:
    keys = [(rule.kind, rule | None, None) for rule in rules]
    described = {"__doc__": "Where the app runs: exactly one target."}
    return msgspec.defstruct("Deploy", keys, bases=(Rule,), namespace=described, frozen=True, kw_only=True)
