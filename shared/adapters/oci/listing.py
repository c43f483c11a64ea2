"""A repository's tags, page after page, to an end that is sure to come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from threading import Lock

from shared.adapters.oci.addresses import Target
from shared.adapters.oci.network import Limits
from shared.adapters.oci.paging import Page, first_page, parse_page
from shared.adapters.oci.reader import Place, Reader
from shared.domain.errors import Malformed, Retry
from shared.domain.image import Tag

_KEPT_PAGES = 64


class Listing:
    """Lists tags. A page that came with an ETag is kept and asked for again only if it has changed."""

    def __init__(self, reader: Reader, limits: Limits) -> None:
        self._reader, self._limits = reader, limits
        self._kept = _KeptPages()

    def tags(self, place: Place) -> Iterator[Tag]:
        """The tags of a repository, page by page as they are taken; none where there is no such repository.

        Raises:
            Malformed: a page is no list of tags, or the pages do not come to an end.
            Retry: the pages together take too long.
        """
        target = first_page(place.server, place.path, self._limits.page_size)
        seen, spent, previous = {hash(target.path)}, 0.0, Page((), None)
        for _ in range(self._limits.pages):
            began = time.monotonic()
            page = self._page(place, target)
            spent += time.monotonic() - began
            if page.tags and page.tags == previous.tags and not previous.linked:
                return  # it does not know `last`, and has said everything before
            yield from page.tags
            if page.following is None or (previous.linked and not page.linked):
                return
            target, previous = page.following, page
            if hash(target.path) in seen:
                raise Malformed("Link", f"the pages of {place.name} come round to {target}, which was read before")
            seen.add(hash(target.path))
            if spent > self._limits.listing_seconds:
                raise Retry(f"listing the tags of {place.name} takes longer than {self._limits.listing_seconds:.0f} s")
        raise Malformed("tags", f"{place.name} has more than {self._limits.pages} pages of tags")

    def _page(self, place: Place, target: Target) -> Page:
        key = (place.registry, target.path)
        known = self._kept.get(key)
        headers = {"If-None-Match": known[0]} if known else {}
        answer = self._reader.read(place, target, f"listing the tags of {place.name}", headers=headers)
        if answer.status == 304 and known:
            return known[1]
        if answer.status == 404:
            return Page((), None)
        page = parse_page(answer, target, self._limits.page_size, place.name)
        etag = answer.headers.get("etag", "")
        if etag and len(page.tags) <= self._limits.page_size:
            self._kept.keep(key, etag, page)
        return page


class _KeptPages:
    """The pages that were used last, with their ETags."""

    def __init__(self) -> None:
        self._lock, self._pages = Lock(), OrderedDict[Hashable, tuple[str, Page]]()

    def get(self, key: Hashable) -> tuple[str, Page] | None:
        with self._lock:
            if key in self._pages:
                self._pages.move_to_end(key)
            return self._pages.get(key)

    def keep(self, key: Hashable, etag: str, page: Page) -> None:
        with self._lock:
            self._pages[key] = (etag, page)
            self._pages.move_to_end(key)
            if len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)
