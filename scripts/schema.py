"""The JSON Schema of gates.yaml, generated from its rules: `python -m scripts.schema > docs/gates.schema.json`."""

import sys
from typing import Any

import msgspec

from shared.checks import check_type
from shared.domain.policy import CheckRule, DeployRule, NamedRule, Policy
from shared.domain.targets import deploy_type


def gates_schema() -> dict[str, Any]:
    """The schema, for editors and other tools. Names are keys in gates.yaml, not properties."""
    plug_ins: dict[type, type] = {CheckRule: check_type(), DeployRule: deploy_type()}
    parts, kinds = msgspec.json.schema_components(plug_ins.values(), ref_template="#/$defs/{name}")
    written = dict(zip(plug_ins, parts, strict=True))
    schema = msgspec.json.schema(Policy, schema_hook=lambda kind: written[kind])
    schema["$defs"] |= kinds
    for rule in schema["$defs"].values():
        rule["description"], *_ = rule["description"].split("\n\n")
    for named in NamedRule.__subclasses__():
        del schema["$defs"][named.__name__]["properties"]["name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Basegate gates.yaml", **schema}


def schema_text() -> str:
    """The text of the published schema file."""
    return msgspec.json.format(msgspec.json.encode(gates_schema()), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
