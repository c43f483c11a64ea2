"""Sends one request for each example, and judges what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote, urlencode, urlsplit

from tests.contract.specs import Specifications
from tests.spec_examples.client import ARM, Client
from tests.spec_examples.judging import Judged, judge
from tests.spec_examples.needs import Needs
from tests.spec_examples.reading import Example
from tests.spec_examples.world import World

_ORDER = ("PUT", "GET", "HEAD", "PATCH", "POST", "DELETE")
_HOSTS = ("vaultBaseUrl",)


class Player:
    """Sends the examples, each in the world that it takes for granted."""

    def __init__(self, world: World, client: Client, specifications: Specifications) -> None:
        self._world, self._client, self._specifications = world, client, specifications
        self._needs = Needs(world, client)

    def play(self, examples: Sequence[Example]) -> Iterator[Judged]:
        """Send each example's request: what creates first, what deletes last, and what is the same only once."""
        sent = set[str]()
        for one in sorted(examples, key=lambda example: _ORDER.index(example.method)):
            example = replace(one, values=self._world.replaced(one.values))
            request = json.dumps([example.method, request_url(example), *example.placed("body").values()])
            if request not in sent:
                sent.add(request)
                yield self._play(example)

    def _play(self, example: Example) -> Judged:
        values = self._needs.bring_about(example.description.name, dict(example.values))
        example = replace(example, values=values)
        url = request_url(example)
        body = next(iter(example.placed("body").values()), None)
        path = urlsplit(url).path
        self._world.prepare(example.method, path, body)
        exchange = self._client.send(example.method, url, body)
        if example.method in ("PUT", "PATCH"):
            self._world.forget(path)
        return judge(example.title, exchange, example.description, self._specifications)


def request_url(example: Example) -> str:
    """The URL of an example's request."""
    host = next((example.values[name].rstrip("/") for name in _HOSTS if name in example.values), ARM)
    path, _, fixed = example.path.partition("?")
    for name, value in example.placed("path").items():
        path = path.replace(f"{{{name}}}", quote(str(value).strip("/"), safe="/"))
    query = urlencode(example.placed("query"))
    return f"{host}{path}?{'&'.join(part for part in (fixed, query) if part)}".rstrip("?")
