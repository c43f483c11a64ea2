"""Reads tags of any registry with the OCI distribution API.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import hashlib
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from urllib.parse import urlencode

import msgspec
from cachetools import LRUCache

from shared.adapters.azure_calls import Identity
from shared.adapters.oci.auth import Authentication
from shared.adapters.oci.dialects import Place
from shared.adapters.oci.errors import UNREADABLE, http_error, parse_allowance
from shared.adapters.oci.safety import Target, Unsafe, only_safe, parse_url
from shared.adapters.oci.transport import Limits, Network, Request, Response, Transport
from shared.domain.errors import Malformed, Rejected, Retry
from shared.domain.image import Digest, parse_digest, parse_tag
from shared.domain.policy import RegistryRule
from shared.ports import Allowance, Secrets

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_REDIRECTS = 3
_REDIRECTED = frozenset((301, 302, 303, 307, 308))
_KEPT_PAGES = 64
_NAME_LIMIT = 129
"""One more than the limit of a tag: a name that is truncated there is still not a tag."""

_SAFE_SIZE = 100
"""A page size that all registries accept. The first request is for a thousand tags, which some refuse."""

_LINK_LIMIT = 8 * 1024
_LINK = re.compile(r"\s*<([^<>]*)>\s*((?:;[^,<]*)*)(?:,|\Z)")
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]* )?next(?: [^"]*)?"|next)\s*(?:;|\Z)', re.IGNORECASE)


class _Manifest(msgspec.Struct, rename="camel"):
    schema_version: int


class _Tags(msgspec.Struct):
    tags: list[str | None] | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    """Names, and the URL of the next page (None at the end); `linked` if that is from a Link header."""

    tags: tuple[str, ...] = ()
    following: Target | None = None
    linked: bool = False


class OciTagReader:
    """Implements the port `TagReader`; thread-safe.

    `credential` is the app's identity, for Azure registries without credentials. `network` is the proxy and
    certificates; those of the environment by default.
    """

    def __init__(
        self, secrets: Secrets, credential: Identity, network: Network | None = None, limits: Limits | None = None
    ) -> None:
        self.limits, self._allowances = limits or Limits(), dict[str, Allowance]()
        self._send = Transport(network or Network.of_environment(), self.limits).send
        self._authentication = Authentication(self._send, secrets, credential)
        self._lock = Lock()
        self._kept: LRUCache[tuple[RegistryRule, Target], tuple[str, _Page]] = LRUCache(_KEPT_PAGES)

    def digest_of(
        self, registry: RegistryRule, repository: str, tag: str, *, ends_at: float = math.inf
    ) -> Digest | None:
        """The digest of a tag, None if the tag does not exist; `ends_at` is that of the requests.

        It is a HEAD, which no registry counts as a pull. If the response has no digest, the manifest is read and its
        bytes are hashed; likewise if HEAD is not supported, or returns 404: Sonatype Nexus does that for tags that
        exist.
        """
        place = Place.of(registry, repository)
        name = f"{place.name}:{parse_tag(tag)}"
        target, accept = place.server.at(f"/v2/{place.path}/manifests/{tag}"), {"Accept": MANIFESTS}
        for method in ("HEAD", "GET"):
            _, answer = self.answer(place, target, f"reading {name}", method=method, headers=accept, ends_at=ends_at)
            if answer.status == 404 and method == "GET":
                return None
            header = answer.headers.get("docker-content-digest")
            if method == "HEAD" and answer.status == 200 and header is not None:
                return parse_digest(header, f"Docker-Content-Digest of {name}")
        return _digest_of(answer.body, header, name)

    def tags(self, registry: RegistryRule, repository: str) -> Iterator[str]:
        previous = _Page()
        for page in self._pages(Place.of(registry, repository)):
            if page.tags and page.tags == previous.tags and not previous.linked:
                return  # it ignores `last`, and has returned everything before
            yield from page.tags
            if previous.linked and not page.linked:
                return
            previous = page

    def allowance(self, registry: RegistryRule) -> Allowance | None:
        return self._allowances.get(registry.name)

    def _pages(self, place: Place) -> Iterator[_Page]:
        """The pages; the first is requested again with fewer tags if the page size is refused. The deadline counts the
        registry's time, not that of the consumer.
        """
        limits, seen, spent = self.limits, set[Target](), 0.0
        size, first = limits.page_size, f"/v2/{place.path}/tags/list?n="
        target: Target | None = place.server.at(f"{first}{size}")
        while target is not None:
            if target in seen:
                raise Malformed("Link", f"the pages of {place.name} lead back to {target}, which was read before")
            if len(seen) >= limits.pages:
                raise Malformed("tags", f"{place.name} has more than {limits.pages} pages of tags")
            if spent > limits.listing_seconds:
                raise Retry(f"listing the tags of {place.name} takes longer than {limits.listing_seconds:.0f} s")
            began = time.monotonic()
            try:
                page = self._page(place, target, size, is_first=not seen)
            except Rejected:
                if seen or size <= _SAFE_SIZE:
                    raise
                size = _SAFE_SIZE
                target = place.server.at(f"{first}{size}")
                continue
            finally:
                spent += time.monotonic() - began
            yield page
            seen.add(target)
            target = page.following

    def _page(self, place: Place, target: Target, size: int, *, is_first: bool) -> _Page:
        key, doing = (place.registry, target), f"listing the tags of {place.name}"
        with self._lock:
            etag, page = self._kept.get(key, ("", _Page()))
        headers = {"If-None-Match": etag} if etag else {}
        sent, answer = self.answer(place, target, doing, headers=headers, limit_bytes=self.limits.list_bytes)
        if answer.status == 404 and is_first:
            return _Page()
        if answer.status == 404:
            raise Retry(f"{doing}: 404 from {sent.target}: a page of the list is missing")
        if answer.status != 304:
            page = _parse_page(answer, target, sent.target, size, place.name)
            etag = answer.headers.get("etag", "")
        if etag and len(page.tags) <= size:
            with self._lock:
                self._kept[key] = (etag, page)
        return page

    def answer(self, place: Place, target: Target, doing: str, **parts: Any) -> tuple[Request, Response]:
        """A response of 200 or 404, of 304 to a conditional request, or of 405 or 501 to a HEAD, with its request.

        `parts` are fields of the request.
        """
        registry = place.registry
        request = Request(doing=doing, target=target, private=registry.private, **parts)
        used = self._authentication.header(place, request.ends_at)
        sent, answer = self._follow(place, request, used)
        if answer.status == 401 and sent.target.origin == place.server.origin:
            challenge = answer.headers.get("www-authenticate", "")
            used = self._authentication.answer(place, challenge, used, request.ends_at)
            sent, answer = self._follow(place, request, used)
        if (allowance := parse_allowance(answer.headers, place.dialect.account_header)) is not None:
            self._allowances[registry.name] = allowance
        if answer.status not in _expected(request):
            raise http_error(answer, sent, place.dialect.remedy(registry))
        return sent, answer

    def _follow(self, place: Place, request: Request, authorization: str) -> tuple[Request, Response]:
        """The last request with its response, after at most three redirects; only the registry gets the Authorization
        header.
        """
        for _ in range(_REDIRECTS + 1):
            sent = request
            if authorization and request.target.origin == place.server.origin:
                headers, secret = {**request.headers, "Authorization": authorization}, authorization.partition(" ")[2]
                sent = replace(request, headers=headers, secrets=(secret,))
            answer = self._send(sent)
            if answer.status not in _REDIRECTED:
                return sent, answer
            with only_safe(f"{request.doing}: redirected"):
                target = parse_url(answer.headers.get("location", ""), sent.target, private=sent.private)
            request = replace(request, target=target)
        raise Malformed("Location", f"{request.doing}: redirected more than {_REDIRECTS} times")


def _expected(request: Request) -> set[int]:
    conditional = {304} if "If-None-Match" in request.headers else set[int]()
    return {200, 404} | conditional | ({405, 501} if request.method == "HEAD" else set())


def _digest_of(body: bytes, header: str | None, name: str) -> Digest:
    """The digest of a manifest's bytes, which must equal the one in the header."""
    try:
        msgspec.json.decode(body, type=_Manifest)
    except UNREADABLE as error:
        raise Malformed("manifest", f"the response for {name} is not a manifest") from error
    digest = Digest("sha256:" + hashlib.sha256(body).hexdigest())
    if header is not None and parse_digest(header, f"Docker-Content-Digest of {name}") != digest:
        raise Malformed("Docker-Content-Digest", f"is {header} for {name}, and the digest of its bytes is {digest}")
    return digest


def _parse_page(answer: Response, asked: Target, answered: Target, size: int, whose: str) -> _Page:
    """The page in a 200 to the request of `size` tags from `asked`, which redirects led to `answered`.

    The Link header has the URL of the next page. Without it, a page that is exactly full may still have a next one,
    after its last tag; a longer page is from a registry without pagination.

    Raises:
        Malformed: it is not a list, or the next page is on another host.
    """
    try:
        listed = msgspec.json.decode(answer.body, type=_Tags).tags or []
    except UNREADABLE as error:
        raise Malformed("tags", f"the response for {whose} is not a list of tags") from error
    # Sonatype Nexus lists null among the tags, and `null` could be a tag. Names that are too long for a tag are
    # truncated: pages are kept in memory.
    tags = tuple("(null)" if name is None else name[:_NAME_LIMIT] for name in listed)
    if linked := next_page(answer.headers.get("link", ""), asked, answered, whose):
        return _Page(tags, linked, linked=True)
    if len(tags) != size:
        return _Page(tags)
    return _Page(tags, asked.at(f"{asked.path.partition('?')[0]}?{urlencode({'n': size, 'last': tags[-1]})}"))


def next_page(header: str, asked: Target, answered: Target, whose: str) -> Target | None:
    """The URL of the next page in a Link header: on the registry, or on the host that it redirected to."""
    if len(header) > _LINK_LIMIT:
        raise Malformed("Link", f"{whose} has a link of {len(header)} characters")
    place = 0
    while (found := _LINK.match(header, place)) and not _NEXT.search(found[2]):
        place = found.end()
    if found is None:
        if header[place:].strip():
            raise Malformed("Link", f"{whose} has an invalid link")
        return None
    try:
        target = parse_url(found[1], answered)
    except Unsafe as error:
        raise Malformed("Link", f"the next page of {whose} is not requested: {error}") from error
    if target.origin not in (asked.origin, answered.origin):
        raise Malformed("Link", f"the next page of {whose} is on another host, {target.server}")
    return target
