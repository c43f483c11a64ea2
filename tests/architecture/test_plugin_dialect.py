"""A dialect is one row: a toy vendor with a host, a token service and a grant of its own."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import pytest

from shared.adapters.azure_calls import Identity
from shared.adapters.oci import OciTagReader, dialects
from shared.adapters.oci.dialects import Dialect, Place, Post, TokenAnswer
from shared.adapters.oci.transport import Request, Response, Transport
from shared.domain.errors import Misconfigured
from shared.domain.policy import RegistryRule
from shared.ports import Allowance
from tests.contract.registries.reading import Passwords, nobody
from tests.fakes import digest

ANYONE = RegistryRule(name="toys", server="toys.example")
MEMBER = RegistryRule(name="toys", server="toys.example", credentials="right")
GREEN = digest("Green")


def handshake(place: Place, request: Request, query: Mapping[str, str], identity: Identity, post: Post) -> TokenAnswer:
    """The grant of the toy vendor: whoever says hello gets a token."""
    return post(request, {**query, "say": "hello"}, "hello")


TOY = Dialect(
    serves=lambda registry: registry.login_server == "toys.example",
    api_host="api.toys.example",
    token_hosts=("login.toy-id.example.net",),
    shared_domains=("toybox.example",),
    actions="pull,play",
    grant=handshake,
    remedy=lambda registry: "ask the toy maker",
    account_header="toy-account",
)


class ToyRegistry:
    """Answers with a digest whoever has a token; `asked` is everything that it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.is_open = True

    def send(self, request: Request) -> Response:
        self.asked.append(request)
        if request.target.host == "login.toy-id.example.net":
            return Response(200, {}, b'{"token": "abc"}')
        if not request.headers.get("Authorization"):
            challenge = 'Bearer realm="https://login.toy-id.example.net/token",scope="repository:any:push"'
            return Response(401, {"www-authenticate": challenge})
        limits = {"ratelimit-limit": "9", "ratelimit-remaining": "8", "toy-account": "me"}
        return Response(200 if self.is_open else 403, {"docker-content-digest": GREEN, **limits})


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> ToyRegistry:
    registry = ToyRegistry()
    monkeypatch.setattr(dialects, "DIALECTS", (*dialects.DIALECTS, TOY))
    monkeypatch.setattr(Transport, "send", lambda _, request: registry.send(request))
    return registry


def test_a_registry_is_asked_at_the_host_and_with_the_grant_of_its_dialect(toys: ToyRegistry) -> None:
    reader = OciTagReader(Passwords(), nobody)
    assert reader.digest_of(ANYONE, "train", "1") == GREEN
    assert [request.target.host for request in toys.asked if request.method == "HEAD"] == ["api.toys.example"] * 2
    form = next(dict(parse_qsl((request.body or b"").decode())) for request in toys.asked if request.method == "POST")
    assert form == {"scope": "repository:train:pull,play", "say": "hello"}
    assert reader.allowance(ANYONE) == Allowance(limit=9, remaining=8, source="me")


def test_the_password_goes_to_the_token_service_that_the_dialect_names(toys: ToyRegistry) -> None:
    OciTagReader(Passwords(), nobody).digest_of(MEMBER, "train", "1")
    schemes = [request.headers.get("Authorization", "").partition(" ")[0] for request in toys.asked]
    assert schemes == ["", "Basic", "Bearer"]


def test_an_error_says_what_the_dialect_knows_to_do(toys: ToyRegistry) -> None:
    toys.is_open = False
    with pytest.raises(Misconfigured, match="To fix it: ask the toy maker"):
        OciTagReader(Passwords(), nobody).digest_of(ANYONE, "train", "1")


def test_customers_under_the_vendors_domain_are_strangers_to_each_other(toys: ToyRegistry) -> None:
    assert not dialects.may_see_credentials("evil.toybox.example", "contoso.toybox.example")
    assert dialects.may_see_credentials("contoso.toybox.example", "contoso.toybox.example")
