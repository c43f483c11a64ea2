"""A repository's tags, page after page, to an end that is sure to come.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlencode

import msgspec

from shared.adapters.oci.errors import UNREADABLE
from shared.adapters.oci.reader import Place, Reader
from shared.adapters.oci.safety import Target, Unsafe, parse_url
from shared.adapters.oci.transport import Answer, Limits
from shared.domain.errors import Malformed, Rejected, Retry
from shared.domain.image import Tag, parse_tag
from shared.domain.policy import RegistryRule

_KEPT_PAGES = 64
_SAFE_SIZE = 100
"""A page of so many tags is taken everywhere; a thousand are asked for first, and some registries refuse that."""

_LINK_LIMIT = 8 * 1024
_LINK = re.compile(r"\s*<([^<>]*)>\s*((?:;[^,<]*)*)(?:,|\Z)")
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]* )?next(?: [^"]*)?"|next)\s*(?:;|\Z)', re.IGNORECASE)


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some tags, and where the next are (None at the end); `linked` where the registry itself says so."""

    tags: tuple[Tag, ...]
    following: Target | None
    linked: bool = False


class Listing:
    """Lists tags. A page that came with an ETag is kept and asked for again only if it has changed."""

    def __init__(self, reader: Reader, limits: Limits) -> None:
        self._reader, self._limits = reader, limits
        self._lock, self._kept = Lock(), dict[tuple[RegistryRule, str], tuple[str, Page]]()

    def tags(self, place: Place) -> Iterator[Tag]:
        """The tags of a repository, page by page as they are taken; none where there is no such repository.

        Raises:
            Malformed: a page is no list of tags, or the pages do not come to an end.
            Retry: the pages together take too long.
        """
        previous = Page((), None)
        for page in self._pages(place):
            if page.tags and page.tags == previous.tags and not previous.linked:
                return  # it does not know `last`, and has said everything before
            yield from page.tags
            if previous.linked and not page.linked:
                return
            previous = page

    def _pages(self, place: Place) -> Iterator[Page]:
        """The pages one by one. The time that counts is the registry's, not that of whoever takes the tags."""
        limits, seen = self._limits, set[int]()
        began = time.monotonic()
        target, size, page = self._first(place)
        spent = time.monotonic() - began
        while True:
            yield page
            if page.following is None:
                return
            seen.add(hash(target.path))
            target = page.following
            if hash(target.path) in seen:
                raise Malformed("Link", f"the pages of {place.name} come round to {target}, which was read before")
            if len(seen) >= limits.pages:
                raise Malformed("tags", f"{place.name} has more than {limits.pages} pages of tags")
            if spent > limits.listing_seconds:
                raise Retry(f"listing the tags of {place.name} takes longer than {limits.listing_seconds:.0f} s")
            began = time.monotonic()
            page = self._page(place, target, size)
            spent += time.monotonic() - began

    def _first(self, place: Place) -> tuple[Target, int, Page]:
        """The first page, with its address and how many tags were asked for: fewer where so many are refused."""
        size = self._limits.page_size
        while True:
            target = place.server.at(f"/v2/{place.path}/tags/list?n={size}")
            try:
                return target, size, self._page(place, target, size)
            except Rejected:
                if size <= _SAFE_SIZE:
                    raise
                size = _SAFE_SIZE

    def _page(self, place: Place, target: Target, size: int) -> Page:
        key = (place.registry, target.path)
        etag, page = self._kept.get(key, ("", Page((), None)))
        headers = {"If-None-Match": etag} if etag else {}
        answer = self._reader.read(place, target, f"listing the tags of {place.name}", headers=headers)
        if answer.status == 404:
            return Page((), None)
        if answer.status != 304:
            page, etag = parse_page(answer, target, size, place.name), answer.headers.get("etag", "")
        if etag and len(page.tags) <= size:
            with self._lock:  # what was used last is last
                self._kept.pop(key, None)
                self._kept[key] = (etag, page)
                if len(self._kept) > _KEPT_PAGES:
                    del self._kept[next(iter(self._kept))]
        return page


def parse_page(answer: Answer, asked: Target, size: int, whose: str) -> Page:
    """The page that an answer is.

    The next is where its Link says. Without one a page that is exactly full may have a next all the same, behind its
    last tag; one that is fuller comes from a registry that knows no pages.

    Args:
        answer: a 200.
        asked: where it comes from.
        size: how many tags were asked for.
        whose: the repository with its registry, for errors.

    Raises:
        Malformed: it is no list, a tag is none, or the next page is at another host.
    """
    try:
        found = msgspec.json.decode(answer.body, type=_Tags).tags or []
    except UNREADABLE as error:
        raise Malformed("tags", f"{whose} is answered with no list of tags") from error
    tags = tuple(parse_tag(text, f"tag of {whose}") for text in found)
    if linked := _linked(answer.headers.get("link", ""), asked, whose):
        return Page(tags, linked, linked=True)
    if len(tags) != size:
        return Page(tags, None)
    return Page(tags, asked.at(f"{asked.path.partition('?')[0]}?{urlencode({'n': size, 'last': tags[-1]})}"))


def _linked(header: str, asked: Target, whose: str) -> Target | None:
    if len(header) > _LINK_LIMIT:
        raise Malformed("Link", f"{whose} has a link of {len(header)} characters")
    place = 0
    while found := _LINK.match(header, place):
        if _NEXT.search(found[2]):
            return _followed(found[1], asked, whose)
        place = found.end()
    if header[place:].strip():
        raise Malformed("Link", f"{whose} has a link that cannot be read")
    return None


def _followed(url: str, asked: Target, whose: str) -> Target:
    try:
        target = parse_url(url, asked)
    except Unsafe as error:
        raise Malformed("Link", f"{whose} continues at a place that is not asked: {error}") from error
    if target.origin != asked.origin:
        raise Malformed("Link", f"{whose} continues at {target.server}, which is not {asked.server}")
    return target
