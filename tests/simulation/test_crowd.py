"""Several workers at once, failing services, lost answers, clocks that disagree: the invariants hold."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.domain.candidate import CandidateState, Verdict
from shared.domain.image import Digest
from shared.domain.track import Track
from tests.fakes import World
from tests.simulation.crowd import Crowd

STORIES = 60


@pytest.mark.parametrize("seed", range(STORIES))
def test_whoever_gets_in_between_the_invariants_hold(seed: int) -> None:
    story = Crowd(seed)
    story.play()
    world = story.world
    check_gate(story)
    started = [world.tasks.runs[put.rpartition(":")[2]].started_at for put in world.containers.puts]
    assert started == sorted(started), "no older build is ever put over a newer one"
    live = world.app().live
    if world.stable_tag() is None:
        return
    assert live
    assert world.containers.groups["hello-world-aci"][0] == str(live), "what is recorded is what runs"
    build = world.tasks.runs[live.tag]
    base_moved_at = world.app().base_moved_at
    assert base_moved_at
    on_newest = build.values.get("BASE_IMAGE", "").endswith(str(world.stable_tag()))
    assert on_newest or build.started_at >= base_moved_at, "what runs was built on what the stable tag stands on"


@pytest.mark.parametrize("seed", range(STORIES))
def test_clocks_that_disagree_change_nothing_of_it(seed: int) -> None:
    story = Crowd(seed, skew_seconds=4.0)
    story.play()
    check_gate(story)


def check_gate(story: Crowd) -> None:
    world = story.world
    candidates = {candidate.digest: candidate for candidate in world.candidates()}
    passed = {d for d, c in candidates.items() if all(check.verdict is Verdict.PASSED for check in c.checks)}
    assert set(candidates) == {content for _, content in story.pushed}, "every push is handled"
    assert all(candidate.finished and candidate.announced for candidate in candidates.values()), "and told"
    assert all(rollout.finished and rollout.announced for rollout in world.rollouts())
    assert {content for _, content in world.registry.moves} <= passed, "1: only passed digests get a stable tag"
    done = [content for _, content in story.pushed if candidates[content].state is CandidateState.PROMOTED]
    assert world.stable_tag() == (done[-1] if done else None), "4: the newest promoted push, never an older one"
    check_track(world)
    examinations = Counter(run.values["IMAGE"] for run in world.tasks.runs.values() if "IMAGE" in run.values)
    assert set(examinations.values()) <= {1}, "5: one examination a digest"
    for content in done:
        assert len(world.unique_tags(content)) == 1
        assert ("base", world.unique_tags(content)[0]) in world.registry.locked
    assert all(candidates[content].state is CandidateState.SUPERSEDED for content in passed - set(done))


def check_track(world: World) -> None:
    track = world.ledger.load(Track, "node", "15-alpine")
    standing: Digest | None = track.record.digest if track else None
    assert standing == world.stable_tag(), "what the track says is what the tag is"
