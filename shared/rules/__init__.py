"""gates.yaml: how it is read and checked, and its JSON Schema. Its types are the rules of `shared/domain/policy.py`."""

from shared.rules.parse import InvalidGates, parse_gates

__all__ = ["InvalidGates", "parse_gates"]
