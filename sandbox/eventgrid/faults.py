"""Drills: what a network and a distributed queue do now and then, on demand. The sandbox's own, not Azure's."""

from __future__ import annotations

import random
from typing import Annotated

import msgspec
from aiohttp import web

from sandbox.web import Call, Surface, json_answer

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How deliveries are disturbed: fractions of them that are lost or doubled, and the seconds (not scaled) within
    which each one's start is shifted at random, so that they overtake each other. A seed makes a drill repeatable.
    """

    drop: Fraction = 0.0
    duplicate: Fraction = 0.0
    shuffle_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    seed: int | None = None


class Counts(msgspec.Struct, kw_only=True):
    """What happened since the start: `published` counts events, the others an event for each subscription."""

    published: int = 0
    matched: int = 0
    attempts: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    lost_by_fault: int = 0
    doubled_by_fault: int = 0


class Faults:
    """The disturbance in force; none at the start of every run."""

    def __init__(self) -> None:
        self.settings, self.counts, self._random = FaultSettings(), Counts(), random.Random()  # noqa: S311

    def set(self, settings: FaultSettings) -> None:
        """Disturb deliveries from now on."""
        self.settings, self._random = settings, random.Random(settings.seed)  # noqa: S311

    def delays(self) -> list[float]:
        """When copies of one delivery start, in seconds from now: `[0.0]` undisturbed, `[]` where it is lost."""
        settings, draw = self.settings, self._random.random
        if settings.drop and draw() < settings.drop:
            self.counts.lost_by_fault += 1
            return []
        twice = bool(settings.duplicate) and draw() < settings.duplicate
        self.counts.doubled_by_fault += twice
        return [draw() * settings.shuffle_seconds for _ in range(1 + twice)]

    def mount(self, local: Surface) -> None:
        """Add the control operations to the sandbox's own surface."""

        @local.operation("PUT", "/eventgrid/faults")
        async def set_faults(call: Call) -> web.StreamResponse:
            """Drop, duplicate or shuffle event deliveries from now on (fractions 0 to 1, seconds)."""
            self.set(await call.body(FaultSettings))
            return json_answer(self.settings)

        @local.operation("GET", "/eventgrid/faults")
        async def get_faults(call: Call) -> web.StreamResponse:
            """The disturbance of event deliveries in force."""
            return json_answer(self.settings)
