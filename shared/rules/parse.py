"""gates.yaml -> the policy. Parts that are right by themselves are checked against each other first."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations
from typing import Any

import msgspec

from shared.domain.errors import Malformed
from shared.domain.image import parse_repository, parse_tag
from shared.domain.policy import Policy, Source
from shared.domain.tag_rule import TagRule, is_pattern, tags_in_words
from shared.domain.versions import parse_range
from shared.rules.document import (
    AppDocument,
    BuildDocument,
    DeployDocument,
    Document,
    GateDocument,
    GatesDocument,
    RegistryDocument,
    SourceDocument,
)
from shared.rules.errors import InvalidGates, Path, Places, Problem, ValidationError, load_yaml, type_errors

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATIONS = frozenset(("watch", "timeout", "within", "silent_after"))
_DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset((_DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"))


def parse_gates(text: str, name: str = "gates.yaml") -> Policy:
    """The policy that a gates.yaml describes.

    Raises:
        InvalidGates: it is no YAML, does not fit its types, or its parts do not fit each other.
    """
    try:
        value, places = load_yaml(text)
    except ValidationError as error:
        raise InvalidGates(name, [error]) from error
    problems = list(type_errors(value, GatesDocument))
    if not problems:
        document = msgspec.convert(value, GatesDocument)
        problems = list(_conflicts(document))
        if not problems:
            return _policy(document)
    raise InvalidGates(name, [_placed(path, problem, places) for path, problem in problems])


def _placed(path: Path, problem: str, places: Places) -> ValidationError:
    known = path
    while known not in places:
        known = known[:-1]
    return ValidationError(*places[known], ".".join(map(str, path)), problem)


# Conversion: what has the same name in a document and in the policy is carried over as it is.


def _policy(document: GatesDocument) -> Policy:
    registries = document.registries
    policy = {
        "registries": {
            name: _plain(entry) | {"name": name, "login_server": _login_server(entry)}
            for name, entry in registries.items()
        },
        "gates": {name: _gate(name, entry, registries) for name, entry in document.gates.items()},
        "apps": {name: _app(name, entry, registries) for name, entry in document.apps.items()},
    }
    return msgspec.convert(policy, Policy)


def _plain(value: Any) -> Any:
    """A document as plain values, with durations in seconds; what is not written is left to the policy's default."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, Document):
        return value
    values = {key: _plain(item) for key, item in msgspec.structs.asdict(value).items() if item is not None}
    for key in _DURATIONS & values.keys():
        values[f"{key}_seconds"] = int(values[key][:-1]) * _SECONDS[values[key][-1]]
    return values


def _login_server(entry: RegistryDocument) -> str:
    """The registry's host name; Docker Hub's other names are made one, which importImage and image names have too."""
    server = entry.server or f"{(entry.id or '').rpartition('/')[2].lower()}.azurecr.io"
    return _DOCKER_HUB if server in _DOCKER_HUB_NAMES else server


def _gate(name: str, entry: GateDocument, registries: Mapping[str, RegistryDocument]) -> dict[str, Any]:
    """A gate. This is the one place where Docker Hub's official images get their full name, `library/node`."""
    gate: dict[str, Any] = _plain(entry)
    repository = entry.source.repository
    if _login_server(registries[entry.source.registry]) == _DOCKER_HUB and "/" not in repository:
        gate["source"]["repository"] = f"library/{repository}"
    checks = [{"kind": kind, **values} for check in gate["checks"] for kind, values in check.items()]
    return gate | {"name": name, "checks": checks}


def _app(name: str, entry: AppDocument, registries: Mapping[str, RegistryDocument]) -> dict[str, Any]:
    app: dict[str, Any] = _plain(entry) | {"name": name}
    app["build"]["by_tag"] = entry.build.output == "by-tag"
    if (deploy := entry.deploy) is not None:
        names = {"container_group": deploy.aci, "restart_policy": deploy.restart}
        app["deploy"] |= names | {"subscription": _subscription(entry.build, deploy, registries)}
    return app


def _subscription(build: BuildDocument, deploy: DeployDocument, registries: Mapping[str, RegistryDocument]) -> str:
    """Where a container group is: in the subscription that is written, else in that of the build's registry."""
    registry = registries.get(build.registry)
    own = (registry.id or "").split("/")[2:3] if registry else []
    return deploy.subscription or "".join(own)


def _source(entry: SourceDocument) -> Source:
    """The source as it is written."""
    return msgspec.convert(_plain(entry), Source)


# Checks: what does not fit each other.


def _conflicts(document: GatesDocument) -> Iterator[Problem]:
    yield from _registry_conflicts(document.registries)
    for name, gate in document.gates.items():
        yield from _gate_conflicts(document, ("gates", name), gate)
    yield from _shared_stable_tags(document)
    for name, app in document.apps.items():
        yield from _app_conflicts(document, ("apps", name), app)
    groups = {
        name: (
            _subscription(app.build, app.deploy, document.registries),
            app.deploy.resource_group.lower(),
            app.deploy.aci,
        )
        for name, app in document.apps.items()
        if app.deploy
    }
    for name, other in _repeated(groups):
        yield ("apps", name, "deploy", "aci"), f"app {other} deploys to {groups[name][2]} too"


def _registry_conflicts(registries: Mapping[str, RegistryDocument]) -> Iterator[Problem]:
    same_ids = dict(_repeated({name: entry.id.lower() for name, entry in registries.items() if entry.id}))
    for name, other in same_ids.items():
        yield ("registries", name, "id"), f"registry {other} has this id too: one name a registry"
    servers = {name: _login_server(entry) for name, entry in registries.items() if entry.id or entry.server}
    for name, other in _repeated(servers):
        if name not in same_ids:
            yield ("registries", name, "server"), f"registry {other} is {servers[name]} too: one name a registry"
    for name in registries:
        if name not in servers:
            yield ("registries", name), "a registry has the `id` of an Azure registry, or the `server` of any other"


def _repeated(values: Mapping[str, Hashable]) -> Iterator[tuple[str, str]]:
    """The names whose value an earlier name has already, with that earlier name."""
    seen: dict[Hashable, str] = {}
    for name, value in values.items():
        if seen.setdefault(value, name) != name:
            yield name, seen[value]


def _gate_conflicts(document: GatesDocument, path: Path, gate: GateDocument) -> Iterator[Problem]:
    source, promote = gate.source, gate.promote
    yield from _registry_problem(document, (*path, "source", "registry"), source.registry)
    yield from _source_conflicts((*path, "source"), source)
    yield from _registry_problem(document, (*path, "promote", "registry"), promote.registry, "images are promoted to")
    for index, check in enumerate(gate.checks):
        place = (*path, "checks", index)
        if (check.task is None) == (check.approval is None):
            yield place, "a check is of exactly one kind: task or approval"
        if check.task is not None:
            yield from _registry_problem(
                document, (*place, "task", "registry"), check.task.registry, "ACR Tasks run in"
            )
    if "{run}" not in promote.unique:
        yield (*path, "promote", "unique"), "must contain {run}: only that makes the tag unique"
    elif not _makes_tags(promote.unique):
        yield (*path, "promote", "unique"), "must be a tag once {tag} and {run} are filled in"
    if (source.registry, source.repository) == (promote.registry, promote.repository):
        yield (*path, "promote"), "promotes into its own source: every promotion would be a new candidate"


def _source_conflicts(path: Path, source: SourceDocument) -> Iterator[Problem]:
    """Versions that cannot be read, or that no tag is chosen by."""
    if source.versions is None:
        return
    if problem := _range_problem(source):
        yield (*path, "versions", "range"), problem
    if not any(is_pattern(tag) for tag in source.tags):
        yield (*path, "versions"), "there is no pattern to choose from: a tag without * is tracked whatever its version"
    for index, tag in enumerate(source.tags):
        if is_pattern(tag) and "*" not in tag:
            yield (*path, "tags", index), f"{tag!r} must have a *: that is where the version stands"


def _app_conflicts(document: GatesDocument, path: Path, app: AppDocument) -> Iterator[Problem]:
    yield from _registry_problem(document, (*path, "build", "registry"), app.build.registry, "ACR Tasks run in")
    repository, _, tag = app.build.image.rpartition(":")
    if "{run}" not in tag or not _makes_tags(tag) or not _parses(parse_repository, repository):
        yield (*path, "build", "image"), "must be repository:tag with {run} in the tag: deployed tags must be unique"
    name, gate = app.base.gate, document.gates.get(app.base.gate)
    if gate is None:
        yield (*path, "base", "gate"), f"there is no gate {name!r} (known: {', '.join(document.gates)})"
    elif not _takes(gate.source, app.base.tag):
        taken = tags_in_words(_source(gate.source))
        yield (*path, "base", "tag"), f"gate {name} takes no tag {app.base.tag!r}: it takes {taken}"


def _registry_problem(document: GatesDocument, path: Path, name: str, use: str = "") -> Iterator[Problem]:
    """A registry that is unknown, or none of Azure's where it is put to a `use` that needs one."""
    registry = document.registries.get(name)
    if registry is None:
        yield path, f"there is no registry {name!r} (known: {', '.join(document.registries)})"
    elif use and registry.server and not registry.id:
        yield path, f"registry {name} has no `id`: it can be a source only, {use} Azure registries alone"


def _makes_tags(pattern: str) -> bool:
    return _parses(parse_tag, pattern.replace("{tag}", "tag").replace("{run}", "run"))


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except Malformed:
        return False
    return True


def _takes(source: SourceDocument, tag: str) -> bool:
    """Whether a source tracks a tag; one whose range is an error of its own is taken to track every tag."""
    return _range_problem(source) is not None or TagRule.of(_source(source)).takes(tag)


def _range_problem(source: SourceDocument) -> str | None:
    try:
        parse_range(source.versions.range if source.versions else "")
    except Malformed as error:
        return error.problem
    return None


def _shared_stable_tags(document: GatesDocument) -> Iterator[Problem]:
    """Gates that would move the same stable tag: each orders its own pushes, nobody those of both."""
    for (name, gate), (other, second) in combinations(document.gates.items(), 2):
        here, there = gate.promote, second.promote
        if (here.registry, here.repository) != (there.registry, there.repository):
            continue
        pairs = ((tag, mine) for tag in second.source.tags for mine in gate.source.tags)
        shared = next((tag for tag, mine in pairs if _overlap(second.source, tag, gate.source, mine)), None)
        if shared:
            yield ("gates", other, "promote"), f"gate {name} moves {there.repository}:{shared} too"


def _overlap(source: SourceDocument, tag: str, other: SourceDocument, mine: str) -> bool:
    """Whether some tag may be tracked by both. Of one pattern, ranges that are apart from each other share none."""
    if not _meet(tag, mine):
        return False
    if not is_pattern(tag) or not is_pattern(mine):
        name = mine if is_pattern(tag) else tag
        return _takes(source, name) and _takes(other, name)
    if tag != mine or source.versions is None or other.versions is None:
        return True
    try:
        return parse_range(source.versions.range).overlaps(parse_range(other.versions.range))
    except Malformed:  # an error of its own
        return False


@lru_cache(maxsize=65_536)
def _meet(pattern: str, other: str) -> bool:
    """Whether two patterns have a text in common."""
    if not pattern or not other:
        return set(pattern + other) <= {"*"}
    if "*" in (pattern[0], other[0]):
        starred, plain = (pattern, other) if pattern[0] == "*" else (other, pattern)
        return _meet(starred[1:], plain) or _meet(starred, plain[1:])
    return (pattern[0] == other[0] or "?" in (pattern[0], other[0])) and _meet(pattern[1:], other[1:])
