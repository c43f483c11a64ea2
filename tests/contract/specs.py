"""Azure's own descriptions (OpenAPI 2), and how an exchange fits them.

Three rules beside JSON Schema's: a null is a field that is not there, the values of an enumeration that may grow
(`modelAsString`) are compared without case, and a discriminator picks the definition that a body must fit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from jsonschema import Draft4Validator, ValidationError, validators
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from demo import scenario
from tests.contract.recorder import Exchange

CLONE = scenario.ROOT / ".tools" / "azure-rest-api-specs"

_KINDS = "x-kinds"
_ARM = "resource-manager/Microsoft."
_FILES = {
    r"management\.azure\.com": (
        f"containerregistry/{_ARM}ContainerRegistry/preview/2019-06-01-preview/containerregistry_build.json",
        f"containerregistry/{_ARM}ContainerRegistry/preview/2023-11-01-preview/containerregistry.json",
        f"containerregistry/{_ARM}ContainerRegistry/stable/2023-07-01/containerregistry.json",
        f"containerinstance/{_ARM}ContainerInstance/stable/2023-05-01/containerInstance.json",
        f"eventgrid/{_ARM}EventGrid/stable/2022-06-15/EventGrid.json",
    ),
    r".+\.vault\.azure\.net": (
        "keyvault/data-plane/Microsoft.KeyVault/stable/7.5/secrets.json",
        "keyvault/data-plane/Microsoft.KeyVault/stable/7.5/keys.json",
    ),
    r".+\.azurecr\.io": (
        "containerregistry/data-plane/Azure.ContainerRegistry/stable/2021-07-01/containerregistry.json",
    ),
}


@dataclass(frozen=True, slots=True)
class Description:
    """One operation as a file describes it. `place` is the operation's own URL in that file."""

    place: str
    operation: dict[str, Any]

    @property
    def name(self) -> str:
        """The operation's id."""
        return str(self.operation["operationId"])

    def request_schema(self) -> dict[str, Any] | None:
        """A schema of the request's body, None where it has none."""
        for index, parameter in enumerate(self.operation.get("parameters", ())):
            if parameter.get("in") == "body":
                return {"$ref": f"{self.place}/parameters/{index}/schema"}
        return None

    def answer_schema(self, status: int) -> dict[str, Any] | None:
        """A schema of the answer's body, None where it has none.

        Raises:
            LookupError: the operation does not answer with that status.
        """
        responses = self.operation["responses"]
        key = str(status) if str(status) in responses else "default" if status >= 400 else ""
        if not key:
            raise LookupError(f"{self.name} answers {', '.join(responses)}")
        return {"$ref": f"{self.place}/responses/{key}/schema"} if "schema" in responses.get(key, {}) else None


class Specifications:
    """The files below a folder `specification`, as https://github.com/Azure/azure-rest-api-specs has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry: Any = Registry(retrieve=_retrieve)  # type: ignore[call-arg]  # its attrs class is untyped

    def describe(self, exchange: Exchange) -> Description | None:
        """The first description of the operation that an exchange is one of, or None."""
        url = urlsplit(exchange.url)
        for hosts, files in _FILES.items():
            if re.fullmatch(hosts, url.hostname or ""):
                for file in files:
                    if found := self._find(self._folder / file, exchange.method, url.path):
                        return found
        return None

    def faults(self, exchange: Exchange, description: Description) -> Iterator[str]:
        """Where an exchange does not fit: the field and what is wrong with it."""
        schema = description.request_schema()
        if schema and exchange.status < 400:
            yield from self._check("request", schema, exchange.sent)
        try:
            schema = description.answer_schema(exchange.status)
        except LookupError as error:
            yield str(error)
            return
        if schema and exchange.answered is not None:
            yield from self._check("answer", schema, exchange.answered)

    def _check(self, which: str, schema: dict[str, Any], body: Any) -> Iterator[str]:
        checker = _Checker(schema, registry=self._registry)
        for error in checker.iter_errors(_without_nulls(body)):
            yield f"{which}{error.json_path[1:]}: {error.message[:200]}"

    def _find(self, file: Path, method: str, path: str) -> Description | None:
        for regex, place, operations in _paths(file):
            if method.lower() in operations and regex.fullmatch(path):
                return Description(f"{place}/{method.lower()}", operations[method.lower()])
        return None


def operations(file: Path) -> Iterator[tuple[str, str, Description]]:
    """Every operation of a file: its path, its method in capitals, and its description."""
    for path, methods in _document(file)["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method.upper(), Description(f"{_place(file, path)}/{method}", operation)


def specifications_folder() -> Path | None:
    """The folder `specification` of a clone: where AZURE_REST_API_SPECS says, or at one of its usual places."""
    named = os.environ.get("AZURE_REST_API_SPECS")
    places = (Path(named),) if named else (CLONE, scenario.ROOT.parent / "shared" / "specs")
    return next((place / "specification" for place in places if (place / "specification").is_dir()), None)


@lru_cache
def _document(file: Path) -> Any:
    document = json.loads(file.read_text())
    definitions = document.get("definitions", {})
    for name, definition in definitions.items():
        value = definition.get("x-ms-discriminator-value", name)
        for parent in definition.get("allOf", ()):
            base = definitions.get(parent.get("$ref", "").removeprefix("#/definitions/"), {})
            if "discriminator" in base:
                base.setdefault(_KINDS, {})[value] = f"#/definitions/{name}"
    return document


@lru_cache
def _paths(file: Path) -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    """The paths of a file, those first that fix more of a URL: `/secrets/{name}/versions` is no version of a secret."""
    found = []
    for path, operations in sorted(_document(file)["paths"].items(), key=lambda one: one[0].count("{")):
        pattern = re.escape(path.partition("?")[0]).replace(r"\{scope\}", ".+")
        pattern = re.sub(r"\\\{\w+(?:\\-\w+)*\\\}", "[^/]*", pattern)
        found.append((re.compile(pattern, re.IGNORECASE), _place(file, path), operations))
    return found


def _place(file: Path, path: str) -> str:
    """The URL of a path in a file."""
    pointer = path.replace("~", "~0").replace("/", "~1")
    return f"{file.as_uri()}#/paths/{quote(pointer, safe='~')}"


def _retrieve(uri: str) -> Resource[Any]:
    return DRAFT4.create_resource(_document(Path(unquote(urlsplit(uri).path))))


def _without_nulls(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: _without_nulls(value) for name, value in body.items() if value is not None}
    return [_without_nulls(item) for item in body] if isinstance(body, list) else body


def _check_enumeration(checker: Any, values: list[Any], found: Any, schema: dict[str, Any]) -> Iterator[Any]:
    grows = schema.get("x-ms-enum", {}).get("modelAsString", False)
    if found not in values and not (grows and str(found).lower() in {str(value).lower() for value in values}):
        yield ValidationError(f"{found!r} is not one of {values!r}")


def _check_kind(checker: Any, kinds: dict[str, str], found: Any, schema: dict[str, Any]) -> Iterator[Any]:
    kind = found.get(schema["discriminator"]) if isinstance(found, dict) else None
    if kind not in kinds:
        yield ValidationError(f"{kind!r} is not one of {list(kinds)}")
    elif id(found) not in _in_work:  # a definition refers to its base, which asks for the kind again
        _in_work.add(id(found))
        try:
            yield from checker.descend(found, {"$ref": kinds[kind]})
        finally:
            _in_work.discard(id(found))


_in_work: set[int] = set()
_Checker: Any = validators.extend(Draft4Validator, {"enum": _check_enumeration, _KINDS: _check_kind})
