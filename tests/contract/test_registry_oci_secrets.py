"""Who sees the secrets: passwords, tokens and the app's identity go to whom they are for, and into no error."""

from __future__ import annotations

import base64
import logging
from typing import Any
from urllib.parse import parse_qs

import pytest

from shared.adapters.oci import OciTagReader
from shared.domain.errors import BasegateError, Malformed, Misconfigured
from shared.domain.policy import RegistryRule
from tests.contract.registries.double import Asked, Reply, error_reply, json_reply
from tests.contract.registries.doubles import ANYONE, MEMBER, NAME, SMALL, Doubles
from tests.contract.registries.hostile import challenge, redirect
from tests.contract.registries.reading import PASSWORD, USER, Passwords


def error_of(reader: OciTagReader, rule: RegistryRule = ANYONE) -> BasegateError:
    """What reading a digest ends with; it names the image, and no password."""
    with pytest.raises(BasegateError) as caught:
        reader.digest_of(rule, "node", "15")
    assert "/node" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


# Passwords.


def token(asked: Asked) -> Reply:
    """A token for whoever asks."""
    return json_reply({"token": "abc"})


@pytest.mark.parametrize("host", ["auth.evil.net", "registry.example.com.evil.net", "evilexample.com", "example.org"])
def test_the_password_is_not_sent_to_strangers(doubles: Doubles, host: str) -> None:
    doubles.play(token, host)
    error = error_of(doubles.play(challenge(f"https://{host}/token")), MEMBER)
    assert isinstance(error, Misconfigured)
    assert f"the token service {host} may not belong to {NAME}" in str(error)
    assert len(doubles.asked) == 1


def test_a_stranger_may_give_tokens_to_anyone(doubles: Doubles) -> None:
    doubles.play(token, "auth.elsewhere.net")
    assert doubles.play(challenge("https://auth.elsewhere.net/token")).digest_of(ANYONE, "node", "15")


def test_the_password_is_sent_to_a_token_service_of_the_same_domain(doubles: Doubles) -> None:
    doubles.play(token, "auth.example.com")
    assert doubles.play(challenge("https://auth.example.com/token?a=b")).digest_of(MEMBER, "node", "15")
    sent = next(asked for asked in doubles.asked if asked.path == "/token")
    assert sent.query == {"a": "b", "service": "tests", "scope": "repository:node:pull"}
    assert sent.authorization.startswith("Basic ")


def test_a_token_service_is_not_followed_elsewhere(doubles: Doubles) -> None:
    doubles.play(redirect("https://auth.evil.net/token"), "auth.example.com")
    error = error_of(doubles.play(challenge("https://auth.example.com/token")), MEMBER)
    assert "unexpected status 307" in str(error)
    assert len(doubles.asked) == 2


def test_a_registry_may_ask_for_the_password_itself(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.authorization.startswith("Basic "):
            return Reply(200, {"Docker-Content-Digest": "sha256:" + "1" * 64})
        return error_reply(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="here"')

    reader = doubles.play(answer)
    assert reader.digest_of(MEMBER, "node", "15") == "sha256:" + "1" * 64
    assert "it requires a user and a password: name credentials on its rule" in str(error_of(reader, ANYONE))


def test_what_repeats_a_secret_is_not_repeated(doubles: Doubles) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path == "/token":
            return json_reply({"token": "tok-4711"})
        return challenge(f"https://{NAME}/token")(asked) if not asked.authorization else denied(asked)

    def denied(asked: Asked) -> Reply:
        return Reply(200) if asked.method == "HEAD" else error_reply(403, "DENIED", f"you sent {asked.authorization}")

    def nosy(asked: Asked) -> Reply:
        return error_reply(401, "UNAUTHORIZED", f"{PASSWORD} is wrong") if asked.path == "/token" else answer(asked)

    assert "tok-4711" not in str(error_of(doubles.play(answer)))
    error_of(doubles.play(nosy), MEMBER)


def test_no_secret_is_in_any_log(doubles: Doubles, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    issued = "tok-4711"
    doubles.play(lambda _: json_reply({"token": issued}), "auth.example.com")
    assert doubles.play(challenge("https://auth.example.com/token")).digest_of(MEMBER, "node", "15")
    assert [asked.authorization for asked in doubles.asked if asked.authorization]
    for secret in (PASSWORD, issued, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"token": None},
        {"token": ""},
        {"token": "a b"},
        {"token": "a\r\nX: b"},
        {"token": "x" * 40_000},
        {"token": [1]},
        [],
    ],
)
def test_what_is_no_token_is_told_and_not_shown(doubles: Doubles, document: object) -> None:
    doubles.play(lambda _: json_reply(document), "auth.example.com")
    error = error_of(doubles.play(challenge("https://auth.example.com/token")))
    assert isinstance(error, Malformed)
    assert "xxxx" not in str(error)


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ("repository:node:pull", "repository:node:pull"),
        ("aws", "aws"),
        ("repository:node:pull,push,delete", "repository:node:pull"),
        ("registry:catalog:*", "repository:node:pull"),
        ("repository:node:pull repository:other:pull", "repository:node:pull"),
    ],
)
def test_no_more_than_reading_is_asked_for(doubles: Doubles, scope: str, asked: str) -> None:
    doubles.play(token, "auth.example.com")
    doubles.play(challenge("https://auth.example.com/token", f',scope="{scope}"')).digest_of(ANYONE, "node", "15")
    assert next(request.query["scope"] for request in doubles.asked if request.path == "/token") == asked


@pytest.mark.parametrize(
    "header", ["", "Bearer", 'Bearer realm="x', "Bearer realm=https://x", "Negotiate", "Bearer realm=a,realm=b"]
)
def test_a_challenge_that_cannot_be_met_is_told(doubles: Doubles, header: str) -> None:
    error = error_of(doubles.play(lambda _: Reply(401, {"WWW-Authenticate": header} if header else {})))
    assert NAME in str(error)


# The app's identity.


def test_the_apps_identity_is_given_to_the_registry_and_nobody_else(doubles: Doubles) -> None:
    class Identity:
        def get_token(self, *scopes: str, **_: Any) -> Any:
            return type("Token", (), {"token": "entra-token"})

    def answer(asked: Asked) -> Reply:
        if asked.path == "/oauth2/exchange":
            assert parse_qs(asked.body.decode())["access_token"] == ["entra-token"]
            return json_reply({"refresh_token": "refresh"})
        if asked.path == "/oauth2/token":
            return json_reply({"access_token": "abc"})
        return challenge(realm)(asked)

    rule = RegistryRule(name="team", server=NAME, id="/subscriptions/1/registries/team")
    doubles.play(answer, "evil.example.com")
    doubles.play(answer)
    reader = OciTagReader(Passwords(), Identity, doubles.network, SMALL)
    realm = "https://evil.example.com/oauth2/token"
    assert "its token service is evil.example.com, which is not the registry" in str(error_of(reader, rule))
    assert len(doubles.asked) == 1
    realm = f"https://{NAME}/oauth2/token"
    assert reader.digest_of(rule, "node", "15")
    scopes = [parse_qs(asked.body.decode()).get("scope") for asked in doubles.asked if asked.path == "/oauth2/token"]
    assert scopes == [["repository:node:pull,metadata_read"]]
