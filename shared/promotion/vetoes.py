"""Which digests are banned from a gate's target repository."""

from __future__ import annotations

from collections.abc import Iterator

from shared.domain.decisions import Veto, veto_partition, veto_row
from shared.domain.policy import Gate
from shared.ports import Stored
from shared.ports.services import Services


class Vetoes:
    """The vetoes in the ledger, by target repository."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def target(self, gate: Gate) -> str:
        """The repository that a gate promotes into, `<login server>/<repository>`."""
        return f"{self._services.registry_rule(gate.promote.registry).login_server}/{gate.promote.repository}"

    def standing(self, gate: Gate, digest: str) -> Veto | None:
        """The veto that stands against a digest, or None."""
        stored = self.load(gate, digest)
        return stored.record if stored is not None and stored.record.stands else None

    def load(self, gate: Gate, digest: str) -> Stored[Veto] | None:
        """The veto against a digest, lifted or not."""
        return self._services.ledger.load(Veto, veto_partition(self.target(gate)), veto_row(digest))

    def all(self, gate: Gate) -> Iterator[Veto]:
        """Every veto of the target repository, lifted ones too."""
        return (stored.record for stored in self._services.ledger.list(Veto, veto_partition(self.target(gate))))
