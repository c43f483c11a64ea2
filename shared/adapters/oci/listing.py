"""A repository's tags, page after page, to an end that is sure to come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

from shared.adapters.oci.network import Limits
from shared.adapters.oci.paging import Page, first_page, parse_page
from shared.adapters.oci.reader import Place, Reader
from shared.adapters.oci.targets import Target
from shared.domain.errors import Malformed, Rejected, Retry
from shared.domain.image import Tag

_KEPT_PAGES = 64
_SURELY_TAKEN = 100
"""A page of so many tags is taken everywhere; a thousand are asked for first, and some registries refuse that."""


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
        watch = _Watch(place, self._limits)
        previous = Page((), None)
        with watch.running():
            target, size, page = self._begin(place)
        while True:
            if page.tags and page.tags == previous.tags and not previous.linked:
                return  # it does not know `last`, and has said everything before
            yield from page.tags
            if page.following is None or (previous.linked and not page.linked):
                return
            watch.admit(target, page.following)
            target, previous = page.following, page
            with watch.running():
                page = self._page(place, target, size)

    def _begin(self, place: Place) -> tuple[Target, int, Page]:
        """The first page, with its address and how many tags were asked for: fewer where so many are refused."""
        size = self._limits.page_size
        target = first_page(place.server, place.path, size)
        try:
            return target, size, self._page(place, target, size)
        except Rejected:
            if size <= _SURELY_TAKEN:
                raise
        target = first_page(place.server, place.path, _SURELY_TAKEN)
        return target, _SURELY_TAKEN, self._page(place, target, _SURELY_TAKEN)

    def _page(self, place: Place, target: Target, size: int) -> Page:
        key = (place.registry, target.path)
        known = self._kept.get(key)
        headers = {"If-None-Match": known[0]} if known else {}
        answer = self._reader.read(place, target, f"listing the tags of {place.name}", headers=headers)
        if answer.status == 304 and known:
            return known[1]
        if answer.status == 404:
            return Page((), None)
        page = parse_page(answer, target, size, place.name)
        etag = answer.headers.get("etag", "")
        if etag and len(page.tags) <= size:
            self._kept.keep(key, etag, page)
        return page


class _Watch:
    """Sees to it that the pages of one listing come to an end."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self._place, self._limits = place, limits
        self._seen, self._spent = set[int](), 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time: that of the registry, not that of whoever takes the tags."""
        began = time.monotonic()
        yield
        self._spent += time.monotonic() - began

    def admit(self, asked: Target, following: Target) -> None:
        """Let one more page be asked for, after the one that was asked for last.

        Raises:
            Malformed: it was read before, or it is one too many.
            Retry: the time is over.
        """
        name, limits = self._place.name, self._limits
        self._seen.add(hash(asked.path))
        if hash(following.path) in self._seen:
            raise Malformed("Link", f"the pages of {name} come round to {following}, which was read before")
        if len(self._seen) >= limits.pages:
            raise Malformed("tags", f"{name} has more than {limits.pages} pages of tags")
        if self._spent > limits.listing_seconds:
            raise Retry(f"listing the tags of {name} takes longer than {limits.listing_seconds:.0f} s")


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
