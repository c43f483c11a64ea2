"""The order of steps: each starts when those before it have succeeded, and the first failure ends them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from sandbox.tasks.execution import Execution, StepFailed
from sandbox.tasks.graph import predecessors
from sandbox.tasks.model import Step
from sandbox.tasks.steps import run_step


class RunStopped(Exception):
    """A step failed, and with it the run."""

    def __init__(self, step_id: str, failure: StepFailed) -> None:
        super().__init__(f"{step_id}: {failure}")
        self.step_id, self.failure = step_id, failure


async def carry_out(execution: Execution) -> dict[str, float]:
    """Carry out all steps and return how many seconds each took.

    Raises:
        RunStopped: for the first step that failed; the others are ended.
    """
    steps = execution.task.steps
    before, succeeded = predecessors(steps), {step.id: asyncio.Event() for step in steps}
    elapsed: dict[str, float] = {}
    tasks = [asyncio.create_task(_step(step, before, succeeded, elapsed, execution), name=step.id) for step in steps]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return elapsed


async def _step(
    step: Step,
    before: Mapping[str, tuple[str, ...]],
    succeeded: Mapping[str, asyncio.Event],
    elapsed: dict[str, float],
    execution: Execution,
) -> None:
    for name in before[step.id]:
        await succeeded[name].wait()
    started = time.monotonic()
    try:
        await run_step(step, execution)
    except StepFailed as failure:
        if not step.ignore_errors:
            raise RunStopped(step.id, failure) from failure
        await execution.log.say(
            f"Step ID: {step.id} encountered an error: {failure}, but is set to ignore errors. Continuing..."
        )
    elapsed[step.id] = time.monotonic() - started
    succeeded[step.id].set()
