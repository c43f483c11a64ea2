"""Parses and validates gates.yaml, by the types of `shared/domain/policy.py`."""

from shared.rules.parse import InvalidGates, parse_condition, parse_exceptions, parse_gates

__all__ = ["InvalidGates", "parse_condition", "parse_exceptions", "parse_gates"]
