"""One read of a registry: authenticated where it asks for it, redirected where it says so, its errors in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.adapters.oci.auth import Authentication
from shared.adapters.oci.errors import http_error, unsafe_target
from shared.adapters.oci.rate_limits import parse_allowance
from shared.adapters.oci.safety import Target, Unsafe, is_hub, parse_url, server_of
from shared.adapters.oci.transport import Answer, Request, Transport
from shared.domain.errors import Malformed
from shared.domain.image import parse_repository
from shared.domain.policy import RegistryRule
from shared.ports import Allowance

_REDIRECTS = 3
_REDIRECTED = frozenset((301, 302, 303, 307, 308))


@dataclass(frozen=True, slots=True)
class Place:
    """A repository of a registry: `path` is what the registry calls it, `name` what people do."""

    registry: RegistryRule
    server: Target
    path: str
    name: str

    @staticmethod
    def of(registry: RegistryRule, repository: str) -> Place:
        """The place of a repository; Docker Hub's official images are under `library/`.

        Raises:
            Malformed: the repository's name is none.
            Misconfigured: the registry's login server is no host.
        """
        path = parse_repository(repository)
        if is_hub(registry) and "/" not in path:
            path = parse_repository(f"library/{path}")
        name = f"{registry.login_server}/{path}"
        try:
            return Place(registry, server_of(registry), path, name)
        except Unsafe as error:
            raise unsafe_target(f"reading {name}", error) from error


class Reader:
    """Reads with whatever authentication is asked for, and notes what is said of rate limits."""

    def __init__(self, transport: Transport, authentication: Authentication) -> None:
        self._transport, self._authentication = transport, authentication
        self.allowances: dict[str, Allowance] = {}

    def read(
        self, place: Place, target: Target, doing: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """An answer of 200 or 404, of 304 to a conditional request, or of 405 to a HEAD.

        Raises:
            Throttled, Retry, Misconfigured, Malformed, Rejected: as the port says.
        """
        registry = place.registry
        request = Request(doing=doing, target=target, method=method, headers=headers or {}, private=registry.private)
        used = self._authentication.header(registry, place.path)
        sent, answer = self._follow(place, request, used)
        if answer.status == 401 and sent.target.origin == place.server.origin:
            asked = answer.headers.get("www-authenticate", "")
            used = self._authentication.answer(registry, place.path, asked, used)
            sent, answer = self._follow(place, request, used)
        if (said := parse_allowance(answer.headers)) is not None:
            self.allowances[registry.name] = said
        if answer.status not in _expected(request):
            raise http_error(answer, sent, _remedy(registry))
        return answer

    def _follow(self, place: Place, request: Request, authorization: str) -> tuple[Request, Answer]:
        """The last request with its answer, after at most three redirects; only the registry sees the header."""
        for _ in range(_REDIRECTS + 1):
            sent = _signed(request, authorization) if request.target.origin == place.server.origin else request
            answer = self._transport.send(sent)
            if answer.status not in _REDIRECTED:
                return sent, answer
            try:
                target = parse_url(answer.headers.get("location", ""), sent.target, private=sent.private)
            except Unsafe as error:
                raise unsafe_target(f"{request.doing}: it is redirected", error) from error
            request = replace(request, target=target)
        raise Malformed("Location", f"{request.doing}: it is redirected more than {_REDIRECTS} times")


def _expected(request: Request) -> set[int]:
    conditional = {304} if "If-None-Match" in request.headers else set[int]()
    return {200, 404} | conditional | ({405} if request.method == "HEAD" else set())


def _signed(request: Request, authorization: str) -> Request:
    if not authorization:
        return request
    headers = {**request.headers, "Authorization": authorization}
    return replace(request, headers=headers, secrets=(authorization.partition(" ")[2],))


def _remedy(registry: RegistryRule) -> str:
    if registry.credentials and registry.is_azure:
        return f"give {registry.credentials}-user content/read and metadata/read of the repository in its scope map"
    if registry.credentials:
        return f"let the user of {registry.credentials}-user read there, and see that the repository is there"
    if registry.is_azure:
        return "give the app AcrPull (Container Registry Repository Reader) on the registry"
    return "see that the repository is there, and name credentials on the registry's rule if it is not public"
