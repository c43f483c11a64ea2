"""Where parts of gates.yaml that are right by themselves do not fit each other."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from shared.domain.errors import Malformed
from shared.domain.image import parse_repository, parse_tag
from shared.domain.tag_rule import tags_in_words
from shared.gates_document import AppDocument, GateDocument, GatesDocument, RegistryDocument
from shared.gates_sources import find_rivals, login_server_of, source_misfits, source_of, takes
from shared.yaml_places import Misfit, Path


def find_misfits(document: GatesDocument) -> Iterator[Misfit]:
    """Every misfit: its path in the document, and what is wrong."""
    yield from _registry_misfits(document.registries)
    for name, gate in document.gates.items():
        yield from _gate_misfits(document, ("gates", name), gate)
    yield from find_rivals(document)
    for name, app in document.apps.items():
        yield from _app_misfits(document, ("apps", name), app)
    deploys = {name: app.deploy for name, app in document.apps.items() if app.deploy}
    groups = {name: (rule.subscription, rule.resource_group.lower(), rule.aci) for name, rule in deploys.items()}
    for name, other in _repeated(groups):
        yield ("apps", name, "deploy", "aci"), f"app {other} deploys to {deploys[name].aci} too"


def _registry_misfits(registries: Mapping[str, RegistryDocument]) -> Iterator[Misfit]:
    ids = {name: registry.id.lower() for name, registry in registries.items() if registry.id}
    same_ids = dict(_repeated(ids))
    for name, other in same_ids.items():
        yield ("registries", name, "id"), f"registry {other} has this id too: one name a registry"
    servers = {
        name: login_server_of(registry) for name, registry in registries.items() if registry.id or registry.server
    }
    for name, other in _repeated(servers):
        if name not in same_ids:
            yield ("registries", name, "server"), f"registry {other} is {servers[name]} too: one name a registry"
    for name, registry in registries.items():
        if not registry.id and not registry.server:
            yield ("registries", name), "a registry has the `id` of an Azure registry, or the `server` of any other"


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
    yield from source_misfits((*path, "source"), gate.source)
    yield from _not_azure(document, (*path, "promote", "registry"), gate.promote.registry, "images are promoted to")
    for index, check in enumerate(gate.checks):
        if (check.task is None) == (check.approval is None):
            yield (*path, "checks", index), "a check is of exactly one kind: task or approval"
        if check.task is not None:
            place = (*path, "checks", index, "task", "registry")
            yield from _not_azure(document, place, check.task.registry, "ACR Tasks run in")
    if "{run}" not in gate.promote.unique:
        yield (*path, "promote", "unique"), "must contain {run}: only that makes the tag unique"
    elif not _makes_tags(gate.promote.unique):
        yield (*path, "promote", "unique"), "must be a tag once {tag} and {run} are filled in"
    source = (gate.source.registry, gate.source.repository)
    if source == (gate.promote.registry, gate.promote.repository):
        yield (*path, "promote"), "promotes into its own source: every promotion would be a new candidate"


def _app_misfits(document: GatesDocument, path: Path, app: AppDocument) -> Iterator[Misfit]:
    yield from _not_azure(document, (*path, "build", "registry"), app.build.registry, "ACR Tasks run in")
    repository, _, tag = app.build.image.rpartition(":")
    if "{run}" not in tag or not _makes_tags(tag) or not _is_repository(repository):
        yield (*path, "build", "image"), "must be repository:tag with {run} in the tag: deployed tags must be unique"
    gate = document.gates.get(app.base.gate)
    if gate is None:
        yield (*path, "base", "gate"), f"there is no gate {app.base.gate!r} (known: {', '.join(document.gates)})"
    elif not takes(gate.source, app.base.tag):
        yield (
            (*path, "base", "tag"),
            f"gate {app.base.gate} takes no tag {app.base.tag!r}: it takes {tags_in_words(source_of(gate.source))}",
        )


def _unknown_registry(document: GatesDocument, path: Path, name: str) -> Iterator[Misfit]:
    if name not in document.registries:
        yield path, f"there is no registry {name!r} (known: {', '.join(document.registries)})"


def _not_azure(document: GatesDocument, path: Path, name: str, use: str) -> Iterator[Misfit]:
    """Where a registry is unknown, or is none of Azure's although it must be."""
    yield from _unknown_registry(document, path, name)
    registry = document.registries.get(name)
    if registry is not None and registry.server and not registry.id:
        yield path, f"registry {name} has no `id`: it can be a source only, {use} Azure registries alone"


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
