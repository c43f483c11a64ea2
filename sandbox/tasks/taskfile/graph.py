"""Dependencies between steps.

Without `when` a step waits for the previous one in the file; `when: ["-"]` starts it immediately; a list of ids makes
it wait for exactly those, which stand before it. Source: https://github.com/Azure/acr-builder (graph/dag.go)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sandbox.tasks.taskfile.model import IMMEDIATELY, Step

ROOT = "acb_root"
"""The id of what all steps follow: no step can have it, and to wait for it is to wait for nothing."""


def predecessors(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """The ids of the steps that must have succeeded before a step starts, by the id of that step."""
    before: dict[str, tuple[str, ...]] = {}
    previous: tuple[str, ...] = ()
    for step in steps:
        before[step.id] = tuple(name for name in step.when if name not in (IMMEDIATELY, ROOT))
        if not step.when:
            before[step.id] = previous
        previous = (step.id,)
    return before


def concurrent(some: Sequence[Step], steps: Sequence[Step]) -> bool:
    """Whether two of some of the steps may run at the same time: neither waits for the other, directly or not."""
    before = predecessors(steps)
    waited: dict[str, set[str]] = {}
    for step in steps:
        waited[step.id] = set(before[step.id]).union(*(waited[name] for name in before[step.id]))
    earlier: list[str] = []
    for step in some:
        if not waited[step.id].issuperset(earlier):
            return True
        earlier.append(step.id)
    return False


def faults(steps: Sequence[Step]) -> Iterator[tuple[int, str]]:
    """The faults that prevent the steps from being run: pairs of the step's index and a message."""
    known = {ROOT}
    later = {step.id for step in steps}
    for index, step in enumerate(steps):
        yield from ((index, message) for message in _faults(step, known, later))
        known.add(step.id)


def _faults(step: Step, known: set[str], later: set[str]) -> Iterator[str]:
    if step.id == ROOT:
        yield f"{ROOT} is a reserved id"
    elif step.id in known:
        yield f"the step id {step.id} is used twice"
    if IMMEDIATELY in step.when and len(step.when) > 1:
        yield f"step {step.id}: when has '-' (start immediately) together with other steps"
    if len(set(step.when)) < len(step.when):
        yield f"step {step.id} waits for a step twice: in ACR it would never start"
    for name in dict.fromkeys(step.when):
        if name == step.id:
            yield f"step {step.id} waits for itself"
        elif name not in known and name != IMMEDIATELY:
            where = "which stands after it: a step can wait only for those before it" if name in later else ""
            yield f"step {step.id} waits for {name or 'an empty name'}, {where or 'which is not a step'}"
