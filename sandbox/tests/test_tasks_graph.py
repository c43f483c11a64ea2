"""Which step waits for which."""

from __future__ import annotations

import pytest

from sandbox.tasks.taskfile.graph import faults, predecessors
from sandbox.tasks.taskfile.model import Step, StepKind


def step(name: str, *when: str, absent: bool = False) -> Step:
    return Step(id=name, kind=StepKind.CMD, run="x", when=None if absent else when)


def test_without_when_a_step_follows_the_one_before_it() -> None:
    steps = [step("a", absent=True), step("b", absent=True), step("c", absent=True)]
    assert predecessors(steps) == {"a": (), "b": ("a",), "c": ("b",)}


def test_a_dash_starts_a_step_at_once_and_the_next_one_follows_it() -> None:
    steps = [step("a", "-"), step("b", "-"), step("c", absent=True), step("d", "a", "b")]
    assert predecessors(steps) == {"a": (), "b": (), "c": ("b",), "d": ("a", "b")}


def test_a_step_may_wait_for_a_later_one() -> None:
    assert list(faults([step("a", "b"), step("b", "-")])) == []


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([step("a", "a")], "a waits for itself"),
        ([step("a", "z")], "a waits for z, which is not a step"),
        ([step("a", "-", "b"), step("b", "-")], "has '-'"),
        ([step("a", "c"), step("b", "a"), step("c", "b")], "wait for each other: a -> c -> b -> a"),
        ([step("a", "b"), step("b", absent=True)], "wait for each other"),
    ],
)
def test_steps_that_could_never_run_are_named(steps: list[Step], fault: str) -> None:
    messages = [message for _, message in faults(steps)]
    assert any(fault in message for message in messages), messages
