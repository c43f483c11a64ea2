"""Reads what is attached to a digest, at any registry. Whoever may push there decides what that is.

Sources: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers,
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema and
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery
"""

import hashlib
import math
import time
from collections.abc import Collection
from urllib.parse import urlencode

import msgspec

from shared.adapters.oci.client import MANIFESTS, OciTagReader, next_page
from shared.adapters.oci.dialects import Place
from shared.adapters.oci.errors import UNREADABLE
from shared.adapters.oci.safety import Target
from shared.adapters.oci.transport import Response
from shared.domain.errors import Gone, Malformed, Rejected, Retry
from shared.domain.image import Digest, digest_tag, parse_digest
from shared.domain.policy import RegistryRule
from shared.ports import COSIGN_TAGS, Attachments, Descriptor

REFERRERS_LIMIT = 1000
"""How many referrers of one digest are returned; the rest is counted."""

PAGES_LIMIT = 20
"""How many pages of referrers are read. A page is as large as a manifest may be (4 MiB), which is thousands."""

_INDEX = "application/vnd.oci.image.index.v1+json"
_TEXT_LIMIT = 255
"""The maximum length of a media type: https://www.rfc-editor.org/rfc/rfc6838#section-4.2"""


class _Listed(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    artifact_type: str = ""
    size: int = 0


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw] | None = None


class OciReferrers:
    """Implements the port `Referrers`; thread-safe. It shares the connections, tokens and rate limits of a tag
    reader.
    """

    def __init__(self, reader: OciTagReader) -> None:
        self._reader = reader

    def attached(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        artifact_type: str = "",
        *,
        ends_at: float = math.inf,
    ) -> Attachments:
        """Read pages up to the limits.

        A registry without the referrers API answers 404, another refusal, or something that is no index: then the index
        is under the tag `sha256-<hex>`. A registry that has filtered the list says so in a header; else it is filtered
        here.
        """
        place, found = Place.of(registry, repository), _Found(artifact_type)
        doing = f"listing the referrers of {place.name}@{digest}"
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        target: Target | None = place.server.at(f"/v2/{place.path}/referrers/{digest}{query}")
        ends_at, seen = min(ends_at, time.monotonic() + self._reader.limits.listing_seconds), set[Target]()
        while target is not None:
            if target in seen or len(seen) >= PAGES_LIMIT:
                return found.attachments(is_complete=False)
            answered, page = self._page(place, target, doing, ends_at, is_first=not seen)
            if page is None:
                return self._by_tag(place, digest, found, ends_at)
            found.add(page, doing)
            seen.add(target)
            target = next_page(page.headers.get("link", ""), target, answered, f"the list of {place.name}@{digest}")
        return found.attachments()

    def cosign_tags(
        self,
        registry: RegistryRule,
        repository: str,
        digest: Digest,
        suffixes: Collection[str] = COSIGN_TAGS,
        *,
        ends_at: float = math.inf,
    ) -> tuple[Descriptor, ...]:
        """One HEAD for each tag."""
        tags = (digest_tag(digest, suffix) for suffix in suffixes)
        digests = ((tag, self._reader.digest_of(registry, repository, tag, ends_at=ends_at)) for tag in tags)
        return tuple(Descriptor(digest=found, tag=tag) for tag, found in digests if found)

    def manifest(
        self, registry: RegistryRule, repository: str, digest: Digest, limit_bytes: int, *, ends_at: float = math.inf
    ) -> bytes:
        return self._content(Place.of(registry, repository), "manifests", digest, limit_bytes, ends_at)

    def blob(
        self, registry: RegistryRule, repository: str, digest: Digest, limit_bytes: int, *, ends_at: float = math.inf
    ) -> bytes:
        return self._content(Place.of(registry, repository), "blobs", digest, limit_bytes, ends_at)

    def _content(self, place: Place, kind: str, digest: Digest, limit_bytes: int, ends_at: float) -> bytes:
        target, headers = place.server.at(f"/v2/{place.path}/{kind}/{digest}"), {"Accept": f"{MANIFESTS}, */*"}
        name = f"{place.name}@{digest}"
        _, answer = self._reader.answer(
            place, target, f"reading {name}", headers=headers, limit_bytes=limit_bytes, ends_at=ends_at
        )
        if answer.status == 404:
            raise Gone(f"{name} is listed, and is not there")
        if (actual := f"sha256:{hashlib.sha256(answer.body).hexdigest()}") != digest:
            raise Malformed("digest", f"the bytes of {name} have the digest {actual}")
        return answer.body

    def _page(
        self, place: Place, target: Target, doing: str, ends_at: float, *, is_first: bool
    ) -> tuple[Target, Response | None]:
        """A page, and where redirects led to; None if the registry has no referrers API."""
        try:
            sent, answer = self._reader.answer(place, target, doing, headers={"Accept": _INDEX}, ends_at=ends_at)
        except Rejected:
            if is_first:
                return target, None
            raise
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if is_first and (answer.status == 404 or kind != _INDEX):
            return target, None
        if answer.status == 404:
            raise Retry(f"{doing}: 404 from {sent.target}: a page of the list is missing")
        return sent.target, answer

    def _by_tag(self, place: Place, digest: Digest, found: "_Found", ends_at: float) -> Attachments:
        """The referrers in the index under the tag for them. None of them is filtered by the registry."""
        doing = f"reading {place.name}:{digest_tag(digest)}"
        target = place.server.at(f"/v2/{place.path}/manifests/{digest_tag(digest)}")
        _, answer = self._reader.answer(place, target, doing, headers={"Accept": _INDEX}, ends_at=ends_at)
        if answer.status != 404:
            found.add(answer, doing)
        return found.attachments()


class _Found:
    """The referrers of the pages read so far."""

    def __init__(self, artifact_type: str) -> None:
        self._wanted, self._left_out = artifact_type, 0
        self._manifests: dict[Digest, Descriptor] = {}

    def add(self, page: Response, doing: str) -> None:
        """Add a page. Raises `Malformed` if it is not an index; an invalid descriptor in it is left out."""
        try:
            listed = msgspec.json.decode(page.body, type=_Index).manifests or []
        except UNREADABLE as error:
            raise Malformed("referrers", f"{doing}: the response is not an index") from error
        applied = {name.strip() for name in page.headers.get("oci-filters-applied", "").split(",")}
        wanted = "" if "artifactType" in applied else self._wanted
        for raw in listed:
            descriptor = _descriptor(raw)
            if descriptor is not None and wanted and descriptor.artifact_type != wanted:
                continue
            if descriptor is None or len(self._manifests) >= REFERRERS_LIMIT:
                self._left_out += 1
            else:
                self._manifests.setdefault(descriptor.digest, descriptor)

    def attachments(self, *, is_complete: bool = True) -> Attachments:
        """All of them."""
        return Attachments(manifests=tuple(self._manifests.values()), left_out=self._left_out, is_complete=is_complete)


def _descriptor(raw: msgspec.Raw) -> Descriptor | None:
    """A descriptor in an index, None if it is invalid."""
    try:
        one = msgspec.json.decode(raw, type=_Listed)
        digest = parse_digest(one.digest)
    except (*UNREADABLE, Malformed):
        return None
    if max(len(one.media_type), len(one.artifact_type)) > _TEXT_LIMIT:
        return None
    return Descriptor(digest=digest, media_type=one.media_type, artifact_type=one.artifact_type, size=max(0, one.size))
