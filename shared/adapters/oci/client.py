"""Tags of any registry that speaks the OCI distribution API: Docker Hub, GitHub, Quay, Microsoft, Azure, your own.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from shared.adapters.oci.auth import Authentication
from shared.adapters.oci.errors import UNREADABLE
from shared.adapters.oci.listing import Listing
from shared.adapters.oci.reader import Place, Reader
from shared.adapters.oci.transport import Limits, Network, Transport
from shared.domain.errors import Malformed
from shared.domain.image import Digest, Tag, parse_digest, parse_tag
from shared.domain.policy import RegistryRule
from shared.ports import Allowance, Secrets

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DIGEST = "docker-content-digest"


class _Manifest(msgspec.Struct, rename="camel"):
    schema_version: int


class OciTagReader:
    """Implements the port `TagReader`, for many threads at once. urllib3 is not imported before the first use.

    Args:
        secrets: the user and password of a registry whose rule names credentials.
        credential: the app's identity, for Azure registries without.
        network: the way out; that of the environment by default.
        limits: how long is waited and how much is taken.
    """

    def __init__(
        self,
        secrets: Secrets,
        credential: Callable[[], TokenCredential],
        network: Network | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        transport = Transport(network, limits)
        self._reader = Reader(transport, Authentication(transport, secrets, credential))
        self._listing = Listing(self._reader, limits)

    def digest_of(self, registry: RegistryRule, repository: str, tag: str) -> Digest | None:
        """The digest a tag points at now, or None where there is no such tag.

        A HEAD, which no registry counts as a pull. A registry that leaves the digest out of its answer is asked for
        the manifest, and the digest is taken of its bytes.
        """
        place = Place.of(registry, repository)
        name = f"{place.name}:{parse_tag(tag)}"
        target, accept = place.server.at(f"/v2/{place.path}/manifests/{tag}"), {"Accept": _MANIFESTS}
        for method in ("HEAD", "GET"):
            answer = self._reader.read(place, target, f"reading {name}", method=method, headers=accept)
            if answer.status == 404:
                return None
            said = answer.headers.get(_DIGEST)
            if method == "HEAD" and answer.status == 200 and said is not None:
                return parse_digest(said, f"Docker-Content-Digest of {name}")
        return _digest_of(answer.body, said, name)

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[Tag]:
        """The tags of a repository, page by page as they are taken; none where there is no such repository.

        Raises:
            Malformed: a page is no list of tags, or the pages do not come to an end.
            Retry: the pages together take too long.
        """
        yield from self._listing.tags(Place.of(registry, repository))

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        """What the registry last said of its rate limit, None where it has said nothing."""
        return self._reader.allowances.get(registry.name)


def _digest_of(body: bytes, said: str | None, name: str) -> Digest:
    """The digest of a manifest's bytes, which has to be the one that was said of them."""
    try:
        msgspec.json.decode(body, type=_Manifest)
    except UNREADABLE as error:
        raise Malformed("manifest", f"{name} is answered with no manifest") from error
    digest = Digest("sha256:" + hashlib.sha256(body).hexdigest())
    if said is not None and parse_digest(said, f"Docker-Content-Digest of {name}") != digest:
        raise Malformed("Docker-Content-Digest", f"{name} is said to be {said}, and its bytes are {digest}")
    return digest
