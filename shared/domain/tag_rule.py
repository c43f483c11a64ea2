"""Which of a repository's tags a gate tracks. Pure.

A source has names (`15-alpine`), patterns (`*` matches anything, `?` one character) and, for its patterns, versions.
The version of a tag is the part that the first `*` of the pattern matches, with the digits and dots just before it:

    pattern      tag                   version
    *-alpine     20.11.1-alpine        20.11.1
    *-alpine     20.0.0-rc.1-alpine    20.0.0-rc.1, a pre-release
    *-alpine     20.11.1-alpine3.19    (does not match)
    *-alpine*    20.11.1-alpine3.19    20.11.1
    20.*         20.11                 20.11
    *            20-slim, latest       (none: not tracked if the source has versions)

A name is always tracked, whatever its version. `newest: N` limits each pattern to the N tags of the highest versions.
That requires the whole list of tags: the sweep, which has it, applies the limit (`select`); a push event, which has one
tag, does not (`takes`). So a push below the newest N is examined if its event arrives, and otherwise not.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate

from shared.domain.versions import VERSION, Version, VersionRange, parse_version

_ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\..+)?")
"""Signatures, attestations and bills of materials have tags with the digest of their image.
Sources: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#tag-based-discovery,
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema"""

_LEAD = re.compile(r"(?<![0-9A-Za-z.])v?[0-9][0-9.]*$")


@dataclass(frozen=True)
class TagRule:
    """The tags that a source tracks: `exact` names, and patterns, which need the list of all tags."""

    exact: tuple[str, ...]
    patterns: tuple[TagPattern, ...]
    newest: int = 0

    @classmethod
    def of(
        cls, tags: Sequence[str], versions: VersionRange | None = None, newest: int = 0, *, prereleases: bool = False
    ) -> TagRule:
        """The rule of names and patterns; without `versions`, those of the patterns do not matter."""
        exact = tuple(tag for tag in tags if not is_pattern(tag))
        matchers = (_matcher(tag, versioned=versions is not None) for tag in tags if is_pattern(tag))
        return cls(exact, tuple(TagPattern(matcher, versions, prereleases) for matcher in matchers), newest)

    @property
    def needs_listing(self) -> bool:
        """Whether the repository's tags must be listed; exact names can be read one by one."""
        return bool(self.patterns)

    def takes(self, tag: str) -> bool:
        """Whether a tag is tracked, without regard to `newest`."""
        return tag in self.exact or any(pattern.takes(tag) for pattern in self._patterns_of(tag))

    def select(self, tags: Iterable[str]) -> Iterator[str]:
        """The tracked tags among all tags of a repository, each once if it is listed once.

        It is a stream: only the `newest` tags of each pattern are in memory.
        """
        if not self.newest:
            yield from filter(self.takes, tags)
            return
        kept: list[list[tuple[Version, str]]] = [[] for _ in self.patterns]
        for tag in tags:
            if tag in self.exact:
                yield tag
            else:
                self._keep(tag, kept)
        yield from sorted({tag for heap in kept for _, tag in heap})

    def _patterns_of(self, tag: str) -> tuple[TagPattern, ...]:
        """The patterns that a tag may match: none for an attachment of an image."""
        return () if _ATTACHED.fullmatch(tag) else self.patterns

    def _keep(self, tag: str, kept: list[list[tuple[Version, str]]]) -> None:
        for pattern, heap in zip(self._patterns_of(tag), kept, strict=False):
            version = pattern.version_of(tag)
            if version is not None and (version, tag) not in heap:
                heapq.heappush(heap, (version, tag))
                if len(heap) > self.newest:
                    heapq.heappop(heap)


@dataclass(frozen=True)
class TagPattern:
    """A pattern with `*` or `?`, and the range of its versions (None: versions do not matter)."""

    matcher: re.Pattern[str]
    range: VersionRange | None = None
    prereleases: bool = False

    def takes(self, tag: str) -> bool:
        """Whether a tag matches, and its version is in the range."""
        if self.range is None:
            return self.matcher.match(tag) is not None
        return self.version_of(tag) is not None

    def version_of(self, tag: str) -> Version | None:
        """The version of a tracked tag; None if it is not tracked, or versions do not matter."""
        found = self.matcher.match(tag) if self.range else None
        version = parse_version(found["version"]) if found else None
        if version is None or self.range is None or version not in self.range:
            return None
        return version if self.prereleases or not version.is_prerelease else None


def is_pattern(text: str) -> bool:
    """Whether a tag of a source is a pattern rather than a name."""
    return "*" in text or "?" in text


def _matcher(text: str, *, versioned: bool) -> re.Pattern[str]:
    """The expression of a pattern; if `versioned`, with the group `version`, and without a `*` it matches nothing."""
    if not versioned:
        return re.compile(translate(text))
    before, star, after = text.partition("*")
    if not star:
        return re.compile(r"(?!)(?P<version>)")
    found = _LEAD.search(before)
    lead = found[0] if found else ""
    front = "".join("." if character == "?" else re.escape(character) for character in before.removesuffix(lead))
    return re.compile(f"{front}(?={re.escape(lead)})(?P<version>{VERSION}){translate(after)}")
