from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sandbox.registry import Registries
from sandbox.registry.accounts import new_password
from sandbox.testing import tiny_image
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import arm_client, make, running_registries

HOST = "contoso.azurecr.io"
NO_USER = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def registries(live: LiveGateway) -> Iterator[Registries]:
    with running_registries(live) as service:
        with arm_client() as arm:
            make(arm, "contoso")
            make(arm, "fabrikam")
        yield service


def ask(
    live: LiveGateway, method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Any = None
) -> tuple[int, Mapping[str, str], Any]:
    """Status, headers and JSON body of a request by real names."""

    async def request() -> tuple[int, Mapping[str, str], Any]:
        async with (
            live.gateway.outside() as session,
            session.request(method, url, headers=headers, data=form) as answer,
        ):
            body = await answer.json(content_type=None) if method != "HEAD" else None
            return answer.status, answer.headers, body

    return live.run(request())


def refresh_token(live: LiveGateway, host: str = HOST) -> str:
    entra = live.issuer.issue("https://containerregistry.azure.net", oid="principal-1")
    form = {"grant_type": "access_token", "service": host, "access_token": entra}
    status, _, body = ask(live, "POST", f"https://{host}/oauth2/exchange", form=form)
    assert status == 200
    return str(body["refresh_token"])


def access_token(live: LiveGateway, scope: str, host: str = HOST) -> str:
    form = {"grant_type": "refresh_token", "service": host, "scope": scope, "refresh_token": refresh_token(live, host)}
    status, _, body = ask(live, "POST", f"https://{host}/oauth2/token", form=form)
    assert status == 200
    return str(body["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_challenge_names_realm_service_and_scope(live: LiveGateway, registries: Registries) -> None:
    realm = f'Bearer realm="https://{HOST}/oauth2/token",service="{HOST}"'
    status, headers, body = ask(live, "GET", f"https://{HOST}/v2/")
    assert (status, headers["WWW-Authenticate"]) == (401, realm)
    assert body["errors"][0]["code"] == "UNAUTHORIZED"
    _, headers, _ = ask(live, "HEAD", f"https://{HOST}/v2/library/node/manifests/15")
    assert headers["WWW-Authenticate"] == realm + ',scope="repository:library/node:pull"'
    _, headers, _ = ask(live, "PUT", f"https://{HOST}/v2/node/manifests/15")
    assert headers["WWW-Authenticate"] == realm + ',scope="repository:node:pull,push"'
    _, headers, _ = ask(live, "GET", f"https://{HOST}/acr/v1/_catalog")
    assert headers["WWW-Authenticate"] == realm + ',scope="registry:catalog:*"'


def test_an_access_token_opens_what_its_scope_names_and_nothing_else(live: LiveGateway, registries: Registries) -> None:
    token = access_token(live, "repository:node:metadata_read")
    assert ask(live, "GET", f"https://{HOST}/acr/v1/node/_tags", headers=bearer(token))[0] == 404
    status, headers, _ = ask(live, "GET", f"https://{HOST}/acr/v1/other/_tags", headers=bearer(token))
    assert status == 401
    assert headers["WWW-Authenticate"].endswith('error="insufficient_scope"')
    assert ask(live, "DELETE", f"https://{HOST}/acr/v1/node", headers=bearer(token))[0] == 401
    assert ask(live, "GET", "https://fabrikam.azurecr.io/v2/", headers=bearer(token))[0] == 401


def test_tokens_are_good_for_their_own_purpose_only(live: LiveGateway, registries: Registries) -> None:
    refresh, access = refresh_token(live), access_token(live, "repository:node:pull")
    assert ask(live, "GET", f"https://{HOST}/v2/", headers=bearer(refresh))[0] == 401
    form = {"grant_type": "refresh_token", "service": HOST, "refresh_token": access}
    assert ask(live, "POST", f"https://{HOST}/oauth2/token", form=form)[0] == 401
    foreign = live.issuer.issue("https://vault.azure.net")
    form = {"grant_type": "access_token", "service": HOST, "access_token": foreign}
    assert ask(live, "POST", f"https://{HOST}/oauth2/exchange", form=form)[0] == 401


def test_a_refresh_token_is_a_password_for_the_user_without_a_name(live: LiveGateway, registries: Registries) -> None:
    form = {"grant_type": "password", "service": HOST, "username": NO_USER, "password": refresh_token(live)}
    assert ask(live, "POST", f"https://{HOST}/oauth2/token", form=form)[0] == 200
    form["password"] = "wrong"
    assert ask(live, "POST", f"https://{HOST}/oauth2/token", form=form)[0] == 401


def test_an_issued_login_is_good_for_its_repositories_at_its_registry(
    live: LiveGateway, registries: Registries
) -> None:
    user, password = registries.issue_login(HOST, actor="run ca4", repositories={"team/*": ["pull"]})
    form = {"grant_type": "password", "service": HOST, "username": user, "password": password}
    form["scope"] = "repository:team/app:pull,push repository:other:pull"
    status, _, body = ask(live, "POST", f"https://{HOST}/oauth2/token", form=form)
    assert status == 200
    token = bearer(body["access_token"])
    assert ask(live, "GET", f"https://{HOST}/v2/team/app/manifests/1", headers=token)[0] == 404
    assert ask(live, "PUT", f"https://{HOST}/v2/team/app/manifests/1", headers=token)[0] == 401
    assert ask(live, "GET", f"https://{HOST}/v2/other/manifests/1", headers=token)[0] == 401
    form["service"] = "fabrikam.azurecr.io"
    assert ask(live, "POST", "https://fabrikam.azurecr.io/oauth2/token", form=form)[0] == 401


def test_a_blob_is_mounted_only_from_where_it_may_be_pulled(live: LiveGateway, registries: Registries) -> None:
    record = registries.find("contoso")
    assert record
    image = tiny_image("secret")
    live.run(registries.push_image(record, "secret", "1", image))
    url = f"https://{HOST}/v2/node/blobs/uploads/?mount={image.blobs[0][1]}&from=secret"
    own = access_token(live, "repository:node:pull,push")
    assert ask(live, "POST", url, headers=bearer(own))[0] == 202
    both = access_token(live, "repository:node:pull,push repository:secret:pull")
    assert ask(live, "POST", url, headers=bearer(both))[0] == 201


@pytest.mark.parametrize("name", ["..%2F..%2Fsecret", "%252e%252e", "Upper", "a%2F%2Fb", "a%2F_tags", "x" * 300])
def test_a_name_that_is_none_reaches_no_file(live: LiveGateway, registries: Registries, name: str) -> None:
    token = access_token(live, "repository:node:delete")
    status, _, body = ask(live, "DELETE", f"https://{HOST}/acr/v1/{name}", headers=bearer(token))
    assert status in (400, 404)
    assert body["errors"][0]["code"] in ("NAME_INVALID", "NotInSandbox")


def test_a_password_is_never_an_option_of_a_command_line() -> None:
    assert all(password.isalnum() and len(password) == 52 for password in (new_password() for _ in range(1000)))
