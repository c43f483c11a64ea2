"""Operators, rule changes, harm and lost events at once: what operators decided stands, and the sweep ends the rest."""

from __future__ import annotations

import pytest

from shared.domain.candidate import CandidateState
from tests.simulation.busy_gate import BusyGate

STORIES = 30
_NOT_TO_BE_PROMOTED = (CandidateState.FAILED, CandidateState.CANCELED)


@pytest.mark.parametrize("skew", [0.0, 120.0], ids=["clocks agree", "clocks are minutes apart"])
@pytest.mark.parametrize("seed", range(STORIES))
def test_the_sweep_works_with_operators_and_never_against_them(seed: int, skew: float) -> None:
    story = BusyGate(seed, skew_seconds=skew)
    story.play()
    assert story.faults == []
    assert all(candidate.finished for candidate in story.world.candidates())
    track, upstream = story.track, story.upstream
    if track is None or upstream is None:
        return
    stable, latest = story.world.stable_tag(), story.latest(upstream)
    assert latest is not None, "6: what upstream is now was looked at"
    if track.digest is not None and not story.is_vetoed(track.digest):
        last = story.latest(track.digest)
        assert last is not None
        assert stable == track.digest or last.state is CandidateState.FAILED, "what was harmed is mended"
    if track.hold is None and not story.is_vetoed(upstream) and latest.state not in _NOT_TO_BE_PROMOTED:
        assert stable == upstream, "what passed is promoted"
