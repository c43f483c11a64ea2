"""What became of a sweep."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from shared.workflow.plan import Effect


class Standing(StrEnum):
    """How far a beat came in this sweep."""

    DONE = "done"
    GOES_ON = "goes on with the next sweep"
    WAITS = "waits"
    TAKEN = "somebody else is sweeping it"
    NOT_DUE = "not due yet"
    FAILED = "failed"


class BeatReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one beat."""

    beat: str
    standing: Standing
    looked: int = 0
    problem: str = ""
    effects: tuple[Effect, ...] = ()


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all beats, in the order of the rules."""

    dry_run: bool
    beats: tuple[BeatReport, ...]

    @property
    def effects(self) -> tuple[Effect, ...]:
        """All that was found or done (in a dry run: would be)."""
        return tuple(effect for beat in self.beats for effect in beat.effects)

    @property
    def unfinished(self) -> tuple[BeatReport, ...]:
        """The beats that did not come to the end of their round, and ought to have."""
        return tuple(beat for beat in self.beats if beat.standing not in (Standing.DONE, Standing.NOT_DUE))
