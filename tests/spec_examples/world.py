"""What the examples take for granted: the resources that they name, and what stands in for what nobody can choose."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import scenario
from sandbox.testing import Sandbox
from tests.spec_examples.client import Client
from tests.spec_examples.reading import Service

_SITE = "examples"
_GROUPS = "2024-11-01"
_GROUP = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/\"?]+", re.IGNORECASE)
_CHILD = re.compile(r"(?:/providers/(?P<provider>[^/\"?]+))?/(?P<kind>[A-Za-z]+)/(?P<name>[^/\"?]+)")


@dataclass(frozen=True, slots=True)
class Named:
    """A resource that an example names: its id, that of its parent, and its type in lower case."""

    id: str
    parent: str
    type: str


class World:
    """A sandbox with the resources that examples name; each is made when one first needs it, and made anew when an
    example has changed it."""

    def __init__(self, sandbox: Sandbox, client: Client) -> None:
        document = tomllib.loads(Path(__file__).with_name("world.toml").read_text())
        self.services = [Service(**service) for service in document["service"]]
        self._replacements: Mapping[str, str] = document["replacements"]
        self._left_out = [(re.compile(rule["titles"]), rule["why"]) for rule in document["left_out"]]
        self._recipes = {recipe["type"].lower(): recipe for recipe in document["recipe"]}
        self._sandbox, self._client, self._groups = sandbox, client, set[str]()
        site = sandbox.start_site(_SITE, scenario.ROOT / "sandbox" / "yardstick" / "site", {})
        self._webhook = next(function.url for function in site.functions if function.name == "events") or ""

    def why_left_out(self, title: str) -> str:
        """Why an example is not sent: what it is about is no service of the sandbox. "" if it is sent."""
        return next((why for titles, why in self._left_out if titles.search(title)), "")

    def digest(self, registry: str, repository: str, tag: str) -> str:
        """The digest of an image in a registry; "" if it is not there."""
        return self._sandbox.tag(registry, repository, tag) or ""

    def replaced(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of an example with what stands in."""
        text = json.dumps(values)
        for pattern, stand_in in self._replacements.items():
            text = re.sub(pattern, stand_in.replace("{webhook}", self._webhook), text)
        replaced: dict[str, Any] = json.loads(text) | (
            {"subscriptionId": scenario.SUBSCRIPTION} if "subscriptionId" in values else {}
        )
        return replaced

    def prepare(self, method: str, path: str, body: object) -> None:
        """Make what a request names, but for what it creates itself: that is deleted."""
        for named in self._named(json.dumps(body)):
            self._make(named)
        for named in self._named(path):
            if method == "PUT" and named.id == path:
                self.forget(path)
            else:
                self._make(named)

    def forget(self, path: str) -> None:
        """Delete the resource that has this path, so that the next example finds it as it was."""
        for named in self._named(path):
            if named.id == path:
                self._client.delete(named.id, self._recipes[named.type]["version"])

    def _make(self, named: Named) -> None:
        recipe = self._recipes[named.type]
        if self._client.get(named.id, recipe["version"]).status != 200:
            group = _GROUP.match(named.id)
            text = json.dumps(recipe["body"])
            name = named.id.rpartition("/")[2]
            replacements = {"webhook": self._webhook, "parent": named.parent, "group": group and group[0], "name": name}
            for key, value in replacements.items():
                text = text.replace(f"{{{key}}}", str(value))
            body = json.loads(text)
            self.prepare("", "", body)
            self._client.put(named.id, recipe["version"], body)

    def _named(self, text: str) -> Iterator[Named]:
        """The resources that a path or a body names and that there is a recipe for, parents first."""
        for group in _GROUP.finditer(text):
            self._make_group(group[0])
            parent, kind, position = group[0], "", group.end()
            while match := _CHILD.match(text, position):
                kind = f"{match['provider'] or kind}/{match['kind']}".lower()
                if kind not in self._recipes:
                    break
                yield Named(parent + match[0], parent, kind)
                parent, position = parent + match[0], match.end()

    def _make_group(self, group: str) -> None:
        if group.lower() not in self._groups:
            self._client.put(group, _GROUPS, {"location": scenario.LOCATION})
            self._groups.add(group.lower())
