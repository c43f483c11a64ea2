"""How things stand, for the eye."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Tone(StrEnum):
    """How something stands, for the eye; the word beside it says the same to everyone."""

    GOOD = "good"
    BAD = "bad"
    BUSY = "busy"
    WAITING = "waiting"
    IDLE = "idle"


_TONES = {
    "promoted": Tone.GOOD,
    "live": Tone.GOOD,
    "built": Tone.GOOD,
    "passed": Tone.GOOD,
    "failed": Tone.BAD,
    "restored": Tone.BAD,
    "unknown": Tone.BAD,
    "held": Tone.WAITING,
    "superseded": Tone.IDLE,
    "canceled": Tone.IDLE,
}


_LOUDNESS = (Tone.BAD, Tone.WAITING, Tone.BUSY, Tone.GOOD, Tone.IDLE)


def tone_of(state: str) -> Tone:
    """The tone of a candidate's, rollout's or verdict's state; what is not final is busy."""
    return _TONES.get(state, Tone.BUSY)


def loudest(tones: Iterable[Tone]) -> Tone:
    """What the whole is, of several: what is bad before what waits, and that before what is under way."""
    return min((Tone.GOOD, *tones), key=_LOUDNESS.index)
