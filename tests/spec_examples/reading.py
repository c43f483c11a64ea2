"""Examples, as the files of Azure's REST specifications have them (`x-ms-examples`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.specs import Description, operations


@dataclass(frozen=True, slots=True)
class Service:
    """The operations of one file whose examples are sent: those whose ids begin with one of `groups`, all if empty."""

    file: str
    groups: Sequence[str] = ()

    def has(self, operation: str) -> bool:
        """Whether an operation is one of them."""
        return not self.groups or operation.partition("_")[0] in self.groups


@dataclass(frozen=True, slots=True)
class Example:
    """One example: an operation, and a value for each of its parameters."""

    title: str
    method: str
    path: str
    description: Description
    parameters: Sequence[Mapping[str, Any]]
    values: Mapping[str, Any]

    def placed(self, place: str) -> Mapping[str, Any]:
        """The values of the parameters in one place (`path`, `query`, `header`, `body`) by their names."""
        return {
            parameter["name"]: self.values[parameter["name"]]
            for parameter in self.parameters
            if parameter["in"] == place and parameter["name"] in self.values
        }


def read_examples(folder: Path, services: Sequence[Service]) -> Iterator[Example]:
    """The examples of the services, in the order of the files. `folder` is the `specification` of a clone."""
    for service in services:
        file = folder / service.file
        for path, method, description in operations(file):
            if service.has(description.name):
                parameters = [_resolved(file, parameter) for parameter in description.operation.get("parameters", ())]
                for title, reference in description.operation.get("x-ms-examples", {}).items():
                    values = json.loads((file.parent / reference["$ref"]).read_text())["parameters"]
                    name = f"{description.name} ({title})"
                    yield Example(name, method, path, description, parameters, values)


def _resolved(file: Path, parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    """A parameter, or what it refers to."""
    if "$ref" not in parameter:
        return parameter
    name, _, pointer = parameter["$ref"].partition("#/")
    found: Any = json.loads((file.parent / name if name else file).read_text())
    for key in pointer.split("/"):
        found = found[key]
    resolved: Mapping[str, Any] = found
    return resolved
