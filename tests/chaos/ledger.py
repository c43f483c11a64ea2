"""The gate's records, read over its HTTP interface."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from demo import scenario
from demo.client import StoryError
from demo.environment import Environment
from sandbox.testing import SandboxError

AWAY = (OSError, SandboxError, StoryError, KeyError, ValueError)
"""The errors of reading while a killed process is not running again yet."""

_SECONDS = 20.0
_PAGE = 100
_UNDER_WAY = frozenset(
    (
        "examining",
        "awaiting approval",
        "stalled",
        "waiting",
        "promoting",
        "building",
        "deploying",
        "verifying",
        "restoring",
    )
)


class Ledger:
    """Candidates with their promotions, rollouts and `readyz` of the app in an environment. All raise `AWAY`."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def candidates(self) -> list[dict[str, Any]]:
        """All attempts at the gate, with their histories."""
        self._environment.enter()
        listed = self._pages("/v1/gates/node/candidates")
        return [self._read(f"/v1/candidates/{quote(item['id'])}") for item in listed]

    def unsettled(self) -> list[str]:
        """What is in progress or stalled, and what `readyz` reports, listeners too; empty once all has settled."""
        self._environment.enter()
        records = self._pages("/v1/gates/node/candidates") + self._pages(f"/v1/apps/{scenario.HELLO_WORLD}/rollouts")
        waits = [_line(record) for record in records if record["state"] in _UNDER_WAY]
        return waits or self._promotions() or self._wrong()

    def _promotions(self) -> list[str]:
        promotions = [one for candidate in self.candidates() for one in candidate["promotions"]]
        return [_line(one) for one in promotions if one["state"] in _UNDER_WAY]

    def _wrong(self) -> list[str]:
        found = self._read("/readyz")["results"]
        return [
            f"readyz: {one['dependency']}: {one['detail']}" for one in found if one["state"] not in ("ok", "skipped")
        ]

    def _pages(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self._read(f"{path}?limit={_PAGE}" + (f"&token={quote(token)}" if token else ""))
            items += page["items"]
            token = page["next"]
            if not token:
                return items

    def _read(self, path: str) -> Any:
        site = self._environment.site
        url = f"http://127.0.0.1:{site.port}/api{path}"
        request = urllib.request.Request(url, headers={"x-functions-key": site.host_key})
        try:
            with self._open(request, timeout=_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                body = error.read()
            if error.code == 503 and path == "/readyz":
                return json.loads(body)
            raise StoryError(f"{path}: {error.code} {body.decode(errors='replace')[:300]}") from error


def _line(record: dict[str, Any]) -> str:
    return f"{record['id']} is {record['state']}: {record.get('reason', '')} {record.get('remedy') or ''}".strip()
