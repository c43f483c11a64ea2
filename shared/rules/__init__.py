"""gates.yaml: its types and schema, how it is checked, and the policy it becomes."""

from shared.rules.errors import InvalidGates
from shared.rules.parse import parse_gates

__all__ = ["InvalidGates", "parse_gates"]
