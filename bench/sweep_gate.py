"""A gate that tracks the tags of the benchmark's registry, with a ledger that has all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import msgspec
from azure.core.credentials import AzureNamedKeyCredential

from bench.loading import in_bulk
from shared.adapters.containers_aci import AciContainerRunner
from shared.adapters.ledger_tables import TableLedger
from shared.adapters.oci import Network, OciTagReader
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.subscriptions_eventgrid import EventGridSubscriptions
from shared.adapters.tasks_acr import AcrTaskRunner
from shared.bootstrap import SystemClock
from shared.domain.candidate import Candidate
from shared.domain.image import parse_digest, parse_tag
from shared.domain.observation import Observation
from shared.domain.policy import Policy, RegistryRule, Source
from shared.domain.stable_tag import StableTag
from shared.domain.targets.aci import AciRule
from shared.ports import Services
from shared.sweep.job import SweepJob
from shared.sweep.jobs.upstream import UpstreamJob
from shared.sweep.sweep import Sweep, SweepResult
from tests.fakes import World, digest, sample_policy

GATE = "node"
_TIME_LIMIT = timedelta(minutes=2)


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """The registry and repository that a gate reads, the tags that it tracks, and its ledger."""

    registry: str
    bundle: str
    repository: str
    tags: tuple[str, ...]
    ledger: str
    account: str
    key: str


class NoIdentity:
    """An identity that counts requests for a token and refuses them. Azure Resource Manager always requires one."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Any:
        """The identity, as adapters expect it."""
        return self

    def get_token(self, *scopes: str, **options: Any) -> NoReturn:
        """Count, and refuse."""
        self.asked += 1
        raise AssertionError(f"a sweep of upstream tags requested a token for {scopes}")


def upstream_jobs(services: Services) -> Iterator[SweepJob]:
    """The upstream jobs only: the cost of stable tags and apps is not measured here."""
    return (UpstreamJob(services, gate) for gate in services.policy.gates.values())


class BenchGate:
    """The real sweep, reader and ledger, and the real adapters for Azure Resource Manager, which must not be used."""

    def __init__(self, where: Where) -> None:
        key: Any = AzureNamedKeyCredential(where.account, where.key)  # plain HTTP requires a key
        self.where, self.identity = where, NoIdentity()
        self.ledger, vault = TableLedger(where.ledger, lambda: key), VaultCredentials("none", self.identity)
        self.services: Services = dataclasses.replace(
            World(_policy(where)).services,
            ledger=self.ledger,
            tags=OciTagReader(vault, self.identity, Network(ca_bundle=where.bundle)),
            clock=SystemClock(),
            registry=AcrRegistry(self.identity, vault),
            tasks=AcrTaskRunner(self.identity, vault),
            targets={AciRule.kind: AciContainerRunner(self.identity, vault)},
            subscriptions=EventGridSubscriptions(self.identity, ""),
        )

    def sweep(self) -> SweepResult:
        """Run one sweep to its end."""
        return Sweep(self.services, jobs=upstream_jobs).run(datetime.now(UTC) + _TIME_LIMIT, at_once=True)

    def know(self, digests: Mapping[str, str], *, promoted: bool) -> None:
        """Record in the ledger that every tag was observed; with `promoted` also its candidate and its stable tag."""
        sample, stable = _promoted()
        with in_bulk(self.ledger):
            for name, text in digests.items() if promoted else ():
                self.ledger.insert(msgspec.structs.replace(sample, digest=parse_digest(text), tag=parse_tag(name)))
            for name, text in digests.items() if promoted else ():
                self.ledger.insert(msgspec.structs.replace(stable, tag=parse_tag(name), digest=parse_digest(text)))
            for name, text in digests.items():
                one = Observation(gate=GATE, tag=parse_tag(name), digest=parse_digest(text), sequence=1)
                self.ledger.insert(one)


def _policy(where: Where) -> Policy:
    policy = sample_policy(apps={})
    source = Source(registry="own", repository=where.repository, tags=where.tags)
    gate = msgspec.structs.replace(policy.gates[GATE], source=source)
    own = RegistryRule(name="own", server=where.registry, private=True)
    return msgspec.structs.replace(policy, gates={GATE: gate}, registries={**policy.registries, "own": own})


def _promoted() -> tuple[Candidate, StableTag]:
    """A promoted candidate and its stable tag."""
    world = World()
    world.push("15-alpine", digest("bench"))
    world.settle()
    stored = world.ledger.load(StableTag, GATE, "15-alpine")
    assert stored is not None
    return world.candidates()[0], stored.record
