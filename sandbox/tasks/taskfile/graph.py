"""Dependencies between steps.

Without `when` a step waits for the previous one in the file; `when: ["-"]` starts it immediately; a list of ids makes
it wait for exactly those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from sandbox.tasks.taskfile.model import IMMEDIATELY, Step


def predecessors(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """The ids of the steps that must have succeeded before a step starts, by the id of that step."""
    before: dict[str, tuple[str, ...]] = {}
    previous: tuple[str, ...] = ()
    for step in steps:
        if step.when is None:
            before[step.id] = previous
        else:
            before[step.id] = tuple(name for name in step.when if name != IMMEDIATELY)
        previous = (step.id,)
    return before


def faults(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    """The faults that prevent the steps from being run: pairs of step id and message."""
    known = {step.id for step in steps}
    for step in steps:
        when = step.when or ()
        if IMMEDIATELY in when and len(when) > 1:
            yield step.id, f"step {step.id}: when has '-' (start immediately) together with other steps"
        if step.id in when:
            yield step.id, f"step {step.id} waits for itself"
        unknown = [name for name in when if name not in known and name != IMMEDIATELY]
        yield from ((step.id, f"step {step.id} waits for {name}, which is not a step") for name in unknown)
    yield from _cycle(predecessors(steps))


def _cycle(before: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    graph = {step: [name for name in names if name != step] for step, names in before.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring = error.args[1]
        yield ring[0], f"steps wait for each other: {' -> '.join(reversed(ring))}"
