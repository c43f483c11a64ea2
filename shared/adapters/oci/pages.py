"""The pages of a list of tags.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
"""

import re
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from shared.adapters.oci.errors import UNREADABLE
from shared.adapters.oci.safety import Target, Unsafe, parse_url
from shared.adapters.oci.transport import Answer
from shared.domain.errors import Malformed
from shared.domain.image import Tag, parse_tag

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
    """The next page that a Link header names; it must be at the registry that was asked."""
    if len(header) > _LINK_LIMIT:
        raise Malformed("Link", f"{whose} has a link of {len(header)} characters")
    place = 0
    while (found := _LINK.match(header, place)) and not _NEXT.search(found[2]):
        place = found.end()
    if found is None:
        if header[place:].strip():
            raise Malformed("Link", f"{whose} has a link that cannot be read")
        return None
    try:
        target = parse_url(found[1], asked)
    except Unsafe as error:
        raise Malformed("Link", f"{whose} continues at a place that is not asked: {error}") from error
    if target.origin != asked.origin:
        raise Malformed("Link", f"{whose} continues at {target.server}, which is not {asked.server}")
    return target
