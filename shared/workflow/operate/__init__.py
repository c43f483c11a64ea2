"""What an operator can do. Every verb first says what it would do, then does it."""

from __future__ import annotations

from shared.workflow.operate.apps import AppVerbs
from shared.workflow.operate.candidates import CandidateVerbs
from shared.workflow.operate.gates import GateVerbs
from shared.workflow.operate.sweeps import SweepVerbs
from shared.workflow.operate.vetoes import Retreat, VetoVerbs
from shared.workflow.plan import Effect, Plan, Who
from shared.workflow.services import Services

__all__ = ["Effect", "Operate", "Plan", "Retreat", "Who"]


class Operate:
    """The verbs, by what they act on."""

    def __init__(self, services: Services) -> None:
        self.candidates = CandidateVerbs(services)
        self.gates = GateVerbs(services)
        self.vetoes = VetoVerbs(services, self.gates)
        self.apps = AppVerbs(services)
        self.sweeps = SweepVerbs(services)
