"""The JSON Schema of gates.yaml, made from its types: `python -m shared.rules.schema > docs/gates.schema.json`."""

import sys
from typing import Any

import msgspec

from shared.rules.document import GatesDocument


def gates_schema() -> dict[str, Any]:
    """The schema, for editors and for other tools."""
    schema = msgspec.json.schema(GatesDocument)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Basegate gates.yaml", **schema}


def schema_text() -> str:
    """The schema as the published file has it."""
    return msgspec.json.format(msgspec.json.encode(gates_schema()), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
