"""Which step waits for which."""

from __future__ import annotations

import pytest

from sandbox.tasks.taskfile.graph import concurrent, faults, predecessors
from sandbox.tasks.taskfile.model import Step, StepKind


def step(name: str, *when: str) -> Step:
    return Step(id=name, kind=StepKind.CMD, run="x", when=when)


def test_without_when_a_step_follows_the_one_before_it() -> None:
    steps = [step("a"), step("b"), step("c")]
    assert predecessors(steps) == {"a": (), "b": ("a",), "c": ("b",)}
    assert not concurrent(steps, steps)


def test_a_dash_starts_a_step_at_once_and_the_next_one_follows_it() -> None:
    steps = [step("a", "-"), step("b", "-"), step("c"), step("d", "a", "b")]
    assert predecessors(steps) == {"a": (), "b": (), "c": ("b",), "d": ("a", "b")}
    assert concurrent(steps, steps)
    assert not concurrent([steps[1], steps[2]], steps)


def test_a_step_waits_for_those_before_it_only() -> None:
    assert list(faults([step("a", "-"), step("b", "a"), step("c", "acb_root")])) == []
    assert [message for _, message in faults([step("a", "b"), step("b", "-")])] == [
        "step a waits for b, which stands after it: a step can wait only for those before it"
    ]


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([step("a", "a")], "a waits for itself"),
        ([step("a", "z")], "a waits for z, which is not a step"),
        ([step("a", "")], "a waits for an empty name"),
        ([step("b", "-"), step("a", "-", "b")], "has '-'"),
        ([step("b", "-"), step("a", "b", "b")], "waits for a step twice"),
        ([step("a", "-"), step("a", "-")], "the step id a is used twice"),
        ([step("acb_root", "-")], "acb_root is a reserved id"),
    ],
)
def test_steps_that_could_never_run_are_named(steps: list[Step], fault: str) -> None:
    assert any(fault in message for _, message in faults(steps)), list(faults(steps))
