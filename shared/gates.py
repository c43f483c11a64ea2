"""gates.yaml -> the policy. Every fault is reported at once, each with its line."""

from __future__ import annotations

import msgspec

from shared.domain.errors import Misconfigured
from shared.domain.policy import (
    App,
    ApprovalCheck,
    BaseRule,
    BuildRule,
    Check,
    DeployRule,
    Drift,
    Gate,
    HealthRule,
    Policy,
    PromoteBy,
    PromotionRule,
    RegistryRule,
    Source,
    TaskCheck,
)
from shared.faults import find_faults
from shared.gates_document import (
    AppDocument,
    CheckDocument,
    DeployDocument,
    GateDocument,
    GatesDocument,
    RegistryDocument,
    SourceDocument,
)
from shared.gates_misfits import find_misfits
from shared.gates_sources import DOCKER_HUB, login_server_of, source_of
from shared.yaml_places import Path, YamlFault, load_with_places

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class GatesFault(msgspec.Struct, frozen=True):
    """One fault of gates.yaml: line and column from 1, the path of keys, and what is wrong."""

    line: int
    column: int
    path: str
    problem: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"line {self.line}, column {self.column}: {where}{self.problem}"


class InvalidGates(Misconfigured):
    """gates.yaml has faults; `faults` are all of them, in the order of their lines."""

    def __init__(self, name: str, faults: list[GatesFault]) -> None:
        self.faults = sorted(faults, key=lambda fault: (fault.line, fault.column))
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{name} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n{lines}")


def parse_gates(text: str, name: str = "gates.yaml") -> Policy:
    """The policy that a gates.yaml describes.

    Raises:
        InvalidGates: it is no YAML, does not fit its types, or its parts do not fit each other.
    """
    try:
        value, places = load_with_places(text)
    except YamlFault as error:
        raise InvalidGates(name, [GatesFault(error.line, error.column, "", error.problem)]) from error
    found = list(find_faults(value, GatesDocument))
    if not found:
        document = msgspec.convert(value, GatesDocument)
        found = list(find_misfits(document))
        if not found:
            return _policy(document)
    raise InvalidGates(name, [_placed(path, problem, places) for path, problem in found])


def _placed(path: Path, problem: str, places: dict[Path, tuple[int, int]]) -> GatesFault:
    known = path
    while known not in places:
        known = known[:-1]
    line, column = places[known]
    return GatesFault(line, column, ".".join(str(part) for part in path), problem)


def _policy(document: GatesDocument) -> Policy:
    registries = {name: _registry(name, entry) for name, entry in document.registries.items()}
    return Policy(
        registries=registries,
        gates={name: _gate(name, entry, registries) for name, entry in document.gates.items()},
        apps={name: _app(name, entry, registries) for name, entry in document.apps.items()},
    )


def _registry(name: str, entry: RegistryDocument) -> RegistryRule:
    return RegistryRule(
        name=name,
        id=entry.id or "",
        login_server=login_server_of(entry),
        credentials=entry.credentials or "",
        private=entry.private,
        watch_seconds=_seconds(entry.watch),
        pace=entry.pace or 0,
    )


def _source(entry: SourceDocument, registry: RegistryRule) -> Source:
    """The source. This is the one place where Docker Hub's official images get their full name, `library/node`."""
    source = source_of(entry)
    if registry.login_server != DOCKER_HUB or "/" in source.repository:
        return source
    return msgspec.structs.replace(source, repository=f"library/{source.repository}")


def _gate(name: str, entry: GateDocument, registries: dict[str, RegistryRule]) -> Gate:
    return Gate(
        name=name,
        source=_source(entry.source, registries[entry.source.registry]),
        checks=tuple(_check(check) for check in entry.checks),
        promote=PromotionRule(
            registry=entry.promote.registry,
            repository=entry.promote.repository,
            unique=entry.promote.unique,
            lock=entry.promote.lock,
            by=PromoteBy(entry.promote.by),
        ),
        drift=Drift(entry.drift),
        silent_after_seconds=_seconds(entry.silent_after),
    )


def _check(entry: CheckDocument) -> Check:
    if entry.task is None:
        assert entry.approval is not None  # a check of no kind is a misfit
        return ApprovalCheck(two_persons=entry.approval.two_persons)
    return TaskCheck(
        registry=entry.task.registry,
        task=entry.task.task,
        timeout_seconds=_seconds(entry.task.timeout),
        values=entry.task.values,
    )


def _app(name: str, entry: AppDocument, registries: dict[str, RegistryRule]) -> App:
    subscription = registries[entry.build.registry].id.split("/")[2]
    return App(
        name=name,
        base=BaseRule(gate=entry.base.gate, tag=entry.base.tag),
        build=BuildRule(
            registry=entry.build.registry,
            task=entry.build.task,
            image=entry.build.image,
            timeout_seconds=_seconds(entry.build.timeout),
            values=entry.build.values,
        ),
        deploy=_deploy(entry.deploy, subscription) if entry.deploy else None,
        drift=Drift(entry.drift),
    )


def _deploy(entry: DeployDocument, subscription: str) -> DeployRule:
    return DeployRule(
        container_group=entry.aci,
        resource_group=entry.resource_group,
        subscription=entry.subscription or subscription,
        location=entry.location,
        port=entry.port,
        cpu=entry.cpu,
        memory_gb=entry.memory_gb,
        environment=entry.environment,
        dns_label=entry.dns_label,
        identity=entry.identity,
        restart_policy=entry.restart,
        health=HealthRule(path=entry.health.path, within_seconds=_seconds(entry.health.within)),
    )


def _seconds(duration: str | None) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]] if duration else 0
