"""Drills: what a network and a distributed queue do now and then, on demand. The sandbox's own, not Azure's."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Annotated

import msgspec
from aiohttp import web

from sandbox.web import Call, Surface, json_answer

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How deliveries to apps (functions and webhooks) are disturbed; storage queues get their events all the same.

    `off`: every app counts as a stopped one, which answers 403: Event Grid never tries such an event again.
    `drop` and `duplicate`: fractions of the deliveries that are lost or doubled. `shuffle_seconds` (not scaled): each
    delivery's start is shifted at random within them, so that they overtake each other. A seed makes a drill
    repeatable: the same events in the same order share the same fate, for each subscription by itself.
    """

    off: bool = False
    drop: Fraction = 0.0
    duplicate: Fraction = 0.0
    shuffle_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    seed: int | None = None


class Counts(msgspec.Struct, kw_only=True):
    """What happened since the start: `published` counts events, the others an event for each subscription.

    `dropped` were given up by Event Grid's rules, those refused while deliveries were off among them
    (`refused_while_off`, which counts dead-lettered ones too); `lost_by_fault` were lost by a drill.
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
    """The disturbance in force; none at the start of every run."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.set(FaultSettings())

    def set(self, settings: FaultSettings) -> None:
        """Disturb deliveries from now on."""
        self.settings = settings
        self._seed = random.randrange(2**63) if settings.seed is None else settings.seed  # noqa: S311
        self._drawn: dict[str, int] = defaultdict(int)

    def delays(self, subscription: str) -> list[float]:
        """When copies of a subscription's next delivery start, in seconds from now: `[0.0]` undisturbed, `[]` lost."""
        settings, queue = self.settings, subscription.lower()
        self._drawn[queue] += 1
        # One generator a delivery, whatever was drawn for others: what overtakes it elsewhere changes nothing here.
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
            """The disturbance of event deliveries in force."""
            return json_answer(self.settings)
