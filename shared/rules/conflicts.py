"""Validates rules against each other, after each was validated by itself."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations

from shared.domain.errors import Malformed
from shared.domain.image import parse_repository, parse_tag
from shared.domain.policy import App, ExceptionRule, Gate, Policy, RegistryRule, Source
from shared.domain.tag_rule import is_pattern
from shared.domain.versions import parse_range
from shared.findings.exceptions import problems

Path = tuple[str | int, ...]

Problem = tuple[Path, str]
"""A path in gates.yaml, and what is wrong there."""


def conflicts(policy: Policy, *, signs_in: bool) -> Iterator[Problem]:
    """The conflicts between the rules of a policy."""
    yield from _registry_conflicts(policy.registries)
    for name, gate in policy.gates.items():
        yield from _gate_conflicts(policy, ("gates", name), gate)
        for index, check in enumerate(gate.checks):
            at = ("gates", name, "checks", index, check.kind)
            problems = check.problems(policy, signs_in=signs_in)
            yield from (((*at, *_keys(key)), problem) for key, problem in problems)
    yield from _shared_stable_tags(policy)
    for name, app in policy.apps.items():
        yield from _app_conflicts(policy, ("apps", name), app)
    deploys = {name: app.deploy for name, app in policy.apps.items() if app.deploy}
    for name, other in _duplicates({name: rule.occupies for name, rule in deploys.items()}):
        place = ("apps", name, "deploy", deploys[name].kind, "name")
        yield place, f"app {other} deploys to {deploys[name].name} too"
    yield from exception_conflicts(policy.exceptions, ("exceptions",))
    for index, exception in enumerate(policy.exceptions):
        for number, named in enumerate(exception.gates):
            if named not in policy.gates:
                yield ("exceptions", index, "gates", number), _unknown_gate(policy, named)


def exception_conflicts(exceptions: Iterable[ExceptionRule], path: Path) -> Iterator[Problem]:
    """The times and purls of exceptions that are none. One that has ended is no error: an app with it must start."""
    yield from (((*path, index, key), problem) for index, key, problem in problems(exceptions))


def _keys(dotted: str) -> Iterator[str | int]:
    """The keys and indexes of `cosign.keyless.0.issuer`."""
    return (int(part) if part.isdecimal() else part for part in dotted.split("."))


def _registry_conflicts(registries: Mapping[str, RegistryRule]) -> Iterator[Problem]:
    same_ids = dict(_duplicates({name: entry.id.lower() for name, entry in registries.items() if entry.id}))
    for name, other in same_ids.items():
        yield ("registries", name, "id"), f"registry {other} has the same id: use one name for it"
    servers = {name: entry.login_server for name, entry in registries.items() if entry.login_server}
    for name, other in _duplicates(servers):
        if name not in same_ids:
            yield ("registries", name, "server"), f"registry {other} is {servers[name]} too: use one name for it"
    for name in registries:
        if name not in servers:
            yield ("registries", name), "a registry needs the `id` of an Azure registry, or the `server` of any other"


def _duplicates(values: Mapping[str, Hashable]) -> Iterator[tuple[str, str]]:
    """The names whose value an earlier name has too, with that earlier name."""
    seen: dict[Hashable, str] = {}
    for name, value in values.items():
        if seen.setdefault(value, name) != name:
            yield name, seen[value]


def _gate_conflicts(policy: Policy, path: Path, gate: Gate) -> Iterator[Problem]:
    source, promote = gate.source, gate.promote
    yield from _registry_problem(policy, (*path, "source", "registry"), source.registry)
    yield from _source_conflicts((*path, "source"), source)
    yield from _registry_problem(policy, (*path, "promote", "registry"), promote.registry, "images are promoted to")
    if "{run}" not in promote.unique:
        yield (*path, "promote", "unique"), "must contain {run}, which makes the tag unique"
    elif not _makes_tags(promote.unique):
        yield (*path, "promote", "unique"), "must be a tag once {tag} and {run} are filled in"
    if (source.registry, source.repository) == (promote.registry, promote.repository):
        yield (*path, "promote"), "promotes into its own source: every promotion would be a new candidate"


def _source_conflicts(path: Path, source: Source) -> Iterator[Problem]:
    """A `versions` range that is invalid or has no effect, and patterns without a version."""
    if source.versions is None:
        return
    if problem := _problem(parse_range, source.versions.range):
        yield (*path, "versions", "range"), problem
    if not any(is_pattern(tag) for tag in source.tags):
        yield (*path, "versions"), "no tag is a pattern: a plain tag is tracked whatever its version"
    for index, tag in enumerate(source.tags):
        if is_pattern(tag) and "*" not in tag:
            yield (*path, "tags", index), f"{tag!r} must have a * in the place of the version"


def _app_conflicts(policy: Policy, path: Path, app: App) -> Iterator[Problem]:
    yield from _registry_problem(policy, (*path, "build", "registry"), app.build.registry, "ACR Tasks run in")
    repository, _, tag = app.build.image.rpartition(":")
    if "{run}" not in tag or not _makes_tags(tag) or _problem(parse_repository, repository):
        yield (*path, "build", "image"), "must be repository:tag with {run} in the tag: deployed tags must be unique"
    name, gate = app.base.gate, policy.gates.get(app.base.gate)
    if gate is None:
        yield (*path, "base", "gate"), _unknown_gate(policy, name)
    elif not _takes(gate.source, app.base.tag):
        tracked = gate.source.tags_in_words
        yield (*path, "base", "tag"), f"gate {name} does not track tag {app.base.tag!r}: it tracks {tracked}"


def _unknown_gate(policy: Policy, name: str) -> str:
    return f"there is no gate {name!r} (known: {', '.join(policy.gates)})"


def _registry_problem(policy: Policy, path: Path, name: str, use: str = "") -> Iterator[Problem]:
    if problem := policy.registry_problem(name, use):
        yield path, problem


def _makes_tags(pattern: str) -> bool:
    return not _problem(parse_tag, pattern.replace("{tag}", "tag").replace("{run}", "run"))


def _problem(parse: Callable[[str], object], text: str) -> str:
    """Why a text is invalid; "" if it is valid."""
    try:
        parse(text)
    except Malformed as error:
        return error.problem
    return ""


def _takes(source: Source, tag: str) -> bool:
    """Whether a source tracks a tag; with an invalid range (reported elsewhere), it counts as tracking all."""
    invalid = source.versions and _problem(parse_range, source.versions.range)
    return bool(invalid) or source.tracked.takes(tag)


def _shared_stable_tags(policy: Policy) -> Iterator[Problem]:
    """Gates that write the same stable tag: order is guaranteed within one gate only."""
    for (name, gate), (other, second) in combinations(policy.gates.items(), 2):
        here, there = gate.promote, second.promote
        if (here.registry, here.repository) != (there.registry, there.repository):
            continue
        pairs = ((tag, other_tag) for tag in second.source.tags for other_tag in gate.source.tags)
        shared = next((tag for tag, other_tag in pairs if _overlap(second.source, tag, gate.source, other_tag)), None)
        if shared:
            yield ("gates", other, "promote"), f"gate {name} moves {there.repository}:{shared} too"


def _overlap(source: Source, tag: str, other: Source, other_tag: str) -> bool:
    """Whether both may track a same tag. Two sources with one pattern do not if their ranges are disjoint."""
    if not _intersect(tag, other_tag):
        return False
    if not is_pattern(tag) or not is_pattern(other_tag):
        name = other_tag if is_pattern(tag) else tag
        return _takes(source, name) and _takes(other, name)
    if tag != other_tag or source.versions is None or other.versions is None:
        return True
    ranges = [source.versions.range, other.versions.range]
    if any(_problem(parse_range, text) for text in ranges):  # reported elsewhere
        return False
    return parse_range(ranges[0]).overlaps(parse_range(ranges[1]))


@lru_cache(maxsize=65_536)
def _intersect(pattern: str, other: str) -> bool:
    """Whether a text may match both patterns."""
    if not pattern or not other:
        return set(pattern + other) <= {"*"}
    if "*" in (pattern[0], other[0]):
        starred, plain = (pattern, other) if pattern[0] == "*" else (other, pattern)
        return _intersect(starred[1:], plain) or _intersect(starred, plain[1:])
    return (pattern[0] == other[0] or "?" in (pattern[0], other[0])) and _intersect(pattern[1:], other[1:])
