"""Fault injection: occasional failures of networks and distributed queues, on demand. Not a feature of Azure."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Annotated

import msgspec
from aiohttp import web

from sandbox.web import Call, Surface, json_answer

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Faults in deliveries to apps (functions and webhooks); deliveries to storage queues are not affected.

    `off`: every app is treated as stopped and responds with 403: Event Grid never retries such an event.
    `drop` and `duplicate`: fractions of the deliveries that are lost or duplicated. `shuffle_seconds` (not scaled):
    each delivery is delayed by a random time up to this, so that deliveries overtake each other. A `seed` makes faults
    repeatable: the same events in the same order have the same faults, for each subscription independently.
    """

    off: bool = False
    drop: Fraction = 0.0
    duplicate: Fraction = 0.0
    shuffle_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    seed: int | None = None


class Counts(msgspec.Struct, kw_only=True):
    """Counts since the start: `published` counts events, the others count an event once per subscription.

    `dropped` were abandoned by Event Grid's rules, including those refused while deliveries were off
    (`refused_while_off`, which also counts dead-lettered ones); `lost_by_fault` were lost by an injected fault.
    """

    published: int = 0
    matched: int = 0
    attempts: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    refused_while_off: int = 0
    lost_by_fault: int = 0
    doubled_by_fault: int = 0


class Faults:
    """The faults in effect; none at the start of every run."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.set(FaultSettings())

    def set(self, settings: FaultSettings) -> None:
        """Apply the settings to the deliveries that follow."""
        self.settings = settings
        self._seed = random.randrange(2**63) if settings.seed is None else settings.seed  # noqa: S311
        self._drawn: dict[str, int] = defaultdict(int)

    def delays(self, subscription: str) -> list[float]:
        """Delays of the copies of a subscription's next delivery, in seconds: `[0.0]` without a fault, `[]` if lost."""
        settings, queue = self.settings, subscription.lower()
        self._drawn[queue] += 1
        # One generator per delivery, so that the order of deliveries to other subscriptions does not change its faults.
        draw = random.Random(f"{self._seed} {self._drawn[queue]} {queue}").random  # noqa: S311
        lost, twice = draw() < settings.drop, draw() < settings.duplicate
        if lost:
            self.counts.lost_by_fault += 1
            return []
        self.counts.doubled_by_fault += twice
        return [draw() * settings.shuffle_seconds for _ in range(1 + twice)]

    def mount(self, local: Surface) -> None:
        """Add the control operations to the sandbox's own surface."""

        @local.operation("PUT", "/eventgrid/faults")
        async def set_faults(call: Call) -> web.StreamResponse:
            """Turn event deliveries off, or drop, duplicate or shuffle them, from now on (fractions, seconds)."""
            self.set(await call.body(FaultSettings))
            return json_answer(self.settings)

        @local.operation("GET", "/eventgrid/faults")
        async def get_faults(call: Call) -> web.StreamResponse:
            """The faults of event deliveries that are in effect."""
            return json_answer(self.settings)
