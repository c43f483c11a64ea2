"""Docker Hub's stand-in by its real names: tokens for anyone, what a pull costs, lists in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.registry import Registries
from sandbox.registry.pull_limit import PullLimit, PullLimits
from sandbox.registry.rights import ANONYMOUS_PULL, Principal
from sandbox.testing import two_platforms
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import running_registries

NODE = "https://registry-1.docker.io/v2/library/node"
ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Hub:
    """`library/node` on Docker Hub, and a client without an account or with one."""

    def __init__(self, live: LiveGateway, registries: Registries) -> None:
        self.live, self.registries = live, registries
        self.digest = live.run(registries.seed_hub("library/node", "15-alpine", two_platforms()))
        registries.mount_control(live.control)

    def ask(self, method: str, path: str, account: tuple[str, str] | None = None, **more: Any) -> requests.Response:
        query = {"service": "registry.docker.io", "scope": "repository:library/node:pull"}
        granted = requests.get("https://auth.docker.io/token", params=query, auth=account, timeout=10)
        headers = {"Authorization": f"Bearer {granted.json()['token']}", "Accept": ACCEPT}
        return requests.request(method, f"{NODE}/{path}", headers=headers, timeout=10, **more)

    def limit(self, **limits: int) -> None:
        status, answer = self.live.ask("PUT", "/dockerhub/limits", limits)
        assert status == 200, answer


@pytest.fixture
def hub(live: LiveGateway) -> Iterator[Hub]:
    with running_registries(live) as registries:
        yield Hub(live, registries)


def left(answer: requests.Response) -> str:
    return answer.headers["RateLimit-Remaining"]


def test_a_look_without_an_account_tells_the_digest_and_costs_nothing(hub: Hub) -> None:
    for _ in range(3):
        answer = hub.ask("HEAD", "manifests/15-alpine")
        assert (answer.status_code, answer.headers["Docker-Content-Digest"]) == (200, hub.digest)
        assert answer.headers["RateLimit-Limit"] == "100;w=21600"
        assert left(answer) == "100;w=21600"
        assert answer.headers["Docker-RateLimit-Source"] == "127.0.0.1"


def test_a_pull_is_a_get_of_a_manifest_and_an_account_has_its_own_count(hub: Hub) -> None:
    assert left(hub.ask("GET", "manifests/15-alpine")) == "99;w=21600"
    assert left(hub.ask("GET", f"manifests/{hub.digest}")) == "98;w=21600"
    assert left(hub.ask("HEAD", "manifests/15-alpine")) == "98;w=21600"
    member = hub.ask("GET", "manifests/15-alpine", account=("someone", "a-token"))
    assert (member.headers["RateLimit-Limit"], left(member)) == ("200;w=21600", "199;w=21600")
    assert member.headers["Docker-RateLimit-Source"] != "127.0.0.1"


def test_where_nothing_is_left_a_pull_is_refused_and_a_look_is_not(hub: Hub) -> None:
    hub.limit(anonymous=1)
    assert hub.ask("GET", "manifests/15-alpine").status_code == 200
    refused = hub.ask("GET", "manifests/15-alpine")
    assert (refused.status_code, left(refused)) == (429, "0;w=21600")
    error = refused.json()["errors"][0]
    assert error["code"] == "TOOMANYREQUESTS"
    assert "You have reached your unauthenticated pull rate limit" in error["message"]
    looked = hub.ask("HEAD", "manifests/15-alpine")
    assert (looked.status_code, left(looked)) == (200, "0;w=21600")
    assert hub.ask("GET", "manifests/15-alpine", account=("someone", "a-token")).status_code == 200


def test_a_limit_that_is_none_is_refused_by_the_name_of_its_field(hub: Hub) -> None:
    for body in ({"anonymous": -1}, {"window_seconds": 0}, {"members": 1}):
        status, answer = hub.live.ask("PUT", "/dockerhub/limits", body)
        assert status == 400
        assert next(iter(body)) in answer["error"]["message"]
    limits = {"anonymous": 100, "account": 200, "window_seconds": 21600}
    assert hub.live.ask("GET", "/dockerhub/limits") == (200, limits)


def test_tags_come_in_pages_that_lead_to_the_next(hub: Hub) -> None:
    for tag in ("14-alpine", "16-alpine"):
        hub.live.run(hub.registries.seed_hub("library/node", tag, two_platforms()))
    first = hub.ask("GET", "tags/list", params={"n": 2})
    assert first.json() == {"name": "library/node", "tags": ["14-alpine", "15-alpine"]}
    assert first.links["next"]["url"].startswith("/v2/library/node/tags/list?")
    following = first.links["next"]["url"].removeprefix("/v2/library/node/")
    second = hub.ask("GET", following)
    assert (second.json()["tags"], second.links) == (["16-alpine"], {})
    assert "RateLimit-Remaining" not in second.headers


class _Asked:
    """As much of a request as the limit looks at."""

    method, remote = "GET", "203.0.113.7"

    @property
    def request(self) -> _Asked:
        return self


def test_a_pull_is_forgotten_at_the_end_of_the_window() -> None:
    now = [0.0]
    limit = PullLimit(lambda: now[0])
    limit.set(PullLimits(anonymous=2, window_seconds=100))
    asked: Any = _Asked()
    nobody = Principal("", ANONYMOUS_PULL, "anyone")

    def remaining() -> str:
        return limit.ask(asked, nobody)["ratelimit-remaining"]

    assert remaining() == "1;w=100"
    now[0] = 60
    assert remaining() == "0;w=100"
    now[0] = 100
    assert remaining() == "0;w=100"
    now[0] = 160
    assert remaining() == "0;w=100"
    now[0] = 260
    assert remaining() == "1;w=100"
