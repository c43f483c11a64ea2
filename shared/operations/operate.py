"""What an operator can do. Every operation first says what it would do, then does it."""

from __future__ import annotations

from shared.operations.apps import AppOperations
from shared.operations.candidates import CandidateOperations
from shared.operations.gates import GateOperations
from shared.operations.sweeps import SweepOperations
from shared.operations.vetoes import VetoOperations
from shared.ports.services import Services


class Operate:
    """The operations, by what they act on."""

    def __init__(self, services: Services) -> None:
        self.candidates = CandidateOperations(services)
        self.gates = GateOperations(services)
        self.vetoes = VetoOperations(services, self.gates)
        self.apps = AppOperations(services)
        self.sweeps = SweepOperations(services)
