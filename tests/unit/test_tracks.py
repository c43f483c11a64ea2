"""The claim on a stable tag: whoever has to wait is told for whom, and nobody waits for a claim past its time."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from shared.domain.errors import Busy
from shared.domain.track import Track
from shared.ports import Stored
from shared.workflow.tracks import Tracks
from tests.fakes import World, digest


def claimed_by(world: World, mover: str) -> Stored[Track]:
    """The track of a promoted tag, claimed for a minute."""
    world.push("15-alpine", digest("Green"))
    world.settle()
    stored = world.ledger.load(Track, "node", "15-alpine")
    assert stored is not None
    until = world.clock.now() + timedelta(minutes=1)
    return world.ledger.save(stored, msgspec.structs.replace(stored.record, moving=mover, moving_until=until))


@pytest.mark.parametrize(
    ("mover", "words"),
    [
        ("sweep", "15-alpine is being put back by the sweep"),
        ("7d8c-001", "15-alpine is being moved to candidate 7d8c-001"),
    ],
)
def test_whoever_has_to_wait_is_told_for_whom(mover: str, words: str) -> None:
    world = World()
    stored = claimed_by(world, mover)
    with pytest.raises(Busy, match=f"^{words}$"):
        Tracks(world.services)._claim(stored, "0a1b-001")


def test_nobody_waits_for_a_claim_past_its_time() -> None:
    world = World()
    stored = claimed_by(world, "7d8c-001")
    world.clock.forward(61)
    Tracks(world.services).put_back(world.policy.gates["node"], stored)
    after = world.ledger.load(Track, "node", "15-alpine")
    assert after is not None
    assert (after.record.moving, after.record.moving_until) == ("", None)
