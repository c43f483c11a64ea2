"""The vendors' deviations from the specification: one row for each dialect.

A further dialect is one more row of `DIALECTS`. No other module of this package names a vendor. Names in rules and
records are those of the domain: `RegistryRule.login_server` and `RegistryRule.full_name`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from shared.adapters.azure_calls import Identity, translated
from shared.adapters.oci.safety import Target, only_safe, owned_domain, parse_server
from shared.adapters.oci.transport import Request
from shared.domain.errors import Malformed, Misconfigured
from shared.domain.image import parse_repository
from shared.domain.policy import DOCKER_HUB, RegistryRule

_TOKEN_LIMIT = 32 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class TokenAnswer(msgspec.Struct):
    """The response of a token service:
    https://distribution.github.io/distribution/spec/auth/token/#token-response-fields
    """

    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None


def usable_token(value: str | None, request: Request) -> str:
    """A token. Raises `Malformed`, without any part of the value, if it cannot be one."""
    if not value or len(value) > _TOKEN_LIMIT or not _TOKEN.fullmatch(value):
        raise Malformed("token", f"{request.doing}: the response of {request.target.server} has no valid token")
    return value


Post = Callable[[Request, Mapping[str, str], str], TokenAnswer]
"""Posts a form with a secret, which no error contains; raises the gate's errors."""

Grant = Callable[["Place", Request, Mapping[str, str], Identity, Post], TokenAnswer]
"""Gets a token for the app's identity if the rule names no credentials. Its arguments include the token request that
the registry's challenge leads to, and its service and scope."""


def _remedy(registry: RegistryRule) -> str:
    if registry.credentials:
        return f"check that the repository exists, and that the user in {registry.credentials}-user may read it"
    return "check that the repository exists, and name credentials on the registry's rule if it is not public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The deviations of one vendor's registries; each default is that of the specification.

    Args:
        serves: whether a registry of the rules is one of the vendor's.
        api_host: the host of the API, if it is not the login server.
        token_hosts: token services that may see the credentials, besides those under the registry's own domain.
        shared_domains: domains of which the vendor assigns subdomains to customers, and which are not in the list of
            public suffixes: hosts there have different owners, whether or not a rule has such a registry.
        actions: the actions in a token's scope, whatever the challenge names.
        grant: how the app's identity gets a token; a GET without credentials by default.
        remedy: what to do if a registry denies access.
        account_header: the header with the address or account that the rate limit applies to.
    """

    serves: Callable[[RegistryRule], bool] = lambda registry: False
    api_host: str = ""
    token_hosts: tuple[str, ...] = ()
    shared_domains: tuple[str, ...] = ()
    actions: str = ""
    grant: Grant | None = None
    remedy: Callable[[RegistryRule], str] = _remedy
    account_header: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A repository of a registry: `path` is its name in the API, `name` its name for readers."""

    registry: RegistryRule
    dialect: Dialect
    server: Target
    path: str
    name: str

    @staticmethod
    def of(registry: RegistryRule, repository: str) -> "Place":
        """The place of a repository.

        Raises:
            Malformed: the repository's name is invalid.
            Misconfigured: the registry's login server is not a host.
        """
        path = parse_repository(repository)
        dialect = next((row for row in DIALECTS if row.serves(registry)), _PLAIN)
        with only_safe(f"reading {registry.login_server}/{path}"):
            server = parse_server(dialect.api_host or registry.login_server)
        path = parse_repository(registry.full_name(path))
        return Place(registry, dialect, server, path, f"{registry.login_server}/{path}")


def may_see_credentials(realm: str, registry: str) -> bool:
    """Whether a token service may see the credentials of a registry; both are hosts in lower case, without a port.

    It may if it is the registry's own host, if the registry's dialect names it, or if both are under one domain of one
    owner.
    """
    if realm == registry or any(realm in row.token_hosts for row in DIALECTS if row.api_host == registry):
        return True
    shared = (domain for row in DIALECTS for domain in row.shared_domains)
    if any(f".{registry}".endswith(f".{domain}") for domain in shared):
        return False
    domain = owned_domain(registry)
    return domain != "" and domain == owned_domain(realm)


_ENTRA_SCOPE = "https://containerregistry.azure.net/.default"


def _entra_exchange(
    place: Place, request: Request, query: Mapping[str, str], identity: Identity, post: Post
) -> TokenAnswer:
    """A token of an Azure registry for the app's identity, whose Entra token is sent to no other host.

    Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
    """
    if request.target.origin != place.server.origin:
        where = request.target.server
        raise Misconfigured(f"{request.doing}: its token service is {where}, which is not the registry: not used")
    with translated(request.doing):
        entra = identity().get_token(_ENTRA_SCOPE).token
    form = {"grant_type": "access_token", "service": query.get("service", ""), "access_token": entra}
    exchange = replace(request, target=place.server.at("/oauth2/exchange"))
    refresh = usable_token(post(exchange, form, entra).refresh_token, request)
    return post(request, {**query, "grant_type": "refresh_token", "refresh_token": refresh}, refresh)


def _azure_remedy(registry: RegistryRule) -> str:
    if registry.credentials:
        return f"give {registry.credentials}-user content/read and metadata/read of the repository in its scope map"
    return "give the app AcrPull (Container Registry Repository Reader) on the registry"


_PLAIN = Dialect()

# fmt: off
DIALECTS: tuple[Dialect, ...] = (
    Dialect(  # Docker Hub: https://docs.docker.com/docker-hub/usage/pulls/
        serves=lambda registry: registry.login_server == DOCKER_HUB,
        api_host="registry-1.docker.io",
        token_hosts=("auth.docker.io",),
        account_header="docker-ratelimit-source",
    ),
    Dialect(  # Azure Container Registry
        serves=lambda registry: registry.is_azure,
        shared_domains=(
            "azure.com", "azure.net", "azurecontainerapps.io", "azurecr.cn", "azurecr.io", "azurecr.us", "windows.net",
        ),
        actions="pull,metadata_read",
        grant=_entra_exchange,
        remedy=_azure_remedy,
    ),
    Dialect(shared_domains=("amazonaws.com", "amazonaws.com.cn")),  # Amazon Elastic Container Registry
    Dialect(shared_domains=("jfrog.io",)),  # JFrog Artifactory
    Dialect(shared_domains=("ocir.io",)),  # Oracle Cloud Infrastructure Registry
    Dialect(shared_domains=("pkg.dev",)),  # Google Artifact Registry
)
# fmt: on
