"""Parses and validates gates.yaml, by the types of `shared/domain/policy.py`."""

from shared.rules.parse import InvalidGates, parse_gates

__all__ = ["InvalidGates", "parse_gates"]
