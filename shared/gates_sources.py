"""The sources of gates: what they say, and where they do not fit. Versions may choose from nothing, gates be rivals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations

from shared.domain.errors import Malformed
from shared.domain.policy import Source, VersionRule
from shared.domain.tag_rule import TagRule, is_pattern
from shared.domain.versions import parse_range
from shared.gates_document import GatesDocument, RegistryDocument, SourceDocument
from shared.yaml_places import Misfit, Path

DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset((DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"))


def source_misfits(path: Path, source: SourceDocument) -> Iterator[Misfit]:
    """Versions that cannot be read, or that no tag is asked for."""
    if source.versions is None:
        return
    if problem := _range_problem(source):
        yield (*path, "versions", "range"), problem
    if not any(is_pattern(tag) for tag in source.tags):
        yield (*path, "versions"), "there is no pattern to choose from: a tag without * is tracked whatever its version"
    for index, tag in enumerate(source.tags):
        if is_pattern(tag) and "*" not in tag:
            yield (*path, "tags", index), f"{tag!r} must have a *: that is where the version stands"


def takes(source: SourceDocument, tag: str) -> bool:
    """Whether a source tracks a tag. A source whose range cannot be read is told of by itself: it takes everything."""
    return _range_problem(source) is not None or TagRule.of(source_of(source)).takes(tag)


def find_rivals(document: GatesDocument) -> Iterator[Misfit]:
    """Gates that would move the same stable tag: each orders its own pushes, nobody those of both."""
    for (name, gate), (other, rival) in combinations(document.gates.items(), 2):
        here, there = gate.promote, rival.promote
        if (here.registry, here.repository) != (there.registry, there.repository):
            continue
        pairs = ((tag, mine) for tag in rival.source.tags for mine in gate.source.tags)
        shared = next((tag for tag, mine in pairs if _overlap(rival.source, tag, gate.source, mine)), None)
        if shared:
            yield ("gates", other, "promote"), f"gate {name} moves {there.repository}:{shared} too"


def login_server_of(entry: RegistryDocument) -> str:
    """The registry's host name; Docker Hub's other names are made one, which importImage and image names have too."""
    server = entry.server or f"{(entry.id or '').rpartition('/')[2].lower()}.azurecr.io"
    return DOCKER_HUB if server in _DOCKER_HUB_NAMES else server


def source_of(entry: SourceDocument) -> Source:
    """The source as it is written."""
    chosen = entry.versions
    versions = (
        VersionRule(range=chosen.range, newest=chosen.newest or 0, prereleases=chosen.prereleases) if chosen else None
    )
    return Source(registry=entry.registry, repository=entry.repository, tags=tuple(entry.tags), versions=versions)


def _overlap(source: SourceDocument, tag: str, other: SourceDocument, mine: str) -> bool:
    """Whether some tag may be tracked by both. Of one pattern, ranges that are apart from each other share none."""
    if not _meet(tag, mine):
        return False
    if not is_pattern(tag) or not is_pattern(mine):
        name = mine if is_pattern(tag) else tag
        return takes(source, name) and takes(other, name)
    if tag != mine or source.versions is None or other.versions is None:
        return True
    if _range_problem(source) or _range_problem(other):
        return False
    return parse_range(source.versions.range).overlaps(parse_range(other.versions.range))


@lru_cache(maxsize=65_536)
def _meet(pattern: str, other: str) -> bool:
    """Whether two patterns have a text in common."""
    if not pattern or not other:
        return set(pattern + other) <= {"*"}
    if "*" in (pattern[0], other[0]):
        starred, plain = (pattern, other) if pattern[0] == "*" else (other, pattern)
        return _meet(starred[1:], plain) or _meet(starred, plain[1:])
    return (pattern[0] == other[0] or "?" in (pattern[0], other[0])) and _meet(pattern[1:], other[1:])


def _range_problem(source: SourceDocument) -> str | None:
    try:
        parse_range(source.versions.range if source.versions else "")
    except Malformed as error:
        return error.problem
    return None
