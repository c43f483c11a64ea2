"""What the sweep asks of Azure and of registries when there is nothing to find, and when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
import pytest

from shared.checks.approval import ApprovalCheck
from shared.domain.errors import Unreachable
from shared.domain.policy import RegistryRule
from shared.domain.sweep import SweepRecord
from shared.intake.upstreams import UpstreamRecord
from tests.fakes import START, World, digest, sample_policy

GREEN = digest("green")


@pytest.mark.parametrize(
    ("every", "after", "due"), [(300, 299, True), (900, 890, True), (900, 600, False), (60, 30, False)]
)
def test_a_timer_that_ticks_a_little_early_does_not_make_a_job_wait_for_the_next_tick(
    every: float, after: float, due: bool
) -> None:
    record = SweepRecord(job="upstream.node", round=1, last_round=1, began_at=START)
    assert record.is_due(START + timedelta(seconds=after), every) is due


def test_the_runs_of_a_task_are_not_listed_while_candidates_wait_for_a_person() -> None:
    policy = sample_policy()
    gate = policy.gates["node"]
    gate = msgspec.structs.replace(gate, checks=(*gate.checks, ApprovalCheck()))
    world = World(msgspec.structs.replace(policy, gates={"node": gate}))
    world.push("15-alpine", GREEN)
    world.settle()
    listed: list[datetime] = []
    real = world.tasks.marked

    def marked(registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        listed.append(since)
        return real(registry, task, since)

    world.tasks.marked = marked  # type: ignore[method-assign]
    world.clock.forward(86_400)
    world.sweep_now()
    assert listed == []
    asked_at = world.clock.now()
    world.push("15.14", digest("blue"))
    world.next_item()
    world.sweep_now()
    assert listed == [asked_at + timedelta(milliseconds=210)]


def test_an_upstream_that_has_failed_for_years_is_left_alone_for_an_hour_at_most() -> None:
    record = UpstreamRecord(server="hub.example.com", failures=5000).failed(Unreachable("away"), START)
    assert record.seconds_left(START) == 3600
