"""Sign-in: the managed identity endpoint, and the part of login.microsoftonline.com that `az login` uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from sandbox.entra import Issuer
from sandbox.gateway import LOCAL_HOST
from sandbox.instance import SUBSCRIPTION, TENANT
from sandbox.web import Call, Fault, Surface, json_answer

SYSTEM_CLIENT_ID = "11111111-1111-1111-1111-111111111111"
SYSTEM_PRINCIPAL_ID = "22222222-2222-2222-2222-222222222222"
_RESOURCE_ID = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/basegate-rg/providers/Microsoft.Web/sites/basegate"
_LIFE_SECONDS = 86_400
_LOOPBACK = ("127.0.0.1", "localhost")


def mount_identity(
    local: Surface, issuer: Issuer, *, principal_of: Callable[[str], str | None] = lambda _: None
) -> None:
    """Add the App Service managed identity endpoint (`IDENTITY_ENDPOINT`) to the gateway's own surface.

    `principal_of` returns the principal id for a user-assigned identity's client id.

    Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
    """

    @local.operation("GET", "/msi/token")
    async def get_token(call: Call) -> web.StreamResponse:
        """A token of the app's managed identity for one resource."""
        given = call.request.headers.get("X-IDENTITY-HEADER", "")
        if not _is_secret(given, issuer):
            raise Fault(401, "Unauthorized", "X-IDENTITY-HEADER is missing or is not this instance's.")
        resource = call.query.get("resource", "")
        if not resource:
            raise Fault(400, "BadRequest", "The query parameter 'resource' is missing.")
        client_id = call.query.get("client_id", SYSTEM_CLIENT_ID)
        token = issuer.issue(resource, **identity_claims(client_id, principal_of(client_id)))
        return json_answer(
            {
                "access_token": token,
                "expires_on": str(int(time.time()) + _LIFE_SECONDS),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client_id,
            }
        )


def _is_secret(given: str, issuer: Issuer) -> bool:
    return compare_digest(given.encode(errors="replace"), issuer.identity_header.encode())


def identity_claims(client_id: str, principal_id: str | None = None) -> dict[str, Any]:
    """The claims that identify the principal of a client id's token; without a principal id, the client id is used."""
    system = client_id == SYSTEM_CLIENT_ID
    principal = SYSTEM_PRINCIPAL_ID if system else principal_id or client_id
    return {"appid": client_id, "oid": principal, "sub": principal, "idtyp": "app", "xms_mirid": _RESOURCE_ID}


def login_surface(issuer: Issuer) -> Surface:
    """The token endpoints that MSAL and `az` use for service principals."""
    surface = Surface("Microsoft Entra ID", r"login\.microsoftonline\.com")

    @surface.operation("GET", "/common/discovery/instance")
    async def discover_instance(call: Call) -> web.StreamResponse:
        """The clouds that a sign-in host belongs to."""
        document = f"{call.origin}/{TENANT}/v2.0/.well-known/openid-configuration"
        names = {"preferred_network": call.host, "preferred_cache": call.host, "aliases": [call.host]}
        return json_answer({"tenant_discovery_endpoint": document, "api-version": "1.1", "metadata": [names]})

    @surface.operation("GET", "/{tenant}/v2.0/.well-known/openid-configuration")
    async def discover_tenant(call: Call) -> web.StreamResponse:
        """The tenant's OpenID configuration."""
        return json_answer(_openid_configuration(call.origin, call.params["tenant"]))

    @surface.operation("POST", "/{tenant}/oauth2/v2.0/token")
    async def issue_token(call: Call) -> web.StreamResponse:
        """A token for any client id; the secret of all is the `IDENTITY_HEADER` that `python -m sandbox env` prints."""
        form = parse_qs((await call.request.read()).decode())
        scope, client, secret = (form.get(name, [""])[0] for name in ("scope", "client_id", "client_secret"))
        if not scope or not client:
            raise Fault(400, "invalid_request", "The form fields 'scope' and 'client_id' are needed.")
        if not _is_secret(secret, issuer):
            raise Fault(
                401, "invalid_client", "The client secret here is the IDENTITY_HEADER of `python -m sandbox env`."
            )
        audience = scope.split()[0].removesuffix("/.default")
        token = issuer.issue(audience, **identity_claims(client))
        return json_answer({"token_type": "Bearer", "expires_in": _LIFE_SECONDS, "access_token": token})

    return surface


def _openid_configuration(origin: str, tenant: str) -> Mapping[str, Any]:
    base = f"{origin}/{tenant}"
    return {
        "issuer": f"{origin}/{TENANT}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def local_surface() -> Surface:
    """What the gateway's port answers over plain HTTP: the managed identity endpoint, to programs on this machine.

    A page in a browser sends an `Origin`, or under a name of its own that leads here (DNS rebinding) another `Host`.
    """

    def authorize(request: web.BaseRequest, host: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        named = request.headers.get("Host", "").partition(":")[0]
        if named not in _LOOPBACK or "Origin" in request.headers:
            raise Fault(403, "Forbidden", "Only programs on this machine are answered here, no pages of a browser.")
        return {}

    return Surface("Managed identity endpoint", LOCAL_HOST, authorize=authorize)
