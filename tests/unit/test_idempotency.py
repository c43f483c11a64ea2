"""Answers to repeats: kept for a week, and no longer."""

from __future__ import annotations

import pytest

from shared.domain.errors import Malformed, Refused, Retry
from shared.domain.retention import IdempotentCall
from shared.operations.idempotency import PURGE_LIMIT, IdempotentCalls
from tests.fakes import World

DAY = 24 * 3600.0


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> tuple[int, str]:
        self.times += 1
        return 202, f"{self.times}"


def kept(world: World) -> int:
    return sum(kind == IdempotentCall.__name__ for kind, _, _ in world.ledger.rows)


def test_an_answer_is_kept_for_a_week_and_then_the_key_is_a_new_one() -> None:
    world, work = World(), Work()
    calls = IdempotentCalls(world.services)
    assert calls.once("key", "call", "ada", work) == (202, "1")
    world.clock.forward(6.9 * DAY)
    assert calls.once("key", "call", "ada", work) == (202, "1")
    world.clock.forward(0.2 * DAY)
    assert calls.once("key", "another call", "ada", work) == (202, "2")


def test_new_answers_remove_old_ones_so_that_they_stay_few() -> None:
    world, work = World(), Work()
    calls = IdempotentCalls(world.services)
    for number in range(400):
        calls.once(f"old {number}", "call", "ada", work)
    world.clock.forward(8 * DAY)
    for number in range(100):
        calls.once(f"new {number}", "call", "ada", work)
    assert kept(world) == 100


def test_a_new_answer_removes_a_few_old_ones_at_most() -> None:
    world, work = World(), Work()
    calls = IdempotentCalls(world.services)
    for number in range(1000):
        calls.once(f"old {number}", "call", "ada", work)
    world.clock.forward(8 * DAY)
    calls.once("new", "call", "ada", work)
    assert kept(world) == 1001 - PURGE_LIMIT


def test_a_call_is_answered_though_old_answers_cannot_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    world, work = World(), Work()

    def purge(*_: object) -> int:
        raise Retry("503")

    monkeypatch.setattr(world.ledger, "purge", purge)
    assert IdempotentCalls(world.services).once("key", "call", "ada", work) == (202, "1")


def test_what_is_under_way_is_not_begun_twice() -> None:
    world = World()
    calls = IdempotentCalls(world.services)

    def meanwhile() -> tuple[int, str]:
        with pytest.raises(Refused, match="still in progress"):
            calls.once("key", "call", "ada", Work())
        with pytest.raises(Malformed, match="another call"):
            calls.once("key", "another call", "ada", Work())
        return 202, "done"

    assert calls.once("key", "call", "ada", meanwhile) == (202, "done")
