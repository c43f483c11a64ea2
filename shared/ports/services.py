"""Everything a workflow works with: the rules and the ports, handed over as one."""

from dataclasses import dataclass

from shared.domain.policy import App, Gate, Policy, RegistryRule
from shared.ports import (
    Announcer,
    Archive,
    Clock,
    ContainerRunner,
    Ledger,
    Probe,
    Registry,
    Secrets,
    Subscriptions,
    TagReader,
    TaskRunner,
    WorkQueue,
)


@dataclass(frozen=True, slots=True)
class Services:
    """The ports and the policy of this process."""

    policy: Policy
    ledger: Ledger
    queue: WorkQueue
    registry: Registry
    tags: TagReader
    tasks: TaskRunner
    containers: ContainerRunner
    probe: Probe
    archive: Archive
    announcer: Announcer
    clock: Clock
    secrets: Secrets
    subscriptions: Subscriptions

    def gate(self, name: str) -> Gate | None:
        """The gate of that name, if it is still in the rules."""
        return self.policy.gates.get(name)

    def app(self, name: str) -> App | None:
        """The app of that name, if it is still in the rules."""
        return self.policy.apps.get(name)

    def registry_rule(self, name: str) -> RegistryRule:
        """The registry of that name; the rules were checked to name only those that are there."""
        return self.policy.registries[name]
