"""Where parts of gates.yaml that are right by themselves do not fit each other."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import combinations

from shared.domain.errors import Malformed
from shared.domain.image import parse_repository, parse_tag
from shared.gates_document import AppDocument, GateDocument, GatesDocument
from shared.yaml_places import Path

Misfit = tuple[Path, str]


def find_misfits(document: GatesDocument) -> Iterator[Misfit]:
    """Every misfit: its path in the document, and what is wrong."""
    ids = {name: registry.id.lower() for name, registry in document.registries.items()}
    for name, other in _repeated(ids):
        yield ("registries", name, "id"), f"registry {other} has this id too: one name a registry"
    for name, gate in document.gates.items():
        yield from _gate_misfits(document, ("gates", name), gate)
    yield from _rivals(document)
    for name, app in document.apps.items():
        yield from _app_misfits(document, ("apps", name), app)
    deploys = {name: app.deploy for name, app in document.apps.items() if app.deploy}
    groups = {name: (rule.subscription, rule.resource_group.lower(), rule.aci) for name, rule in deploys.items()}
    for name, other in _repeated(groups):
        yield ("apps", name, "deploy", "aci"), f"app {other} deploys to {deploys[name].aci} too"


def _repeated(values: Mapping[str, Hashable]) -> Iterator[tuple[str, str]]:
    """The names whose value an earlier name has already, with that earlier name."""
    seen: dict[Hashable, str] = {}
    for name, value in values.items():
        if value in seen:
            yield name, seen[value]
        else:
            seen[value] = name


def _gate_misfits(document: GatesDocument, path: Path, gate: GateDocument) -> Iterator[Misfit]:
    yield from _unknown_registry(document, (*path, "source", "registry"), gate.source.registry)
    yield from _unknown_registry(document, (*path, "promote", "registry"), gate.promote.registry)
    for index, check in enumerate(gate.checks):
        if (check.task is None) == (check.approval is None):
            yield (*path, "checks", index), "a check is of exactly one kind: task or approval"
        if check.task is not None:
            yield from _unknown_registry(document, (*path, "checks", index, "task", "registry"), check.task.registry)
    if "{run}" not in gate.promote.unique:
        yield (*path, "promote", "unique"), "must contain {run}: only that makes the tag unique"
    elif not _makes_tags(gate.promote.unique):
        yield (*path, "promote", "unique"), "must be a tag once {tag} and {run} are filled in"
    source = (gate.source.registry, gate.source.repository)
    if source == (gate.promote.registry, gate.promote.repository):
        yield (*path, "promote"), "promotes into its own source: every promotion would be a new candidate"


def _rivals(document: GatesDocument) -> Iterator[Misfit]:
    """Gates that would move the same stable tag: each orders its own pushes, nobody those of both."""
    for (name, gate), (other, rival) in combinations(document.gates.items(), 2):
        here, there = gate.promote, rival.promote
        if (here.registry, here.repository) != (there.registry, there.repository):
            continue
        shared = [tag for tag in rival.source.tags if any(_overlap(tag, mine) for mine in gate.source.tags)]
        if shared:
            yield ("gates", other, "promote"), f"gate {name} moves {there.repository}:{shared[0]} too"


def _overlap(pattern: str, other: str) -> bool:
    return fnmatchcase(pattern, other) or fnmatchcase(other, pattern)


def _app_misfits(document: GatesDocument, path: Path, app: AppDocument) -> Iterator[Misfit]:
    yield from _unknown_registry(document, (*path, "build", "registry"), app.build.registry)
    repository, _, tag = app.build.image.rpartition(":")
    if "{run}" not in tag or not _makes_tags(tag) or not _is_repository(repository):
        yield (*path, "build", "image"), "must be repository:tag with {run} in the tag: deployed tags must be unique"
    gate = document.gates.get(app.base.gate)
    if gate is None:
        yield (*path, "base", "gate"), f"there is no gate {app.base.gate!r} (known: {', '.join(document.gates)})"
    elif not any(fnmatchcase(app.base.tag, pattern) for pattern in gate.source.tags):
        yield (*path, "base", "tag"), f"gate {app.base.gate} takes no tag {app.base.tag!r}"


def _unknown_registry(document: GatesDocument, path: Path, name: str) -> Iterator[Misfit]:
    if name not in document.registries:
        yield path, f"there is no registry {name!r} (known: {', '.join(document.registries)})"


def _makes_tags(pattern: str) -> bool:
    try:
        parse_tag(pattern.replace("{tag}", "tag").replace("{run}", "run"))
    except Malformed:
        return False
    return True


def _is_repository(text: str) -> bool:
    try:
        parse_repository(text)
    except Malformed:
        return False
    return True
